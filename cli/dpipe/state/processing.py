"""Batches that a run is at just now: from the kernel to the commit, or to a refusal."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from dpipe.state.engine import open_state
from dpipe.state.schema import processing, runs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dpipe.settings import Project
    from dpipe.state.runs import Run

RUNNING = select(runs.c.run_id).where(runs.c.status == "running")


@contextmanager
def noted(run: Run, dataset: str, batch_ids: Collection[str]) -> Iterator[None]:
    """Note that the run is at these batches of a dataset, for as long as the block lasts."""
    its_own = (processing.c.dataset == dataset) & (processing.c.run_id == run.run_id)
    of_dead_runs = (processing.c.dataset == dataset) & processing.c.run_id.not_in(RUNNING)
    row = {"dataset": dataset, "run_id": run.run_id, "batch_ids": json.dumps(sorted(batch_ids))}
    with run.engine.begin() as connection:
        connection.execute(delete(processing).where(its_own | of_dead_runs))
        connection.execute(insert(processing).values(**row))
    try:
        yield
    finally:
        with run.engine.begin() as connection:
            connection.execute(delete(processing).where(its_own))


def listed(project: Project, dataset: str) -> set[str]:
    """The batches of a dataset that runs which have not ended are at."""
    query = select(processing.c.batch_ids).where(
        processing.c.dataset == dataset, processing.c.run_id.in_(RUNNING)
    )
    with open_state(project).connect() as connection:
        texts: list[str] = list(connection.execute(query).scalars())
    return {batch_id for text in texts for batch_id in json.loads(text)}
