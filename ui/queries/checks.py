"""Results of checks: by run, and the newest of each."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
from dpipe.state import open_state
from dpipe.state.schema import quality_results as results
from sqlalchemy import and_, desc, func, select

from queries.project import current

LAYERS = ("gate", "raw", "staging", "marts")
VERDICTS = ("failed", "could not run", "warning", "passed")
COLUMNS = (
    "layer",
    "relation",
    "rule",
    "column_name",
    "severity",
    "success",
    "unexpected_count",
    "total_count",
    "observed",
)


def over_runs(limit: int) -> pd.DataFrame:
    """Every result of the newest `limit` runs that checked anything, with its `verdict`; the oldest run first."""
    first = func.min(results.c.checked_at)
    newest = select(results.c.run_id, first.label("run_at")).group_by(results.c.run_id)
    newest = newest.order_by(desc(first)).limit(limit).subquery()
    columns = [results.c[name] for name in COLUMNS]
    query = (
        select(newest.c.run_id, newest.c.run_at, *columns)
        .join(newest, newest.c.run_id == results.c.run_id)
        .order_by(newest.c.run_at)
    )
    return _with_verdicts(query)


def newest() -> pd.DataFrame:
    """The results of each relation's newest run in each layer, the worst first."""
    of_run = (
        select(
            results.c.layer, results.c.relation, results.c.run_id, func.max(results.c.checked_at).label("at")
        )
        .group_by(results.c.layer, results.c.relation, results.c.run_id)
        .subquery()
    )
    place = func.row_number().over(
        partition_by=(of_run.c.layer, of_run.c.relation), order_by=desc(of_run.c.at)
    )
    ranked = select(of_run, place.label("place")).subquery()
    same = [ranked.c[name] == results.c[name] for name in ("layer", "relation", "run_id")]
    found = _with_verdicts(select(results).join(ranked, and_(ranked.c.place == 1, *same)))
    for name, order in (("verdict", VERDICTS), ("layer", LAYERS)):
        found[name] = pd.Categorical(found[name], order, ordered=True)
    return found.sort_values(["verdict", "layer", "relation", "rule"], ignore_index=True)


def explained(detail: str | None) -> tuple[list[str], str | None]:
    """What a result says of itself: sentences (what must hold, rows that broke it) and the SQL that finds those."""
    *words, last = re.split(r" · (?=failing rows: |sql: )", detail or "")
    if last.startswith("sql: "):
        return words, last.removeprefix("sql: ")
    return [*words, last], None


def _with_verdicts(query: Any) -> pd.DataFrame:  # noqa: ANN401 - a SQLAlchemy statement
    with open_state(current()).connect() as connection:
        found = connection.execute(query).mappings().all()
    rows = [{**row, "column_name": row["column_name"] or "", "verdict": _verdict(row)} for row in found]
    return pd.DataFrame(rows, columns=[*(column.key for column in query.selected_columns), "verdict"])


def _verdict(row: Any) -> str:  # noqa: ANN401 - a row
    if row["success"]:
        return "passed"
    if (row["observed"] or "").startswith("could not run"):
        return "could not run"
    return "warning" if row["severity"] == "warning" else "failed"
