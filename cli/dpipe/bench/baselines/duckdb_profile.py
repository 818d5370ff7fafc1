"""DuckDB's profile of the accepted rows.

Grouping a column by its values takes less time than `approx_count_distinct`, `approx_quantile` and `approx_top_k` do,
is exact, and leaves few rows for every other figure: one query for each of three types, over all of its columns. Where
values hardly repeat there is nothing to group, so there the plain aggregates are taken, and a sample is grouped.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dpipe.bench.profile import (
    SAMPLE,
    SHARES,
    TOP,
    TRIAL,
    ColumnProfile,
    from_figures,
    hardly_repeat,
    is_profiled,
    number_sql,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from dpipe.contract import Column, Plan

# Rows that are accepted, in the table that the baseline makes.
ACCEPTED = "records WHERE _fine"
TYPES = {"string": "VARCHAR", "float64": "DOUBLE"}
# Of groups, whose values occur so many `times`.
FIGURES = f"""
    'rows': sum(times), 'values': coalesce(sum(times) FILTER (value IS NOT NULL), 0),
    'distinct': count(value), 'least': min(value), 'greatest': max(value),
    'top': arg_max({{'value': value, 'times': times}}, times, {TOP}) FILTER (value IS NOT NULL)"""


def profiles(connection: DuckDBPyConnection, plan: Plan, rows: int) -> dict[str, ColumnProfile]:
    """A profile of each column of the accepted rows, of which there are `rows`."""
    columns = [column for column in plan.columns if is_profiled(column)]
    vain = _hardly_repeating(connection, columns, rows)
    plainly = [column for column in plan.columns if column in vain or not is_profiled(column)]
    found = _plain(connection, plainly) if plainly else {}
    sampled: dict[str, ColumnProfile] = {}
    if vain:
        step = max(1, rows // SAMPLE)
        names = ", ".join(f'"{column.name}"' for column in vain)
        connection.execute(
            f"CREATE TEMP TABLE sample AS SELECT {names} FROM {ACCEPTED} AND rowid % {step} = 0"
        )
        sampled = _grouped(connection, vain, "sample", step)
    for name, sample in sampled.items():
        found[name] = replace(found[name], quantiles=sample.quantiles, top=sample.top)
    repeating = [column for column in columns if column not in vain]
    return found | _grouped(connection, repeating, ACCEPTED)


def _hardly_repeating(connection: DuckDBPyConnection, columns: list[Column], rows: int) -> list[Column]:
    """By the first rows, of which a few are enough to tell most columns."""
    if rows < TRIAL:
        return []
    for first in (TRIAL // 8, TRIAL):
        if not columns:
            return []
        names = [f'"{column.name}"' for column in columns]
        counts = ", ".join(f"count({name}), count(DISTINCT {name})" for name in names)
        told: Any = connection.execute(
            f"SELECT {counts} FROM (SELECT {', '.join(names)} FROM {ACCEPTED} LIMIT {first})"
        ).fetchone()
        pairs = zip(columns, told[::2], told[1::2], strict=True)
        columns = [column for column, values, distinct in pairs if hardly_repeat(values, distinct)]
    return columns


def _plain(connection: DuckDBPyConnection, columns: Sequence[Column]) -> dict[str, ColumnProfile]:
    """Profiles without quantiles and frequent values."""
    told: Any = connection.execute(
        f"SELECT {', '.join(_plain_figures(column) for column in columns)} FROM {ACCEPTED}"
    ).fetchone()
    return {column.name: from_figures(figures) for column, figures in zip(columns, told, strict=True)}


def _plain_figures(column: Column) -> str:
    value = f'"{column.name}"'
    counts = f"'rows': count(*), 'values': count({value})"
    if not is_profiled(column):
        return f"{{{counts}}}"
    if column.kind == "string":
        number, lengths = f"length({value})", f", 'lengths': [min(length({value})), max(length({value}))]"
        ends = value
    else:
        number, lengths = number_sql(column, value), ""
        ends = number
    return f"""{{{counts}, 'distinct': approx_count_distinct({value}), 'least': min({ends}),
        'greatest': max({ends}), 'mean': avg({number}::DOUBLE){lengths}}}"""


def _grouped(
    connection: DuckDBPyConnection, columns: Sequence[Column], source: str, step: int = 1
) -> dict[str, ColumnProfile]:
    """Profiles of columns by how often each value occurs; what a sample's `step` leaves out counts too."""
    found = {column.name: ColumnProfile(0, 0) for column in columns}
    for kind in ("BIGINT", "DOUBLE", "VARCHAR"):
        same = {
            place: column for place, column in enumerate(columns) if TYPES.get(column.kind, "BIGINT") == kind
        }
        if not same:
            continue
        counted = " UNION ALL ".join(
            f"SELECT {place} AS place, {number_sql(column, 'value')}::{kind} AS value, times FROM "
            f'(SELECT "{column.name}" AS value, count(*) * {step} AS times FROM {source} GROUP BY ALL)'
            for place, column in same.items()
        )
        query = _of_texts(counted) if kind == "VARCHAR" else _of_numbers(counted)
        for place, figures in connection.execute(query).fetchall():
            found[same[place].name] = from_figures(figures)
    return found


def _of_numbers(counted: str) -> str:
    """A row a column; `up_to` are the rows with values up to each."""
    quantiles = ", ".join(f"min(value) FILTER (up_to >= {share} * valued)" for share in SHARES)
    return f"""
        SELECT place, {{{FIGURES}, 'mean': sum(value::DOUBLE * times) / any_value(valued), 'quantiles': [{quantiles}]}}
        FROM (
            SELECT *, sum(times) OVER (PARTITION BY place ORDER BY value) AS up_to,
                sum(times) FILTER (value IS NOT NULL) OVER (PARTITION BY place) AS valued
            FROM ({counted}))
        GROUP BY place"""


def _of_texts(counted: str) -> str:
    return f"""
        SELECT place, {{{FIGURES}, 'lengths': [min(length(value)), max(length(value))],
            'mean': sum(length(value) * times) / sum(times) FILTER (value IS NOT NULL)}}
        FROM ({counted}) GROUP BY place"""
