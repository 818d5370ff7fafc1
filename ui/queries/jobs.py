"""Submissions to the API: what became of them, and how long that took."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st
from dpipe import outcomes
from dpipe.state import jobs, keys, open_state, refused
from dpipe.state.schema import jobs as table
from dpipe.state.schema import stage_results
from sqlalchemy import func, select

from queries import lake
from queries.pipeline import LEDGER
from queries.project import current

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNTS = outcomes.COUNTS
DISMISSED = "dpipe.dismissed"


@dataclass(frozen=True)
class Window:
    """A time up to now, and the steps that it is drawn in."""

    length: timedelta
    step: timedelta

    def begin(self) -> datetime:
        """The beginning of its first step, so that steps stay where they are while time goes on."""
        seconds = self.step.total_seconds()
        first = (datetime.now(UTC) - self.length).timestamp() // seconds
        return datetime.fromtimestamp(first * seconds, UTC)


def datasets() -> list[str]:
    """Datasets that anything was submitted to, sorted."""
    return jobs.datasets(open_state(current()))


def by_state(names: Sequence[str], window: Window) -> pd.DataFrame:
    """Submissions of the datasets by the step that they came in: `begin, end, state, submissions`."""
    counted = _by_state(tuple(names), window.begin(), window.step, _version())
    return counted.assign(end=counted["begin"] + window.step)


@st.cache_data(ttl="15s", max_entries=50, show_spinner=False)
def _by_state(
    names: tuple[str, ...],
    since: datetime,
    step: timedelta,
    version: tuple[object, ...],  # noqa: ARG001 - part of the key
) -> pd.DataFrame:
    project = current()
    query = select(table.c.job_id, table.c.dataset, table.c.received_at)
    query = query.where(table.c.received_at >= since, table.c.dataset.in_(names))
    with open_state(project).connect() as connection:
        found = pd.DataFrame(connection.execute(query).all(), columns=["job_id", "dataset", "received_at"])
    states: dict[str, str] = {}
    for name, of_name in found.groupby("dataset")["job_id"]:
        states |= outcomes.states(project, str(name), set(of_name))
    found["state"] = found["job_id"].map(states)
    found["begin"] = pd.to_datetime(found["received_at"], utc=True).dt.floor(step)
    counted = found.groupby(["begin", "state"], as_index=False).size()
    return counted.rename(columns={"size": "submissions"})


def newest(names: Sequence[str], limit: int) -> pd.DataFrame:
    """The latest submissions to the datasets, latest first, with what became of them and the name of their key."""
    return _newest(tuple(names), limit, _version())


@st.cache_data(ttl="15s", max_entries=50, show_spinner=False)
def _newest(names: tuple[str, ...], limit: int, version: tuple[object, ...]) -> pd.DataFrame:  # noqa: ARG001
    project = current()
    rows = jobs.listed(open_state(project), names, limit=limit)
    found: dict[str, outcomes.Outcome] = {}
    for name in {row.dataset for row in rows}:
        found |= outcomes.of_batches(project, name, {row.job_id for row in rows if row.dataset == name})
    called = {key.key_id: key.name for key in keys.listed(project)}
    return pd.DataFrame(
        [vars(row) | vars(found[row.job_id]) | {"key": called.get(row.key_id, row.key_id)} for row in rows]
    )


def _version() -> tuple[object, ...]:
    """What changes when a submission comes, or something becomes of one."""
    project, there = current(), lake.tables()
    with open_state(project).connect() as connection:
        last = connection.execute(select(func.max(table.c.received_at))).scalar_one()
    refusals = [(one.dataset, one.batch_id, one.refused_at) for one in refused.listed(project)]
    return (str(project.root), last, there.get(LEDGER), there.get(DISMISSED), refusals)


def seconds_to_commit(names: Sequence[str], window: Window) -> pd.DataFrame:
    """Seconds from the request to the commit, by the step that submissions came in: `began, median, p95, batches`."""
    if LEDGER not in lake.tables():
        return pd.DataFrame()
    return lake.read(
        LEDGER,
        """
        with took as (
            select
                time_bucket(to_seconds($step), received_at, $since) as began,
                epoch(committed_at) - epoch(received_at) as seconds
            from lake_table
            where kind = 'job' and received_at >= $since and list_contains($names, dataset)
        )
        select
            began,
            quantile_cont(seconds, 0.5) as median,
            quantile_cont(seconds, 0.95) as p95,
            count(*) as batches
        from took
        group by began
        order by began
        """,
        {"step": int(window.step.total_seconds()), "since": window.begin(), "names": list(names)},
    )


def seconds_to_marts(window: Window) -> pd.DataFrame:
    """Seconds from landing to the marts, over the batches of a publication: `began, median, p95, batches`."""
    query = (
        select(stage_results.c.started_at, stage_results.c.detail)
        .where(stage_results.c.stage == "freshness", stage_results.c.started_at >= window.begin())
        .order_by(stage_results.c.started_at)
    )
    with open_state(current()).connect() as connection:
        rows = [(at, json.loads(detail)) for at, detail in connection.execute(query)]
    return pd.DataFrame(
        [
            {"began": at, "median": one["p50"], "p95": one["p95"], "batches": one["batches"]}
            for at, one in rows
        ]
    )
