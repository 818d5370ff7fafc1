"""The tables' live files against the ledger: each is there, and byte for byte the one that was committed."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from dpipe.iceberg.catalog import local_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyiceberg.table import Table

    from dpipe.iceberg.attempt import WrittenFile
    from dpipe.stages.audit.findings import DatasetAudit
    from dpipe.stages.audit.meter import Meter


def live_files(audit: DatasetAudit, table: Table | None) -> list[Path]:
    """Paths of the files that the table's current snapshot consists of."""
    if table is None or table.current_snapshot() is None:
        return []
    tasks = list(table.scan().plan_files())
    for task in tasks:
        for file in task.delete_files:
            audit.find("files", local_path(file.file_path), "a delete file, and dpipe writes none")
    return [Path(local_path(task.file.file_path)) for task in tasks]


def check_files(
    audit: DatasetAudit,
    live: Sequence[Path],
    recorded: Iterable[WrittenFile],
    meter: Meter,
    *,
    workers: int,
) -> list[Path]:
    """Compare the live files of a table with those that the ledger has of it; those that can be read."""
    by_path = {Path(local_path(file.path)): file for file in recorded}
    for path in sorted(by_path.keys() - set(live)):
        audit.find("files", str(path), "the ledger has it, the table doesn't")
    for path, times in Counter(live).items():
        if times > 1:
            audit.find("files", str(path), f"the table has it {times} times")

    def look(path: Path) -> str | None:
        return _look(path, by_path.get(path), meter)

    with ThreadPoolExecutor(workers) as pool:
        problems = list(pool.map(look, live))
    for path, problem in zip(live, problems, strict=True):
        if problem:
            audit.find("files", str(path), problem)
    readable = [path for path in live if path.is_file()]
    audit.files += len(readable)
    audit.bytes += sum(path.stat().st_size for path in readable)
    return readable


def _look(path: Path, recorded: WrittenFile | None, meter: Meter) -> str | None:
    """What is wrong with a live file."""
    try:
        sha256 = meter.sha256(path)
    except OSError as error:
        return f"it can't be read: {error.strerror}"
    if recorded is None:
        return "the table has it, and no batch in the ledger brought it"
    return (
        None if sha256 == recorded.sha256 else "its bytes aren't those that were committed: another SHA-256"
    )
