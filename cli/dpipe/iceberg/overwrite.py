"""Snapshots that replace files, with their manifests merged: pyiceberg 0.12 merges those of appends only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyiceberg.manifest import ManifestContent
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _ManifestMergeManager, _OverwriteFiles

from dpipe.iceberg.catalog import MANIFESTS_TO_MERGE

if TYPE_CHECKING:
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table import Transaction
    from pyiceberg.table.update.snapshot import _SnapshotProducer

TARGET_BYTES = 8 << 20


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


def producer(
    transaction: Transaction, properties: dict[str, str], *, replaces: bool
) -> _SnapshotProducer[Any]:
    """What makes the next snapshot: by adding files only, or also by replacing some."""
    if not replaces:
        return transaction.update_snapshot(snapshot_properties=properties).merge_append()
    return _MergingOverwrite(
        operation=Operation.OVERWRITE,
        transaction=transaction,
        io=transaction._table.io,  # noqa: SLF001 - as pyiceberg's own `overwrite` does
        snapshot_properties=properties,
    )
