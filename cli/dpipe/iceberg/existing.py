"""Rows that a table already has, for the kernel to compare keys and unique values with."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dpipe.contract.arrow import arrow_type
from dpipe.errors import DpipeError
from dpipe.iceberg import filters
from dpipe.iceberg.reading import ColumnCache, read_columns, stream_columns
from dpipe.iceberg.schema import BATCH_ID, RECORD_NO
from dpipe.outages import unavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence

    from pyiceberg.partitioning import PartitionField
    from pyiceberg.table import FileScanTask, Table

    from dpipe.contract import Plan
    from dpipe.iceberg.attempt import WrittenFile
    from dpipe.iceberg.dismissed import RecordId

ROWS_AT_A_TIME = 1 << 20
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Those of streams: each commit asks for the same ones, and some new ones. Larger ones are never in memory whole.
SMALL_FILE = 1 << 20
_small_files = ColumnCache(most_bytes_a_file=SMALL_FILE)
Partition = frozenset[tuple[int, str, "Hashable"]]


class ExistingRows:
    """The kernel's `existing` callback for the table's snapshot as loaded, whatever is committed meanwhile.

    It takes partition values by field name and returns the plan's columns, `_dpipe_batch_id` and
    `_dpipe_record_no`, or None when the table is empty. `values` has some columns of all rows. The snapshot's
    files are planned once, at the first call, and found by the partition values that their manifests name. Small files
    are read before their rows are handed on, so that what can't be read raises `DpipeError` in the callback, as a
    delete file does. Large ones are read while the kernel takes their rows; what went wrong then is in `failure`, since
    Arrow keeps only its text.
    """

    def __init__(self, table: Table, plan: Plan) -> None:
        self._table = table
        types = {column.name: arrow_type(column) for column in plan.columns}
        self._types = types | {BATCH_ID: pa.string(), RECORD_NO: pa.int64()}
        self._touched: dict[str, FileScanTask] = {}
        self.failure: BaseException | None = None

    @property
    def touched(self) -> list[FileScanTask]:
        """The files of the partitions that were asked for so far."""
        return list(self._touched.values())

    def __call__(self, partition: dict[str, Any]) -> pa.RecordBatchReader | None:
        """The rows of a partition."""
        if self._table.current_snapshot() is None:
            return None
        values = ((field, partition[field.name]) for field in self._table.spec().fields)
        tasks = self._files.get(_partition(values), [])
        self._touched.update((task.file.file_path, task) for task in tasks)
        small = [task for task in tasks if task.file.file_size_in_bytes <= SMALL_FILE]
        large = [task for task in tasks if task.file.file_size_in_bytes > SMALL_FILE]
        names = list(self._types)
        first = self._read(small, names)
        return pa.RecordBatchReader.from_batches(self._schema(names), self._batches(first, large, names))

    def values(self, columns: Collection[str]) -> Iterator[pa.RecordBatchReader]:
        """These columns, batch ids and record numbers of every row of the table, a million rows or so at a time."""
        if self._table.current_snapshot() is None:
            return
        names = [*columns, BATCH_ID, RECORD_NO]
        tasks: list[FileScanTask] = []
        rows = 0
        for task in chain.from_iterable(self._files.values()):
            tasks.append(task)
            rows += task.file.record_count
            if rows >= ROWS_AT_A_TIME:
                yield self._asked(self._read(tasks, names), names).to_reader()
                tasks, rows = [], 0
        yield self._asked(self._read(tasks, names), names).to_reader()

    def _batches(
        self, first: pa.Table, large: Sequence[FileScanTask], names: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._asked(first, names).to_batches()
            for task in large:
                for rows in stream_columns(self._table, task, names):
                    yield from self._asked(rows, names).to_batches()
        except (OSError, pa.ArrowException) as error:
            self.failure = self._unreadable(error)
            raise
        except (Exception, KeyboardInterrupt) as error:
            self.failure = error
            raise

    def _read(self, tasks: Sequence[FileScanTask], names: Sequence[str]) -> pa.Table:
        try:
            return _small_files.read(self._table, tasks, names)
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from error

    def _asked(self, rows: pa.Table, names: Sequence[str]) -> pa.Table:
        return rows.select(names).cast(self._schema(names))

    def _schema(self, names: Sequence[str]) -> pa.Schema:
        return pa.schema([(name, self._types[name]) for name in names])

    def _unreadable(self, error: Exception) -> DpipeError:
        return unavailable(error) or DpipeError(
            f"rows of `{'.'.join(self._table.name())}` can't be read: {error}",
            hint="restore the table's files, then run `dpipe process` again",
        )

    @cached_property
    def _files(self) -> dict[Partition, list[FileScanTask]]:
        return files_by_partition(self._table)


def accepted_numbers(table: Table, batch_id: str, numbers: Collection[int]) -> set[int]:
    """Which of these records of a batch are in the table's snapshot as loaded."""
    if table.current_snapshot() is None:
        return set()
    scan = table.scan(row_filter=filters.equals(BATCH_ID, batch_id), selected_fields=(RECORD_NO,))
    there = scan.to_arrow()[RECORD_NO]
    return set(there.filter(pc.is_in(there, value_set=pa.array(list(numbers), pa.int64()))).to_pylist())


def records_in(table: Table, locations: Iterable[str]) -> set[RecordId]:
    """The records, by batch and number, whose rows the files of the table at these locations hold."""
    found: set[RecordId] = set()
    for location in locations:
        with table.io.new_input(location).open() as stream:
            rows = pq.read_table(stream, columns=[BATCH_ID, RECORD_NO])
        found.update(zip(rows[BATCH_ID].to_pylist(), rows[RECORD_NO].to_pylist(), strict=True))
    return found


def files_beside(table: Table, written: Iterable[WrittenFile]) -> list[FileScanTask]:
    """The files of the table's snapshot as loaded that are in the partitions of new ones."""
    fields = table.spec().fields
    touched = {_partition((field, file.partition[field.name]) for field in fields) for file in written}
    return [task for at, tasks in files_by_partition(table).items() if at in touched for task in tasks]


def whole_rows(table: Table, task: FileScanTask) -> pa.Table:
    """A file's rows with all of the table's columns as they are now, and the table's field ids."""
    names = [field.name for field in table.schema().fields]
    return read_columns(table, [task], names).cast(table.schema().as_arrow())


def files_by_partition(table: Table) -> dict[Partition, list[FileScanTask]]:
    """The files of the table's snapshot as loaded. Raises `DpipeError` when there is a delete file."""
    found: dict[Partition, list[FileScanTask]] = {}
    for task in table.scan().plan_files():
        if task.delete_files:
            raise DpipeError(
                f"the file `{task.file.file_path}` has rows that were deleted by a delete file",
                hint="dpipe doesn't read delete files; rewrite the table's files without them",
            )
        fields = table.specs()[task.file.spec_id].fields
        values = zip(fields, (task.file.partition[index] for index in range(len(fields))), strict=True)
        found.setdefault(_partition(values), []).append(task)
    return found


def _partition(values: Iterable[tuple[PartitionField, Any]]) -> Partition:
    """What stands for a partition, whatever its fields are called: a renamed column's has another name."""
    return frozenset((field.source_id, str(field.transform), as_stored(value)) for field, value in values)


def as_stored(value: Any) -> Hashable:  # noqa: ANN401 - any partition value
    """A value as Iceberg stores it: dates as days since 1970, timestamps as microseconds since then."""
    if isinstance(value, datetime):
        return (value.replace(tzinfo=value.tzinfo or UTC) - EPOCH) // timedelta(microseconds=1)
    if isinstance(value, date):
        return value.toordinal() - EPOCH.toordinal()
    stored: Hashable = value
    return stored
