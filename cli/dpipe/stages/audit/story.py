"""What became of a batch, and of one record of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb

from dpipe.errors import UsageError
from dpipe.iceberg import filters, ledger, open_catalog, tables
from dpipe.iceberg.catalog import QUARANTINE, RAW
from dpipe.stages.batches import Batch, find_batch
from dpipe.state import refused, runs
from dpipe.warehouse import batches as warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpipe.settings import Project


@dataclass(frozen=True)
class Event:
    """Something that happened to a batch; `at` is None when the state that knew the time is lost."""

    at: datetime | None
    what: str
    detail: str


@dataclass(frozen=True)
class Record:
    """One record: its row in raw when it was accepted, or its row in quarantine with bytes and reasons."""

    record_no: int
    disposition: str
    row: dict[str, Any]


@dataclass(frozen=True)
class Story:
    """A batch, what happened to it in order, and the record that was asked for."""

    batch: Batch
    events: tuple[Event, ...]
    record: Record | None = None


def story(project: Project, batch_id: str, record_no: int | None = None) -> Story:
    """Everything that is known of a batch (its id, or the beginning) and of a record by its number from 1.

    Raises `UsageError` when there is no such batch or record.
    """
    batch = find_batch(project, batch_id)
    known = sorted(
        _events(project, batch), key=lambda event: event.at or datetime.fromisoformat(batch.received_at)
    )
    return Story(batch, tuple(known), _record(project, batch, record_no) if record_no is not None else None)


def _events(project: Project, batch: Batch) -> Iterator[Event]:
    landed = f"{batch.bytes:,} bytes from {batch.source}, SHA-256 {batch.sha256}"
    yield Event(datetime.fromisoformat(batch.received_at), "landed", landed)
    for refusal in refused.listed(project, batch.dataset):
        if refusal.batch_id == batch.batch_id:
            yield Event(refusal.refused_at, "refused", "; ".join(refusal.reasons))
    if batch.committed_at is None:
        return
    yield _processed(project, batch)
    yield _committed(project, batch)
    for path, what in ((project.candidate, "transformed"), (project.marts, "in the published marts")):
        at = _taken_in(project, path, batch)
        if at is not None:
            yield Event(at, what, f"by a build into `{path.name}`")


def _processed(project: Project, batch: Batch) -> Event:
    counts = (
        f"{batch.records_in or 0:,} records in = {batch.accepted or 0:,} accepted "
        f"+ {batch.rejected or 0:,} rejected + {batch.duplicate or 0:,} duplicate"
    )
    try:
        run = runs.find(project, batch.run_id or "")
    except UsageError:  # the state database is another one
        return Event(None, "processed", f"run {batch.run_id}: {counts}")
    return Event(run["started_at"], "processed", f"run {run['run_id']} (`{run['command']}`): {counts}")


def _committed(project: Project, batch: Batch) -> Event:
    (row,) = [
        row for row in ledger.rows(open_catalog(project), batch.dataset) if row["batch_id"] == batch.batch_id
    ]
    own, previous = row.get("entry_hash"), row.get("previous_hash")
    detail = (
        f"snapshot {batch.snapshot_id} under contract {batch.contract_version} ({row['contract'][:12]}), "
        f"{len(batch.files)} file(s), hash {str(own)[:12]} after {str(previous or 'none')[:12]}"
    )
    return Event(row["committed_at"], "committed", detail)


def _taken_in(project: Project, path: Any, batch: Batch) -> datetime | None:  # noqa: ANN401, ARG001
    if not path.is_file():
        return None
    try:
        return warehouse.transformed_at(path, batch.dataset, batch.batch_id)
    except duckdb.Error:
        return None


def _record(project: Project, batch: Batch, record_no: int) -> Record:
    if batch.committed_at is None:
        raise UsageError(
            f"batch `{batch.batch_id}` is not committed, so its records are not known",
            hint="`dpipe process` commits it",
        )
    catalog = open_catalog(project)
    wanted = filters.is_record(batch.batch_id, record_no)
    for namespace in (RAW, QUARANTINE):
        table = tables.load(catalog, (namespace, batch.dataset))
        rows = table.scan(row_filter=wanted).to_arrow().to_pylist() if table else []
        if rows:
            return Record(
                record_no,
                rows[0].get("disposition", "accepted") if namespace == QUARANTINE else "accepted",
                rows[0],
            )
    raise UsageError(
        f"batch `{batch.batch_id}` has no record {record_no:,}",
        hint=f"its records are numbered from 1 to {batch.records_in or 0:,}",
    )
