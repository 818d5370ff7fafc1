"""Writing files of a table anew without some of their rows; the files that are there stay for older snapshots."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from dpipe.errors import DpipeError
from dpipe.iceberg import storage
from dpipe.iceberg.attempt import WrittenFile
from dpipe.iceberg.existing import whole_rows
from dpipe.iceberg.schema import BATCH_ID, RECORD_NO
from dpipe.outages import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pyiceberg.table import FileScanTask, Table

COMPRESSION_LEVEL = 1


def removed_files(tasks: Iterable[FileScanTask]) -> list[WrittenFile]:
    """Files of a table as a commit names those that it replaces."""
    return [
        WrittenFile(task.file.file_path, task.file.record_count, task.file.file_size_in_bytes, "")
        for task in tasks
    ]


def rewrite(
    table: Table,
    tasks: Sequence[FileScanTask],
    superseded: Mapping[str, Sequence[int]],
    sort_by: Sequence[str],
) -> tuple[list[WrittenFile], list[WrittenFile]]:
    """Write those of the table's files anew that hold superseded rows (numbers of records by their batch), in order.

    Returns the new files, which are durable and known to nobody yet, and the old ones. When one fails, no new one is
    left. Raises `DpipeError` when a row isn't in the files, or one of them can't be read or written.
    """
    removed: list[WrittenFile] = []
    with written_anew(table, "then run `dpipe process` again; nothing was changed") as written:
        _rewrite(table, tasks, superseded, sort_by, written, removed)
    return written, removed


@contextmanager
def written_anew(table: Table, then: str) -> Iterator[list[WrittenFile]]:
    """A list for the new files of a block; when the block fails they are deleted, and `DpipeError` says what to do."""
    written: list[WrittenFile] = []
    try:
        yield written
    except BaseException as error:
        storage.delete(file.path for file in written)
        if isinstance(error, (OSError, pa.ArrowException)):
            raise unavailable(error) or DpipeError(
                f"files of `{'.'.join(table.name())}` can't be written anew: {error}",
                hint=f"check the disk and its space, {then}",
            ) from error
        raise


def in_order(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """The rows in the order of the columns; as they are without any."""
    return rows.sort_by([(name, "ascending") for name in names]) if names else rows


def _rewrite(
    table: Table,
    tasks: Sequence[FileScanTask],
    superseded: Mapping[str, Sequence[int]],
    sort_by: Sequence[str],
    written: list[WrittenFile],
    removed: list[WrittenFile],
) -> None:
    gone = pa.table(
        {
            BATCH_ID: pa.array(
                (batch_id for batch_id, numbers in superseded.items() for _ in numbers), pa.string()
            ),
            RECORD_NO: pa.array(
                (number for numbers in superseded.values() for number in numbers), pa.int64()
            ),
        }
    )
    left = gone.num_rows
    for task in tasks:
        rows = _kept(table, task, gone)
        if rows is not None:
            count = task.file.record_count
            left -= count - rows.num_rows
            removed += removed_files([task])
            if rows.num_rows:
                written.append(write_beside(table, task, in_order(rows, sort_by)))
    if left:
        raise DpipeError(f"internal: {left:,} superseded rows are not in the files that were read")


def _kept(table: Table, task: FileScanTask, gone: pa.Table) -> pa.Table | None:
    """The rows of a file that stay; None when all of them do."""
    with table.io.new_input(task.file.file_path).open() as stream:
        places = pq.read_table(stream, columns=[BATCH_ID, RECORD_NO])
    # A file that was written anew has another Arrow type of texts.
    places = places.cast(gone.schema)
    places = places.append_column("at", pa.array(range(places.num_rows), pa.int64()))
    stay = places.join(gone, [BATCH_ID, RECORD_NO], join_type="left anti")["at"]
    if len(stay) == places.num_rows:
        return None
    return whole_rows(table, task).take(stay.combine_chunks().sort())


def write_beside(table: Table, task: FileScanTask, rows: pa.Table) -> WrittenFile:
    """A new file of the same partition beside the old one, durable and known to nobody yet."""
    folder = task.file.file_path.rpartition("/")[0]
    fields = table.specs()[task.file.spec_id].fields
    names = {field.source_id: field.name for field in table.spec().fields}
    partition = {names[field.source_id]: task.file.partition[at] for at, field in enumerate(fields)}
    return write_rows(table, f"{folder}/{uuid.uuid4()}.parquet", rows, partition)


def write_rows(table: Table, location: str, rows: pa.Table, partition: dict[str, Any]) -> WrittenFile:
    """A new file of a partition, durable and known to nobody yet."""
    buffer = pa.BufferOutputStream()
    pq.write_table(rows, buffer, compression="zstd", compression_level=COMPRESSION_LEVEL)
    content = memoryview(buffer.getvalue())
    storage.write(table.io, location, content)
    digest = hashlib.sha256(content).hexdigest()
    return WrittenFile(location, rows.num_rows, content.nbytes, digest, partition)
