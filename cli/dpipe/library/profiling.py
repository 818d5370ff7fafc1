"""`profile`: what the values of a source's columns are like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dpipe.contract.plan import Plan
from dpipe.errors import SourceError, UsageError
from dpipe.library.result import Profile
from dpipe.library.run import BATCH_SIZE, Options, column_profile, contract_of, counts, run
from dpipe.library.sources import is_arrow, opened

if TYPE_CHECKING:
    import os

    import pyarrow as pa

    from dpipe.contract import Contract
    from dpipe.library.sources import Compression, Format, Source

_PARQUET = b"PAR1"


def profile(
    source: Source,
    contract: Contract | str | os.PathLike[str] | None = None,
    *,
    format: Format | None = None,  # noqa: A002 - the word that users know
    compression: Compression | None = None,
    batch_size: int = BATCH_SIZE,
    threads: int = 0,
) -> Profile:
    """Profile the columns of a source: counts, nulls, range, mean, quantiles, distinct and most frequent values.

    `source` and the options are those of `process`. With a contract, the accepted records are profiled. Without one
    the source must have types of its own, as Parquet and Arrow have. No rows are kept, so that a source may be larger
    than memory.

    Raises `UsageError` for a text source without a contract, and what `process` raises.
    """
    options = Options(format, compression, None, batch_size, threads)
    left_out: dict[str, str] = {}
    if contract is not None:
        plan = contract_of(contract).plan
    else:
        source, schema = _typed(source, format, compression)
        plan, left_out = _plan(schema)
    answer, _, _ = run(source, plan, options, keep=False)
    counted = counts(answer["batches"][0])
    # A column that no kind stands for is no stranger: it is named apart.
    counted["unknown_fields"] = {
        name: records for name, records in counted["unknown_fields"].items() if name not in left_out
    }
    columns = tuple(column_profile(column) for column in answer["profile"])
    return Profile(**counted, columns=columns, left_out=left_out)


def _plan(schema: pa.Schema) -> tuple[Plan, dict[str, str]]:
    """A plan that takes every column as it is, and the types of those that it can't."""
    from dpipe.library.arrow_columns import column_of

    columns = {field.name: column_of(field) for field in schema}
    left_out = {field.name: str(field.type) for field in schema if columns[field.name] is None}
    known = tuple(column for column in columns.values() if column is not None)
    return Plan(dataset="source", contract="", columns=known), left_out


def _typed(source: Source, form: str | None, compression: str | None) -> tuple[Source, pa.Schema]:
    """A source that has types of its own, and its schema; a stream isn't used up by the look at it."""
    content, _ = opened(source, form, compression)
    if is_arrow(content):
        return _stream(content)
    if form not in {None, "parquet"} or (form is None and _head(content) != _PARQUET):
        raise UsageError(
            "the values of a text have no types without a contract",
            hint="hand over the contract too: `dpipe.profile(source, contract)`",
        )
    return source, _parquet_schema(content)


def _stream(content: object) -> tuple[Source, pa.Schema]:
    import pyarrow as pa

    try:
        is_stream = hasattr(content, "__arrow_c_stream__")
        table = pa.RecordBatchReader.from_stream(content) if is_stream else pa.record_batch(content)
    # A stream's producer is a program of whatever kind, and raises whatever it does.
    except Exception as error:
        raise SourceError(
            f"the Arrow stream can't be opened: {error}",
            hint="a source is a table, each column with a name of its own",
        ) from error
    return table, table.schema


def _head(content: object) -> bytes:
    if isinstance(content, bytes):
        return content[: len(_PARQUET)]
    try:
        with Path(str(content)).open("rb") as file:
            return file.read(len(_PARQUET))
    except OSError as error:
        raise UsageError(
            f"`{content}` can't be read: {error.strerror}", hint="check that the file may be read"
        ) from error


def _parquet_schema(content: object) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(pa.BufferReader(content) if isinstance(content, bytes) else content)
    except (pa.ArrowException, OSError) as error:
        said = str(error).splitlines()[0]
        raise SourceError(
            f"not a whole Parquet file: {said}", hint="a Parquet file ends with its schema; get it whole"
        ) from error
