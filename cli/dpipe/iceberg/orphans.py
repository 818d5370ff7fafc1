"""Files in a table's folder that no snapshot needs: what attempts left that came to nothing, and expired history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyarrow.fs import FileSelector, FileType

from dpipe.errors import DpipeError
from dpipe.iceberg.storage import filesystem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

FOLDERS = ("data", "metadata")


@dataclass(frozen=True)
class StoredFile:
    """A file by its location, and by its path in its file system, however a location is spelt."""

    location: str
    path: str
    bytes: int
    written_at: datetime


def stored(table: Table) -> list[StoredFile]:
    """Every file in the table's folders of data and metadata."""
    files, root = filesystem(table.io, table.location())
    scheme = table.location().removesuffix(root)
    selectors = (
        FileSelector(f"{root.rstrip('/')}/{part}", recursive=True, allow_not_found=True) for part in FOLDERS
    )
    return [
        StoredFile(f"{scheme}{info.path}", info.path, info.size, info.mtime)
        for selector in selectors
        for info in files.get_file_info(selector)
        if info.type == FileType.File
    ]


def orphans(
    table: Table, there: Iterable[StoredFile], snapshots: Iterable[Snapshot], before: datetime
) -> list[StoredFile]:
    """Of the files `there`, which must have been listed before the table was loaded, those that can go.

    They are older than `before` and none of the table's that is needed for its `snapshots`. A younger file may be that
    of a writer who hasn't committed yet. Raises `DpipeError` when nothing of the table is among them.
    """
    needed = _needed(table, snapshots)
    found = list(there)
    if needed.isdisjoint(file.path for file in found):
        raise DpipeError(
            f"none of the files of `{'.'.join(table.name())}` is in its folder `{table.location()}`",
            hint="nothing was deleted; was the table moved, or made by another tool?",
        )
    return [file for file in found if file.written_at < before and file.path not in needed]


def _needed(table: Table, snapshots: Iterable[Snapshot]) -> set[str]:
    metadata = table.metadata
    locations = {table.metadata_location, *(entry.metadata_file for entry in metadata.metadata_log)}
    locations |= {statistics.statistics_path for statistics in metadata.statistics}
    locations |= {statistics.statistics_path for statistics in metadata.partition_statistics}
    manifests = {}
    for snapshot in snapshots:
        locations.add(snapshot.manifest_list)
        manifests.update({manifest.manifest_path: manifest for manifest in snapshot.manifests(table.io)})
    for path, manifest in manifests.items():
        locations.add(path)
        entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        locations |= {entry.data_file.file_path for entry in entries}
    return {filesystem(table.io, location)[1] for location in locations}
