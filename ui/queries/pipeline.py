"""Runs, their stages, what each dataset's records became, and how fresh it all is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from dpipe.state import open_state, refused, runs
from dpipe.state.schema import stage_results
from sqlalchemy import desc, func, select

from queries import lake
from queries.project import current

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

LEDGER = "dpipe.batches"
COUNTS = ("records_in", "accepted", "rejected", "duplicate")


def latest_runs(limit: int) -> list[dict[str, Any]]:
    """The newest runs first."""
    return runs.latest(current(), limit)


def stage_seconds(run_ids: Sequence[str]) -> pd.DataFrame:
    """Seconds by `run_id` and `stage`; a stage that ran once a dataset, or twice, is added up."""
    query = (
        select(
            stage_results.c.run_id, stage_results.c.stage, func.sum(stage_results.c.seconds).label("seconds")
        )
        .where(stage_results.c.run_id.in_(run_ids))
        .group_by(stage_results.c.run_id, stage_results.c.stage)
    )
    return _frame(query)


def records_by_run(limit: int) -> pd.DataFrame:
    """Accepted, rejected and duplicate records of the newest runs that processed any, the oldest first."""
    added = [func.sum(stage_results.c[name]).label(name) for name in COUNTS]
    began = func.min(stage_results.c.started_at)
    query = (
        select(stage_results.c.run_id, began.label("started_at"), *added)
        .where(stage_results.c.stage == "process", stage_results.c.records_in > 0)
        .group_by(stage_results.c.run_id)
        .order_by(desc(began))
        .limit(limit)
    )
    return _frame(query).iloc[::-1].reset_index(drop=True)


def records_by_dataset() -> pd.DataFrame:
    """Committed batches and what became of their records, by dataset, out of the lake's ledger; empty before any."""
    if LEDGER not in lake.tables():
        return pd.DataFrame()
    return lake.read(
        LEDGER,
        """
        select
            dataset,
            count(*) as batches,
            sum(records_in)::bigint as records_in,
            sum(accepted)::bigint as accepted,
            sum(rejected)::bigint as rejected,
            sum(duplicate)::bigint as duplicate,
            max(committed_at) as last_commit
        from lake_table
        group by dataset
        order by dataset
        """,
    )


def last_publish() -> datetime | None:
    """When `publish` last put a candidate in the marts' place."""
    query = (
        select(stage_results.c.started_at)
        .where(stage_results.c.stage == "publish", stage_results.c.detail.contains('"changed": true'))
        .order_by(desc(stage_results.c.started_at))
        .limit(1)
    )
    with open_state(current()).connect() as connection:
        return connection.execute(query).scalar_one_or_none()


def refused_batches() -> list[refused.RefusedBatch]:
    """Batches that the gate keeps out, the latest first."""
    return refused.listed(current())[::-1]


def _frame(query: Any) -> pd.DataFrame:  # noqa: ANN401 - a SQLAlchemy statement
    with open_state(current()).connect() as connection:
        result = connection.execute(query)
        return pd.DataFrame(result.all(), columns=list(result.keys()))
