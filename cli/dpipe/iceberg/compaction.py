"""Compaction: a partition's small files become few large ones; which rows there are doesn't change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from dpipe.errors import DpipeError
from dpipe.iceberg.existing import files_by_partition, whole_rows
from dpipe.iceberg.rewrite import in_order, removed_files, write_beside
from dpipe.outages import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyiceberg.table import FileScanTask, Table

    from dpipe.iceberg.attempt import WrittenFile

# A file that has most of what one may have stays as it is.
SMALL = 0.75
# The rows of a file are sorted in memory.
MOST_ROWS = 4_000_000
MOST_FILES = 1_000


@dataclass(frozen=True)
class Target:
    """What files are to become: their bytes, and how many small ones make it worth writing one."""

    file_bytes: int
    least_files: int


@dataclass(frozen=True)
class Bin:
    """Files of one partition that become one."""

    tasks: tuple[FileScanTask, ...]

    @property
    def bytes(self) -> int:
        """What they take now."""
        return sum(task.file.file_size_in_bytes for task in self.tasks)

    @property
    def removed(self) -> list[WrittenFile]:
        """The files as a commit names them."""
        return removed_files(self.tasks)


def bins(table: Table, target: Target) -> list[Bin]:
    """What is worth writing anew in the table's snapshot as loaded. Raises `DpipeError` when there is a delete file."""
    if table.current_snapshot() is None:
        return []
    found = []
    for tasks in files_by_partition(table).values():
        small = [task for task in tasks if _is_small(task, target)]
        found += [one for one in _filled(small, target) if len(one.tasks) >= target.least_files]
    return found


def write(table: Table, part: Bin, sort_by: Sequence[str]) -> WrittenFile:
    """Write the bin's rows as one file in the order of the columns: durable, and known to nobody yet.

    Raises `DpipeError` when a file can't be read or written.
    """
    try:
        rows = pa.concat_tables([whole_rows(table, task) for task in part.tasks])
        return write_beside(table, part.tasks[0], in_order(rows, sort_by))
    except (OSError, pa.ArrowException) as error:
        raise unavailable(error) or DpipeError(
            f"files of `{'.'.join(table.name())}` can't be written anew: {error}",
            hint="check the disk and its space; `dpipe audit verify` says whether files are missing",
        ) from error


def _is_small(task: FileScanTask, target: Target) -> bool:
    file = task.file
    return file.file_size_in_bytes < SMALL * target.file_bytes and file.record_count < SMALL * MOST_ROWS


def _filled(tasks: Sequence[FileScanTask], target: Target) -> Iterator[Bin]:
    """The files in their order, as many at a time as make one of the size that is wanted."""
    held: list[FileScanTask] = []
    held_bytes = held_rows = 0
    for task in tasks:
        held_bytes += task.file.file_size_in_bytes
        held_rows += task.file.record_count
        full = held_bytes > target.file_bytes or held_rows > MOST_ROWS or len(held) == MOST_FILES
        if held and full:
            yield Bin(tuple(held))
            held, held_bytes, held_rows = [], task.file.file_size_in_bytes, task.file.record_count
        held.append(task)
    if held:
        yield Bin(tuple(held))
