"""Jobs that are over for long leave the state database; what became of them stays in the lake."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dpipe.iceberg import dismissed, ledger, open_catalog
from dpipe.state import jobs, open_state

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from dpipe.settings import Project


def kept_since(project: Project, now: datetime) -> datetime:
    """Jobs that were over earlier are listed no longer."""
    return now - timedelta(days=project.settings.job_retention_days)


def over(project: Project, dataset: str, job_ids: Collection[str], before: datetime) -> set[str]:
    """Which of a dataset's jobs were committed or dropped before a moment; a refused one waits for somebody."""
    if not job_ids:
        return set()
    catalog = open_catalog(project)
    ended = ledger.committed_at(catalog, dataset)
    ended |= {batch_id: row["dismissed_at"] for batch_id, row in dismissed.batches(catalog, dataset).items()}
    return {job_id for job_id in job_ids if job_id in ended and ended[job_id] < before}


def forget_jobs(
    project: Project, datasets: Sequence[str] | None, *, now: datetime, dry_run: bool = False
) -> int:
    """Delete the rows of jobs that have been over for as long as they are kept; how many.

    Of all datasets by default. With `dry_run` they stay.
    """
    engine, since, gone = open_state(project), kept_since(project, now), 0
    for dataset in datasets or jobs.datasets(engine):
        ids = over(project, dataset, jobs.received_before(engine, dataset, since), since)
        if not dry_run:
            jobs.forget(engine, ids)
        gone += len(ids)
    return gone
