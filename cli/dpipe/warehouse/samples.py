"""Rows that a failed dbt test finds, for people to see what it is about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from dpipe.errors import DpipeError
from dpipe.warehouse.lake import attach_lake

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dpipe.warehouse.build_folder import BuildFolder
    from dpipe.warehouse.dbt_results import NodeResult

MOST_ROWS = 3
MOST_CHARACTERS = 60


def rows_of(test: NodeResult, folder: BuildFolder) -> list[str]:
    """The first rows, a line each (`column value, …`), long values cut; none when they can't be had any more."""
    if test.compiled is None:
        return []
    try:
        sql = Path(test.compiled).read_text(encoding="utf-8").strip().removesuffix(";")
        with duckdb.connect(str(folder.database), read_only=True) as connection:
            attach_lake(connection, json.loads(folder.locations.read_text(encoding="utf-8")))
            found = connection.execute(f"select * from ({sql}\n) limit {MOST_ROWS}")  # noqa: S608 - dbt's own SQL
            names = [column[0] for column in found.description or ()]
            rows = found.fetchall()
    except (OSError, duckdb.Error, DpipeError):
        return []
    return told(names, rows)


def told(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Rows with the names of their columns, a line each, long values cut."""
    return [
        ", ".join(f"{name} {_cut(value)}" for name, value in zip(names, row, strict=True)) for row in rows
    ]


def _cut(value: object) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
