"""The tables' live files against the ledger: each is there, and byte for byte the one that was committed."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dpipe.iceberg import storage
from dpipe.iceberg.storage import local_path
from dpipe.outages import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyiceberg.table import Table

    from dpipe.iceberg.attempt import WrittenFile
    from dpipe.stages.audit.findings import DatasetAudit
    from dpipe.stages.audit.meter import Meter


def check_files(
    audit: DatasetAudit, table: Table | None, recorded: Iterable[WrittenFile], meter: Meter, *, workers: int
) -> list[str]:
    """Compare the live files of a table with those that the ledger has of it; locations of those that are there."""
    live = _live_files(audit, table)
    by_location = {file.path: file for file in recorded}
    for location in sorted(by_location.keys() - set(live)):
        audit.find("files", local_path(location), "the ledger has it, the table doesn't")
    if table is None:
        return []
    for location, times in Counter(live).items():
        if times > 1:
            audit.find("files", local_path(location), f"the table has it {times} times")

    def look(location: str) -> str | None:
        return _look(table, location, by_location.get(location), meter)

    def size(location: str) -> int | None:
        return storage.size(table.io, location)

    with ThreadPoolExecutor(workers) as pool:
        problems = list(pool.map(look, live))
        sizes = list(pool.map(size, live))
    for location, problem in zip(live, problems, strict=True):
        if problem:
            audit.find("files", local_path(location), problem)
    there = [(location, found) for location, found in zip(live, sizes, strict=True) if found is not None]
    audit.files += len(there)
    audit.bytes += sum(found for _, found in there)
    return [location for location, _ in there]


def _live_files(audit: DatasetAudit, table: Table | None) -> list[str]:
    """Locations of the files that the table's current snapshot consists of."""
    if table is None or table.current_snapshot() is None:
        return []
    tasks = list(table.scan().plan_files())
    for task in tasks:
        for file in task.delete_files:
            audit.find("files", local_path(file.file_path), "a delete file, and dpipe writes none")
    return [task.file.file_path for task in tasks]


def _look(table: Table, location: str, recorded: WrittenFile | None, meter: Meter) -> str | None:
    """What is wrong with a live file."""
    try:
        with storage.stream(table.io, location) as stream:
            sha256 = meter.sha256(stream)
    except OSError as error:
        if (gone := unavailable(error)) is not None:
            raise gone from error
        return f"it can't be read: {error.strerror or error}"
    if recorded is None:
        return "the table has it, and no batch in the ledger brought it"
    return (
        None if sha256 == recorded.sha256 else "its bytes aren't those that were committed: another SHA-256"
    )
