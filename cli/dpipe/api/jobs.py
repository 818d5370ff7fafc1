"""What became of a submission."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - FastAPI reads the fields' types
from typing import TYPE_CHECKING, Any, Literal

from dpipe.iceberg import open_catalog, tables
from dpipe.iceberg.catalog import LEDGER
from dpipe.state import refused

if TYPE_CHECKING:
    from dpipe.landing import Manifest
    from dpipe.settings import Project

COUNTS = ("records_in", "accepted", "rejected", "duplicate")


@dataclass(frozen=True)
class Job:
    """A submission and where it is on its way; the counts are null until `process` has read it."""

    job_id: str
    dataset: str
    state: Literal["landed", "committed", "refused"]
    received_at: str
    bytes: int
    sha256: str
    records_in: int | None = None
    accepted: int | None = None
    rejected: int | None = None
    duplicate: int | None = None
    reasons: tuple[str, ...] = ()
    snapshot_id: int | None = None
    committed_at: datetime | None = None


def job_of(project: Project, manifest: Manifest) -> Job:
    """Look the landed batch up in the ledger, then among the refused; else it has only landed."""
    found = _committed(project, manifest) or _refused(project, manifest) or {"state": "landed"}
    return Job(
        job_id=manifest.batch_id,
        dataset=manifest.dataset,
        received_at=manifest.received_at,
        bytes=manifest.bytes,
        sha256=manifest.sha256,
        **found,
    )


def _committed(project: Project, manifest: Manifest) -> dict[str, Any] | None:
    ledger = tables.load(open_catalog(project), LEDGER)
    if ledger is None:
        return None
    columns = (*COUNTS, "snapshot_id", "committed_at")
    rows = ledger.scan(
        row_filter=f"batch_id = '{manifest.batch_id}'", selected_fields=columns, limit=1
    ).to_arrow()
    return {"state": "committed"} | rows.to_pylist()[0] if rows.num_rows else None


def _refused(project: Project, manifest: Manifest) -> dict[str, Any] | None:
    for batch in refused.listed(project, manifest.dataset):
        if batch.batch_id == manifest.batch_id:
            counts = {name: batch.counts.get(name) for name in COUNTS}
            return {"state": "refused", "reasons": batch.reasons} | counts
    return None
