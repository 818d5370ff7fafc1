"""Snapshots that add and replace files, with their manifests merged: pyiceberg 0.12 merges those of appends only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyiceberg.manifest import ManifestContent
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update.snapshot import _ManifestMergeManager, _OverwriteFiles
from pyiceberg.typedef import EMPTY_DICT

from dpipe.iceberg.catalog import MANIFESTS_TO_MERGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyiceberg.manifest import DataFile, ManifestFile
    from pyiceberg.table import Transaction
    from pyiceberg.table.update.snapshot import _SnapshotProducer

TARGET_BYTES = 8 << 20


def replace_files(
    transaction: Transaction,
    *,
    added: Sequence[DataFile],
    removed: Sequence[DataFile],
    properties: dict[str, str],
    compaction: bool,
) -> None:
    """Commit one snapshot beside what the transaction has; a `compaction` says that the rows are the same ones."""
    with _producer(transaction, properties, replaces=bool(removed), compaction=compaction) as snapshot:
        for file in removed:
            snapshot.delete_data_file(file)
        for file in added:
            snapshot.append_data_file(file)
    transaction.commit_transaction()


class _MergingOverwrite(_OverwriteFiles):
    """An overwrite that leaves few manifests, of which every later commit reads each."""

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        of_data = [manifest for manifest in manifests if manifest.content == ManifestContent.DATA]
        others = [manifest for manifest in manifests if manifest.content != ManifestContent.DATA]
        merging: Any = _ManifestMergeManager(
            target_size_bytes=TARGET_BYTES,
            min_count_to_merge=MANIFESTS_TO_MERGE,
            merge_enabled=True,
            snapshot_producer=self,
        )
        merged: list[ManifestFile] = merging.merge_manifests(of_data)
        return merged + others


class _Compaction(_MergingOverwrite):
    """An overwrite that tells readers that no row has changed; pyiceberg 0.12 can't make a `replace` itself."""

    def _summary(self, snapshot_properties: dict[str, str] = EMPTY_DICT) -> Summary:
        summary = super()._summary(snapshot_properties)
        return Summary(Operation.REPLACE, **summary.additional_properties)


def _producer(
    transaction: Transaction, properties: dict[str, str], *, replaces: bool, compaction: bool
) -> _SnapshotProducer[Any]:
    if not replaces:
        return transaction.update_snapshot(snapshot_properties=properties).merge_append()
    kind = _Compaction if compaction else _MergingOverwrite
    return kind(
        operation=Operation.OVERWRITE,
        transaction=transaction,
        io=transaction._table.io,  # noqa: SLF001 - as pyiceberg's own `overwrite` does
        snapshot_properties=properties,
    )
