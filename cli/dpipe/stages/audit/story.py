"""What became of a batch, and of one record of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb

from dpipe.errors import UsageError
from dpipe.iceberg import dismissed, filters, ledger, open_catalog, tables
from dpipe.iceberg.catalog import QUARANTINE, RAW
from dpipe.stages.batches import Batch, find_batch
from dpipe.state import refused, runs
from dpipe.warehouse import batches as warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyiceberg.catalog import Catalog

    from dpipe.settings import Project


@dataclass(frozen=True)
class Event:
    """Something that happened to a batch; `at` is None when the state that knew the time is lost."""

    at: datetime | None
    what: str
    detail: str


@dataclass(frozen=True)
class Record:
    """One record: its row in raw, and its rows in quarantine, one each time that it was kept out.

    The row of a superseded one is that of the snapshot that brought it.
    """

    record_no: int
    disposition: str
    row: dict[str, Any] | None
    judgements: tuple[dict[str, Any], ...]
    dismissed: dict[str, Any] | None = None


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
    dropped = dismissed.batches(open_catalog(project), batch.dataset).get(batch.batch_id)
    if dropped is not None:
        yield Event(dropped["dismissed_at"], "dropped", dropped["reason"])
    if batch.committed_at is None:
        return
    rows = ledger.rows(open_catalog(project), batch.dataset)
    yield _processed(project, batch)
    yield from (_committed(batch, row) for row in rows if row["batch_id"] == batch.batch_id)
    yield from (_replayed(row) for row in rows if row.get("origin") == batch.batch_id)
    for path, what in ((project.candidate, "transformed"), (project.marts, "in the published marts")):
        at = _taken_in(path, batch)
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


def _committed(batch: Batch, row: dict[str, Any]) -> Event:
    own, previous = row.get("entry_hash"), row.get("previous_hash")
    detail = (
        f"snapshot {batch.snapshot_id} under contract {batch.contract_version} ({row['contract'][:12]}), "
        f"{len(batch.files)} file(s), hash {str(own)[:12]} after {str(previous or 'none')[:12]}"
    )
    if row.get("released"):
        detail += f"; released: {row['released']}"
    if row["evolved"]:
        detail += f"; columns beside the contract's: {', '.join(row['evolved'])}"
    return Event(row["committed_at"], "committed", detail)


def _replayed(row: dict[str, Any]) -> Event:
    detail = (
        f"{row['accepted']:,} of its rejected records accepted by {row['batch_id']} under contract "
        f"{row['contract_version']} ({row['contract'][:12]})"
    )
    return Event(row["committed_at"], "replayed", detail)


def _taken_in(path: Path, batch: Batch) -> datetime | None:
    if not path.is_file():
        return None
    try:
        return warehouse.transformed_at(path, batch.dataset, batch.batch_id)
    except duckdb.Error:
        return None


def _superseded(catalog: Catalog, batch: Batch, record_no: int) -> list[dict[str, Any]]:
    """The record's row as it was when it was committed; none when it wasn't, or that snapshot is gone."""
    table = tables.load(catalog, (RAW, batch.dataset))
    committed = [
        row["snapshot_id"]
        for row in ledger.rows(catalog, batch.dataset)
        if batch.batch_id in {row["batch_id"], row.get("origin")}
    ]
    for snapshot_id in committed:
        if table is not None and table.snapshot_by_id(snapshot_id) is not None:
            wanted = filters.is_record(batch.batch_id, record_no)
            rows: list[dict[str, Any]] = (
                table.scan(row_filter=wanted, snapshot_id=snapshot_id).to_arrow().to_pylist()
            )
            if rows:
                return rows
    return []


def _record(project: Project, batch: Batch, record_no: int) -> Record:
    if batch.origin is not None:
        raise UsageError(
            f"the records of `{batch.batch_id}` are those of the batch that it replays",
            hint=f"`dpipe audit show {batch.origin} --record {record_no}`",
        )
    if batch.committed_at is None:
        raise UsageError(
            f"batch `{batch.batch_id}` is not committed, so its records are not known",
            hint="`dpipe process` commits it",
        )
    catalog = open_catalog(project)
    wanted = filters.is_record(batch.batch_id, record_no)
    found: dict[str, list[dict[str, Any]]] = {}
    for namespace in (RAW, QUARANTINE):
        table = tables.load(catalog, (namespace, batch.dataset))
        found[namespace] = table.scan(row_filter=wanted).to_arrow().to_pylist() if table else []
    rows, judgements = found[RAW], tuple(found[QUARANTINE])
    before = [] if rows else _superseded(catalog, batch, record_no)
    if before:
        return Record(record_no, "superseded", before[0], judgements)
    if not rows and not judgements:
        raise UsageError(
            f"batch `{batch.batch_id}` has no record {record_no:,}",
            hint=f"its records are numbered from 1 to {batch.records_in or 0:,}",
        )
    dispositions = {row["disposition"] for row in judgements}
    disposition = "accepted" if rows else "duplicate" if "duplicate" in dispositions else "rejected"
    left_alone = dismissed.reasons(catalog, batch.dataset).get((batch.batch_id, record_no))
    return Record(record_no, disposition, rows[0] if rows else None, judgements, left_alone)
