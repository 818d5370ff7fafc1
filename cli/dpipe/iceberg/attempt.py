"""What one commit is to publish, and how it is written into the snapshot's summary and read back.

The summary alone must be enough to append the quarantine files and the ledger rows after a crash, whatever
has become of the contract since.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from dpipe.iceberg import chain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyiceberg.table.snapshots import Snapshot

    from dpipe.contract.plan import Kind, PartitionField

ATTEMPT, BATCHES = "dpipe.attempt", "dpipe.batches"
KINDS = ("accepted", "quarantine", "rewritten", "removed", "quarantine_removed")
RAW_SNAPSHOT = "dpipe.raw-snapshot-id"
PREVIOUS_HASH, ENTRY_HASH = "dpipe.previous-hash", "dpipe.hash"


@dataclass(frozen=True)
class BatchEntry:
    """A batch as the ledger will know it.

    `violations` are records by column and rule. `origin` is the batch whose records a replay holds: its rows are that
    batch's. `superseded` are rows of the table that the batch's records took the place of, by their own batch.
    `released` is why it was committed although the gate refused it. `replayed` are the numbers, in the origin, of the
    records that a replay brought into raw, as ranges from the first to the last. `evolved` are the columns, with their
    types, that records had brought and that judged the batch beside the contract's.
    """

    batch_id: str
    kind: str
    source: str
    sha256: str
    bytes: int
    received_at: str
    contract: str
    contract_version: str
    records_in: int
    accepted: int
    rejected: int
    duplicate: int
    run_id: str
    violations: list[dict[str, Any]]
    origin: str | None = None
    superseded: dict[str, int] = field(default_factory=dict)
    released: str | None = None
    replayed: list[list[int]] = field(default_factory=list)
    evolved: dict[str, Kind] = field(default_factory=dict)


@dataclass(frozen=True)
class WrittenFile:
    """A Parquet file: its location, and its partition values by field name; of one that is removed no hash is known."""

    path: str
    rows: int
    bytes: int
    sha256: str
    partition: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Files:
    """The files of a commit: of accepted rows, of quarantined records, and those of the tables that are replaced.

    `rewritten` hold the rows of `removed` ones that were not superseded. Of `quarantine_removed` ones `quarantined`
    hold every row.
    """

    accepted: list[WrittenFile] = field(default_factory=list)
    quarantined: list[WrittenFile] = field(default_factory=list)
    rewritten: list[WrittenFile] = field(default_factory=list)
    removed: list[WrittenFile] = field(default_factory=list)
    quarantine_removed: list[WrittenFile] = field(default_factory=list)

    def by_kind(self) -> dict[str, list[WrittenFile]]:
        """The files by what the ledger calls their kind."""
        of_kinds = (self.accepted, self.quarantined, self.rewritten, self.removed, self.quarantine_removed)
        return dict(zip(KINDS, of_kinds, strict=True))

    @staticmethod
    def of_kinds(files: Mapping[str, list[WrittenFile]]) -> Files:
        """The inverse of `by_kind`; kinds may be left out."""
        return Files(*(files.get(kind, []) for kind in KINDS))


@dataclass(frozen=True)
class Attempt:
    """One try to publish batches; without any, a compaction, which changes no rows.

    `read_snapshot_id` is the snapshot whose rows were looked at, None for an empty table. When it `depends_on_rows`
    (keys, or the records that replays bring), a commit on top of any other could publish one of them twice.
    With a `partition` the table is partitioned so from then on.
    """

    dataset: str
    batches: list[BatchEntry]
    files: Files
    read_snapshot_id: int | None
    depends_on_rows: bool
    partition: tuple[PartitionField, ...] | None = None
    attempt_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def summary(self, warehouse: str, previous_hash: str | None) -> dict[str, str]:
        """The properties of the raw snapshot; file locations are written relative to the warehouse.

        `previous_hash` is that of the dataset's commit before, None for the first.
        """
        own = chain.entry_hash(self.dataset, previous_hash, self.batches, self.files)
        link = {ENTRY_HASH: own} | ({PREVIOUS_HASH: previous_hash} if previous_hash else {})
        named = self.files.by_kind().items()
        return link | {
            ATTEMPT: self.attempt_id,
            BATCHES: _compact([asdict(entry) for entry in self.batches]),
            **{_of_files(kind): _compact(_shortened(files, warehouse)) for kind, files in named if files},
        }


@dataclass(frozen=True)
class CommitRecord:
    """What a raw snapshot's summary says; a compaction has no batches."""

    snapshot_id: int
    committed_at_ms: int
    batches: list[BatchEntry]
    files: Files
    previous_hash: str | None
    entry_hash: str | None


def commit_record(snapshot: Snapshot, warehouse: str) -> CommitRecord | None:
    """Read a summary back; None for a snapshot that isn't dpipe's."""
    batches = summary_value(snapshot, BATCHES)
    if batches is None:
        return None
    return CommitRecord(
        snapshot_id=snapshot.snapshot_id,
        committed_at_ms=snapshot.timestamp_ms,
        batches=[BatchEntry(**entry) for entry in json.loads(batches)],
        files=Files.of_kinds(
            {kind: _restored(summary_value(snapshot, _of_files(kind)), warehouse) for kind in KINDS}
        ),
        previous_hash=summary_value(snapshot, PREVIOUS_HASH),
        entry_hash=summary_value(snapshot, ENTRY_HASH),
    )


def summary_value(snapshot: Snapshot, key: str) -> str | None:
    """A property of a snapshot's summary."""
    return None if snapshot.summary is None else snapshot.summary[key]


def _of_files(kind: str) -> str:
    """The summary's name for the files of a kind."""
    return f"dpipe.{kind}-files"


def _shortened(files: list[WrittenFile], warehouse: str) -> list[dict[str, Any]]:
    return [
        {
            "path": file.path.removeprefix(f"{warehouse}/"),
            "rows": file.rows,
            "bytes": file.bytes,
            "sha256": file.sha256,
        }
        for file in files
    ]


def _restored(text: str | None, warehouse: str) -> list[WrittenFile]:
    return [
        WrittenFile(**{**file, "path": _place(file["path"], warehouse)}) for file in json.loads(text or "[]")
    ]


def _place(path: str, warehouse: str) -> str:
    """The location of a file; one that isn't below the warehouse, where catalogs may put tables, is named whole."""
    return path if "://" in path else f"{warehouse}/{path}"


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
