"""The compiled part of dpipe (`rust_ext/`)."""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

class KernelError(Exception):
    """The kernel could not carry out its plan; what it had written is removed."""

class KernelIoError(KernelError):
    """A file could not be opened, read or written: no fault of the data."""

def process(
    plan: str,
    sources: Sequence[dict[str, Any]],
    *,
    data_dir: str,
    quarantine_dir: str,
    batch_size: int = 100_000,
    threads: int = 0,
    profile: bool = True,
    existing: Callable[[dict[str, Any]], pa.RecordBatchReader | pa.Table | None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Read the sources in their order and write Parquet files of what the plan makes of them.

    `plan` is `Plan.to_json()`. A source is `{"batch_id", "path", "format", "compression"}`; the last two may be None,
    then the content decides. `existing` gets a partition's values by field name and returns the rows that the table
    holds there (the plan's columns, then batch id and record number), or None. `progress` gets the records and bytes
    done so far.

    Returns `batches` (counts, by source), `files` (path, kind, partition, rows, bytes, sha256), complete and
    durable, and unknown to anybody else, and `profile` (column, kind, summary, state) of the accepted values, empty
    without `profile`. Raises `KernelError` (`KernelIoError` for files), or what a callback raised.
    """

def merge_profiles(profiles: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One profile of what several runs returned as `profile`, in any order.

    Raises `KernelError` when they aren't profiles.
    """
