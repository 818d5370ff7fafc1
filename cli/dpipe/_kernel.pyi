"""The compiled part of dpipe (`rust_ext/`)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

import pyarrow as pa

__all__ = [
    "KernelError",
    "KernelIoError",
    "KernelStreamError",
    "RecordBatches",
    "merge_profiles",
    "process",
    "process_in_memory",
]

class KernelError(Exception):
    """The kernel could not carry out its plan; what it had written is removed."""

class KernelIoError(KernelError):
    """A file could not be opened, read or written: no fault of the data."""

class KernelStreamError(KernelError):
    """An Arrow stream could not be opened or read on; what its producer raised is the cause, where it is known."""

@final
class RecordBatches:
    """Rows in memory, which other libraries take over through Arrow's capsules, without a copy and as often as asked.

    `pyarrow.table(rows)`, `polars.DataFrame(rows)` and DuckDB's `from rows` all do. `len` is the number of rows.
    """

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in their order."""

    def __len__(self) -> int: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The rows as the capsule `arrow_array_stream`, in their own schema, whatever is requested."""

    def __arrow_c_schema__(self) -> object:
        """The schema as the capsule `arrow_schema`."""

def process(
    plan: str,
    sources: Sequence[dict[str, Any]],
    *,
    data_dir: str,
    quarantine_dir: str,
    batch_size: int = 100_000,
    threads: int = 0,
    key_bytes: int = 1 << 30,
    profile: bool = True,
    existing: Callable[[dict[str, Any]], pa.RecordBatchReader | pa.Table | None] | None = None,
    existing_values: Callable[[list[str]], Iterable[pa.RecordBatchReader | pa.Table]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Read the sources in their order and write Parquet files of what the plan makes of them.

    `plan` is `Plan.to_json()`. A source is `{"batch_id", "path", "format", "compression"}`; the last two may be None,
    then the content decides. `existing` gets a partition's values by field name and returns the rows that the table
    holds there (the plan's columns, then batch id and record number), or None. `existing_values` gets the names of the
    plan's unique columns and returns their values in all rows of the table, with batch id and record number after
    them, in as many parts as it likes. `progress` gets the records and bytes done so far. Past `key_bytes` of keys and
    unique values in memory, about, they are moved to files without a name in `data_dir`.

    Returns `batches` (counts, by source, and the rows of the table that an upsert supersedes), `files` (path, kind,
    partition, rows, bytes, sha256), complete and durable, and unknown to anybody else, and `profile` (column, kind,
    summary, state) of the accepted values, empty without `profile`. An upsert ends before the first source with a
    record that takes the place of another source's: that row has to be in the table first. Raises `KernelError`
    (`KernelIoError` for files), or what a callback raised.
    """

def process_in_memory(
    plan: str,
    source: object,
    *,
    batch_id: str,
    format: str | None = None,  # noqa: A002 - a word of the sources' descriptions
    compression: str | None = None,
    batch_size: int = 100_000,
    threads: int = 0,
    profile: bool = True,
    keep: bool = True,
) -> tuple[dict[str, Any], RecordBatches, RecordBatches]:
    """Read one source without writing a file: what `process` returns, the accepted rows and the quarantined records.

    `source` is the path of a file, its bytes (borrowed, not copied), or an object with `__arrow_c_stream__` or
    `__arrow_c_array__`. Rows are in the order of their records, whatever the plan's partition; both tables are empty
    without `keep`. Raises `KernelError` (`KernelIoError` for files, `KernelStreamError` for streams), or what a signal
    handler raised.
    """

def merge_profiles(profiles: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One profile of what several runs returned as `profile`, in any order.

    Raises `KernelError` when they aren't profiles.
    """
