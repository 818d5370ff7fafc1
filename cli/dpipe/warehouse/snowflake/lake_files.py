"""A table's data files and what its snapshots did, as a load needs them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.table.snapshots import Operation

from dpipe.iceberg.attempt import BATCHES, summary_value
from dpipe.iceberg.existing import as_stored, files_by_partition
from dpipe.warehouse.snowflake.delta import Change, LakeFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

UNPARTITIONED = "all"


def current_files(table: Table) -> dict[str, LakeFile]:
    """The files of the table's snapshot as loaded, by path. Raises `DpipeError` when there is a delete file."""
    files = [_lake_file(table, task.file) for tasks in files_by_partition(table).values() for task in tasks]
    return {file.path: file for file in files}


def changes_since(table: Table, snapshot_id: int | None) -> list[Change] | None:
    """What the snapshots after this one did, oldest first; None when one of them is forgotten or another branch's.

    `snapshot_id` None stands for the empty table before its first snapshot.
    """
    found, is_whole = _since(table, snapshot_id)
    return [_change(table, snapshot) for snapshot in found] if is_whole else None


def batches_since(table: Table, snapshot_id: int | None) -> list[str]:
    """Ids of the batches that the snapshots after this one brought to a raw table, oldest first.

    Those of snapshots that are forgotten are not among them.
    """
    found, _ = _since(table, snapshot_id)
    texts = [summary_value(snapshot, BATCHES) for snapshot in found]
    ids = [str(batch["batch_id"]) for text in texts if text for batch in json.loads(text)]
    return list(dict.fromkeys(ids))


def _since(table: Table, snapshot_id: int | None) -> tuple[list[Snapshot], bool]:
    """The snapshots after this one that are known, oldest first, and whether they are all that there were."""
    found: list[Snapshot] = []
    at = table.current_snapshot()
    while at is not None and at.snapshot_id != snapshot_id:
        found.append(at)
        if at.parent_snapshot_id is None:
            return found[::-1], snapshot_id is None
        at = table.snapshot_by_id(at.parent_snapshot_id)
    return found[::-1], at is not None


def _change(table: Table, snapshot: Snapshot) -> Change:
    added, removed = [], []
    for manifest in snapshot.manifests(table.io):
        if manifest.added_snapshot_id != snapshot.snapshot_id:
            continue
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
            if entry.snapshot_id != snapshot.snapshot_id:
                continue
            if entry.status == ManifestEntryStatus.ADDED:
                added.append(_lake_file(table, entry.data_file))
            elif entry.status == ManifestEntryStatus.DELETED:
                removed.append(_lake_file(table, entry.data_file))
    summary = snapshot.summary
    return Change(added, removed, summary is not None and summary.operation == Operation.REPLACE)


def _lake_file(table: Table, file: DataFile) -> LakeFile:
    fields = table.specs()[file.spec_id].fields
    return LakeFile(
        path=file.file_path,
        partition=_token([as_stored(file.partition[index]) for index in range(len(fields))], file.spec_id),
        rows=file.record_count,
        bytes=file.file_size_in_bytes,
    )


def _token(values: Sequence[object], spec_id: int) -> str:
    """What stands for a partition's values in names of files, and in the column that says where rows are from."""
    if not values:
        return UNPARTITIONED
    content = json.dumps([spec_id, *values], ensure_ascii=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]
