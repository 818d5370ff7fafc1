"""Submissions: which there are, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException

from dpipe import landing, outcomes
from dpipe.iceberg import ledger, open_catalog
from dpipe.outcomes import Outcome, State
from dpipe.stages.retention import kept_since, over
from dpipe.state import jobs
from dpipe.state.jobs import JobRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Engine

    from dpipe.api.load import Load
    from dpipe.landing import Manifest
    from dpipe.settings import Project

NOT_FOUND = 404
SOURCE = "api:"
FINAL = frozenset({"committed", "refused", "dropped"})
# A submission that was noted so long ago and hasn't landed is nobody's any more.
LANDS_WITHIN = timedelta(minutes=10)
# The longest that a stream keeps records, in which a worker may be missing.
LANDS_FROM_STREAM_WITHIN = timedelta(days=366)


@dataclass(frozen=True)
class Violation:
    """A rule that records broke; `column` is null when it is about the whole record."""

    column: str | None
    rule: str
    records: int


@dataclass(frozen=True)
class Job:
    """A submission and where it is on its way; the counts are null until it has been processed.

    `accepted` is on its way to landing, `landed` is durable and waits, `processing` is being checked and committed,
    `committed` is in the tables, `refused` waits for somebody to release or drop it.
    """

    job_id: str
    dataset: str
    state: State
    received_at: datetime
    bytes: int
    sha256: str
    records_in: int | None = None
    accepted: int | None = None
    rejected: int | None = None
    duplicate: int | None = None
    violations: tuple[Violation, ...] = ()
    reasons: tuple[str, ...] = ()
    snapshot_id: int | None = None
    committed_at: datetime | None = None
    seconds_to_commit: float | None = None
    quarantine: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing more is going to become of it by itself."""
        return self.state in FINAL


def row_of(manifest: Manifest) -> JobRow:
    """The submission that a landed batch is."""
    return _row(vars(manifest) | {"received_at": datetime.fromisoformat(manifest.received_at)})


def _row(batch: Mapping[str, Any]) -> JobRow:
    """The submission that a batch is: of the manifest, or the ledger's row."""
    source = batch["source"]
    return JobRow(
        job_id=batch["batch_id"],
        key_id=source.removeprefix(SOURCE) if source.startswith(SOURCE) else "",
        **{name: batch[name] for name in ("dataset", "received_at", "bytes", "sha256")},
    )


def find(project: Project, engine: Engine, job_id: str) -> JobRow:
    """The submission with this id; raises a 404 when there is none."""
    row = jobs.find(engine, job_id)
    for dataset in project.datasets() if row is None else ():
        row = row or _of_lake(project, dataset, job_id)
    if row is None:
        raise HTTPException(NOT_FOUND, f"there is no job `{job_id}`")
    return row


def _of_lake(project: Project, dataset: str, job_id: str) -> JobRow | None:
    """A submission that the database lost or `dpipe maintain` forgot, by landing or the ledger."""
    manifest = landed_job(project, dataset, job_id)
    if manifest is not None:
        return row_of(manifest)
    found = ledger.of_batches(open_catalog(project), dataset, [job_id])
    return _row(found[0]) if found else None


def landed_job(project: Project, dataset: str, job_id: str) -> Manifest | None:
    """The submission's manifest; None when it hasn't landed."""
    if job_id not in landing.batch_ids(project, dataset):
        return None
    (manifest,) = landing.manifests(project, dataset, [job_id])
    return manifest


def claim(project: Project, engine: Engine, load: Load, rows: Sequence[JobRow]) -> dict[str, JobRow]:
    """Note submissions; of those whose ids were taken, the rows as they were, which stay so.

    An id is taken by a row or, when that was forgotten since, by what has landed and is over.
    """
    taken = jobs.claim(engine, rows)
    over_since = (
        _of_lake(project, row.dataset, row.job_id)
        for row in rows
        if row.job_id not in taken and load.is_over(row.dataset, row.job_id)
    )
    forgotten = {row.job_id: row for row in over_since if row is not None}
    if forgotten:
        jobs.forget(engine, forgotten)
    return taken | forgotten


def reconcile(project: Project, engine: Engine) -> tuple[int, int]:
    """Note the submissions that have landed and that the database lost, and forget those that never did; how many.

    Those that have been over for as long as jobs are kept were forgotten, and stay so.
    """
    added = lost_count = 0
    now = datetime.now(UTC)
    for dataset in project.datasets():
        within = LANDS_FROM_STREAM_WITHIN if dataset in project.settings.streams else LANDS_WITHIN
        noted = jobs.received_before(engine, dataset, now - within)
        landed = {name for name in landing.batch_ids(project, dataset) if name.startswith("job-")}
        unknown = jobs.missing(engine, landed)
        unknown -= over(project, dataset, unknown, kept_since(project, now))
        rows = [row_of(one) for one in landing.manifests(project, dataset, unknown)]
        jobs.claim(engine, rows)
        lost = noted - landed
        lost -= ledger.known(open_catalog(project), dataset, lost) if lost else set()
        jobs.forget(engine, lost)
        added, lost_count = added + len(rows), lost_count + len(lost)
    return added, lost_count


def told(project: Project, rows: Sequence[JobRow]) -> list[Job]:
    """What became of submissions, in their order."""
    found: dict[str, Outcome] = {}
    for dataset in dict.fromkeys(row.dataset for row in rows):
        ids = {row.job_id for row in rows if row.dataset == dataset}
        found |= outcomes.of_batches(project, dataset, ids)
    return [_job(row, found[row.job_id]) for row in rows]


def _job(row: JobRow, outcome: Outcome) -> Job:
    at = outcome.committed_at
    kept = (outcome.rejected or 0) + (outcome.duplicate or 0)
    return Job(
        job_id=row.job_id,
        dataset=row.dataset,
        received_at=row.received_at,
        bytes=row.bytes,
        sha256=row.sha256,
        seconds_to_commit=(at - row.received_at).total_seconds() if at else None,
        quarantine=f"/v1/jobs/{row.job_id}/quarantine" if at and kept else None,
        **vars(outcome) | {"violations": tuple(Violation(**one) for one in outcome.violations)},
    )
