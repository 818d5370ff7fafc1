"""What the baselines share that take one record after the other: reading, keys, and writing with pyarrow."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from dpipe.bench.baselines.counted import profile_of
from dpipe.bench.profile import ColumnProfile
from dpipe.bench.work import BATCH_ID, Breach, Job, Outcome
from dpipe.contract.arrow import arrow_type
from dpipe.contract.plan import PROVENANCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dpipe.contract import PartitionField

# A record's values in the plan's order, and what it breaks; the values are of no use when it breaks something.
Checked = tuple[list[Any], list[Breach]]
ROWS_READ = 10_000
ROWS_HELD = 100_000
QUARANTINE = pa.schema(
    [
        ("_dpipe_batch_id", pa.string()),
        ("_dpipe_record_no", pa.int64()),
        ("raw", pa.binary()),
        ("disposition", pa.string()),
        ("violations", pa.list_(pa.struct([("column", pa.string()), ("rule", pa.string())]))),
    ]
)


def process(job: Job, records: Iterable[tuple[bytes, Any]], check: Callable[[Any], Checked]) -> Outcome:
    """Check every record (its bytes, and what `check` takes), tell duplicates, and write what comes of it."""
    names = [column.name for column in job.plan.columns]
    key = [names.index(name) for name in job.plan.key]
    batches: list[pa.RecordBatch] = []
    rows: list[list[Any]] = []
    record_nos: list[int] = []
    kept: list[dict[str, Any]] = []
    seen: set[tuple[Any, ...]] = set()
    counts: dict[Breach, int] = {}
    values = [Counter[Any]() if job.profile and not column.fields else None for column in job.plan.columns]
    number = rejected = 0
    for number, (raw, record) in enumerate(records, start=1):
        row, breaches = check(record)
        if breaches:
            rejected += 1
            # A record counts once for a rule that several items of it break.
            for breach in set(breaches):
                counts[breach] = counts.get(breach, 0) + 1
            kept.append(_entry(number, raw or _json(record), "rejected", breaches))
            continue
        if key:
            identity = tuple([row[position] for position in key])
            if identity in seen:
                kept.append(_entry(number, raw or _json(record), "duplicate", []))
                continue
            seen.add(identity)
        record_nos.append(number)
        rows.append(row)
        if len(rows) == ROWS_HELD:
            batches.append(_batch(job, rows, record_nos, values))
            rows, record_nos = [], []
    batches.append(_batch(job, rows, record_nos, values))
    accepted = pa.Table.from_batches(batches)
    _write(job, accepted, kept)
    profile = {
        column.name: _nulls_of(accepted[column.name]) if counted is None else profile_of(column, counted)
        for column, counted in zip(job.plan.columns, values, strict=True)
        if job.profile
    }
    return Outcome(number, accepted.num_rows, rejected, len(kept) - rejected, counts, profile)


def _nulls_of(values: pa.ChunkedArray) -> ColumnProfile:
    """The profile of a nested column."""
    return ColumnProfile(len(values), values.null_count)


def prepare() -> None:
    """Let pyarrow import what it looks for when it first sees a list (pandas, if there is one), and its parts."""
    import pyarrow.compute
    import pyarrow.dataset  # noqa: F401

    pa.array([None])


def lines(job: Job) -> Iterator[tuple[bytes, bytes]]:
    """Records of NDJSON: each line, twice."""
    with _opened(job) as file:
        for line in file:
            raw = line.rstrip(b"\r\n")
            if raw.strip(b" \t\r"):
                yield raw, raw


class _Remembering:
    """Lines for `csv.reader`, which tells nobody what it read: `taken` are those since it was last emptied."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self.file = file
        self.taken: list[bytes] = []

    def __iter__(self) -> Iterator[str]:
        for line in self.file:
            self.taken.append(line)
            yield line.decode("utf-8", "surrogateescape")


def csv_records(job: Job) -> Iterator[tuple[bytes, list[str]]]:
    """Records of CSV, the header too if there is one: their bytes and fields."""
    options = job.plan.csv
    with _opened(job) as file:
        source = _Remembering(file)
        for fields in csv.reader(source, delimiter=options.delimiter, quotechar=options.quote):
            raw = b"".join(source.taken).rstrip(b"\r\n")
            source.taken.clear()
            if raw:
                yield raw, fields


def rows(job: Job) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Rows of Parquet; they have no bytes, so that `process` keeps their JSON."""
    for batch in pq.ParquetFile(job.source).iter_batches(ROWS_READ):
        for row in batch.to_pylist():
            yield b"", row


def _opened(job: Job) -> IO[bytes] | gzip.GzipFile:
    """The source, decompressed and buffered."""
    if job.compression == "gzip":
        return gzip.open(job.source, "rb")
    if job.compression == "zstd":
        return io.BufferedReader(pa.input_stream(str(job.source), compression="zstd"))
    return job.source.open("rb")


def _entry(number: int, raw: bytes, disposition: str, breaches: list[Breach]) -> dict[str, Any]:
    return {
        "_dpipe_batch_id": BATCH_ID,
        "_dpipe_record_no": number,
        "raw": raw,
        "disposition": disposition,
        "violations": [{"column": column, "rule": rule} for column, rule in breaches],
    }


def _json(record: object) -> bytes:
    return json.dumps(record, default=str).encode()


def _batch(
    job: Job, rows: list[list[Any]], record_nos: list[int], counts: list[Counter[Any] | None]
) -> pa.RecordBatch:
    """Accepted rows with where they came from; their values are added to the counts, if there are any."""
    columns = job.plan.columns
    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    for counted, column_values in zip(counts, values, strict=True):
        if counted is not None:
            counted.update(column_values)
    arrays = [
        pa.array(column_values, arrow_type(column))
        for column, column_values in zip(columns, values, strict=True)
    ]
    arrays += [
        pa.repeat(BATCH_ID, len(rows)),
        pa.array(record_nos, pa.int64()),
        pa.repeat(job.plan.contract, len(rows)),
    ]
    return pa.record_batch(arrays, [*(column.name for column in columns), *PROVENANCE])


def _write(job: Job, accepted: pa.Table, kept: list[dict[str, Any]]) -> None:
    job.data.mkdir(parents=True)
    job.quarantine.mkdir(parents=True)
    if job.plan.partition:
        _write_partitions(job, accepted)
    else:
        pq.write_table(accepted, job.data / "accepted.parquet", compression="zstd", compression_level=1)
    quarantined = pa.Table.from_pylist(kept, schema=QUARANTINE)
    pq.write_table(quarantined, job.quarantine / "kept.parquet", compression="zstd", compression_level=1)


def _write_partitions(job: Job, accepted: pa.Table) -> None:
    import pyarrow.dataset as ds

    # The folders' columns are left out of the files, so they are others than the plan's.
    folders = [f"partition {number}" for number in range(len(job.plan.partition))]
    for name, field in zip(folders, job.plan.partition, strict=True):
        accepted = accepted.append_column(name, _partition_values(accepted[field.column], field))
    form = ds.ParquetFileFormat()
    ds.write_dataset(
        accepted,
        job.data,
        format=form,
        file_options=form.make_write_options(compression="zstd", compression_level=1),
        partitioning=ds.partitioning(
            pa.schema([accepted.schema.field(name) for name in folders]), flavor="hive"
        ),
        max_partitions=accepted.num_rows + 1,
        use_threads=False,
    )


def _partition_values(column: pa.ChunkedArray, field: PartitionField) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    if field.transform != "identity":
        column = pc.floor_temporal(column, unit=field.transform)
    if pa.types.is_date32(column.type):
        return column.cast(pa.int32())
    return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
