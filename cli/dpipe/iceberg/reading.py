"""Reading a table's data files by field id, without a scan of pyiceberg's, which takes some milliseconds a file."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.utils.concurrent import ExecutorFactory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyiceberg.table import FileScanTask, Table

FIELD_ID = b"PARQUET:field_id"
MOST_CACHED_BYTES = 64 << 20
STREAMED_ROWS = 1 << 16
Key = tuple[str, tuple[tuple[str, int], ...]]


def read_columns(table: Table, tasks: Sequence[FileScanTask], names: Sequence[str]) -> pa.Table:
    """These columns of the files, which have no delete files, in the files' order.

    A column is by its id what it is now called; where it was added later, it has no values. (By pyiceberg 0.12 an array
    that is null is read as an empty one.)
    """
    return _joined(table, names, list(_read_files(table, names, tasks)))


class ColumnCache:
    """Columns of small files that are asked for again and again: a data file never changes. Safe for threads.

    Those asked for longest ago make room for others; files that are larger than `most_bytes_a_file` in memory are read
    each time.
    """

    def __init__(
        self, most_bytes: int = MOST_CACHED_BYTES, *, most_bytes_a_file: int = MOST_CACHED_BYTES
    ) -> None:
        self._most_bytes = most_bytes
        self._most_bytes_a_file = most_bytes_a_file
        self._bytes = 0
        self._files: OrderedDict[Key, pa.Table] = OrderedDict()
        self._lock = Lock()

    def read(self, table: Table, tasks: Sequence[FileScanTask], names: Sequence[str]) -> pa.Table:
        """What `read_columns` reads."""
        columns = tuple((name, table.schema().find_field(name).field_id) for name in names)
        keys = [(task.file.file_path, columns) for task in tasks]
        found: dict[Key, pa.Table] = {}
        with self._lock:
            for key in keys:
                if key in self._files:
                    self._files.move_to_end(key)
                    found[key] = self._files[key]
        missing = [(key, task) for key, task in zip(keys, tasks, strict=True) if key not in found]
        read = _read_files(table, names, [task for _, task in missing])
        for (key, _), rows in zip(missing, read, strict=True):
            found[key] = rows
            self._keep(key, rows)
        return _joined(table, names, [found[key] for key in keys])

    def _keep(self, key: Key, rows: pa.Table) -> None:
        if rows.nbytes > self._most_bytes_a_file:
            return
        with self._lock:
            if key not in self._files:
                self._files[key] = rows
                self._bytes += rows.nbytes
            while self._bytes > self._most_bytes:
                _, oldest = self._files.popitem(last=False)
                self._bytes -= oldest.nbytes


def _read_files(table: Table, names: Sequence[str], tasks: Sequence[FileScanTask]) -> Iterator[pa.Table]:
    return ExecutorFactory.get_or_create().map(partial(_read_file, table, names), tasks)


def stream_columns(table: Table, task: FileScanTask, names: Sequence[str]) -> Iterator[pa.Table]:
    """What `read_columns` reads of a file, so many rows at a time; the file is open as long as it is gone through."""
    with table.io.new_input(task.file.file_path).open() as stream:
        file = pq.ParquetFile(stream)
        in_file = names_by_id(file.schema_arrow)
        wanted = _wanted(table, names, in_file)
        for rows in file.iter_batches(STREAMED_ROWS, columns=wanted):
            yield _as_named(table, names, in_file, pa.Table.from_batches([rows]))


def _read_file(table: Table, names: Sequence[str], task: FileScanTask) -> pa.Table:
    with table.io.new_input(task.file.file_path).open() as stream:
        file = pq.ParquetFile(stream)
        in_file = names_by_id(file.schema_arrow)
        found = file.read(_wanted(table, names, in_file), use_threads=False)
    return _as_named(table, names, in_file, found)


def names_by_id(schema: pa.Schema) -> dict[int, str]:
    """What a file with this schema calls each column, by field id."""
    return {int(field.metadata[FIELD_ID]): field.name for field in schema}


def _wanted(table: Table, names: Sequence[str], in_file: Mapping[int, str]) -> list[str]:
    ids = (table.schema().find_field(name).field_id for name in names)
    return [in_file[field_id] for field_id in ids if field_id in in_file]


def _as_named(table: Table, names: Sequence[str], in_file: Mapping[int, str], found: pa.Table) -> pa.Table:
    """The rows under the names that the table has now, with nulls for what the file doesn't have."""
    fields = [table.schema().find_field(name) for name in names]
    columns = [
        found[in_file[field.field_id]]
        if field.field_id in in_file
        else pa.nulls(found.num_rows, schema_to_pyarrow(field.field_type))
        for field in fields
    ]
    return pa.table(columns, list(names))


def _joined(table: Table, names: Sequence[str], parts: Sequence[pa.Table]) -> pa.Table:
    if not parts:
        return table.schema().select(*names).as_arrow().empty_table()
    return pa.concat_tables(parts, promote_options="permissive")
