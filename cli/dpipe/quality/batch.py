"""Whole-batch rules, worked out on the accepted rows of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from dpipe.errors import DpipeError

if TYPE_CHECKING:
    from dpipe.contract import QualityRule


def measure(
    connection: duckdb.DuckDBPyConnection, relation: str, rule: QualityRule, *, dataset: str, rows: int
) -> float:
    """What the rule's metric comes to: a number of rows or 0 to 100 percent.

    `relation` is SQL for the batch's accepted rows, `rows` their number with those that the table held before:
    a batch whose rows are all duplicates is not an empty one. Raises `DpipeError` when DuckDB can't work it out.
    """
    if rule.metric == "rowCount":
        return float(rows)
    try:
        row = connection.execute(rule.sql(relation)).fetchone()
    except duckdb.Error as error:
        raise DpipeError(
            f"the rule `{rule.name}` of `{dataset}` can't be worked out: {error}",
            hint="mend the rule in the contract, then check it with `dpipe contract lint`",
        ) from error
    return float(row[0]) if row is not None else 0.0
