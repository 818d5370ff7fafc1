"""Rows that a failed dbt test finds in Snowflake, for people to see what it is about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dpipe.errors import DpipeError
from dpipe.warehouse.samples import MOST_ROWS, told

if TYPE_CHECKING:
    from dpipe.warehouse.dbt_results import NodeResult
    from dpipe.warehouse.snowflake.session import Session


def rows_of(test: NodeResult, session: Session) -> list[str]:
    """The first rows, a line each (`column value, …`); none when they can't be had any more."""
    if test.compiled is None:
        return []
    try:
        sql = Path(test.compiled).read_text(encoding="utf-8").strip().removesuffix(";")
        rows = session.execute(f"select * from ({sql}\n) limit {MOST_ROWS}")  # noqa: S608 - dbt's own SQL
    except (OSError, DpipeError):
        return []
    return told(session.columns, rows)
