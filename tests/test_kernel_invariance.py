"""What may not make a difference to the kernel's result doesn't, and what is written reads back as it was."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dpipe.contract import Column, Plan
from dpipe.contract.arrow import arrow_type
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_inputs import KINDS, sources
from kernel_runs import Refused, Run, run_bytes, run_sources
from test_kernel_differential import FORMS, as_seen, exact

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
# Threads, records of a record batch, bytes of keys in memory.
WAYS = [(1, 1, 1 << 30), (2, 17, 0), (4, 1000, 1 << 30), (4, 3, 300)]
EXAMPLES = 12
MANY_EXAMPLES = 300


def shown(run: Run) -> Any:
    batches = [run.of_batch(batch["batch_id"]) for batch in run.batches]
    return run.batches, [[as_seen(record) for record in records] for records in batches]


def any_way_is_the_same(form: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=SLOW)
    @given(sources(form, most=16))
    def check(drawn: tuple[Plan, dict[str, bytes]]) -> None:
        plan, contents = drawn
        once = shown(run_sources(plan, contents, form))
        for threads, batch_size, key_bytes in WAYS:
            again = run_sources(
                plan, contents, form, threads=threads, batch_size=batch_size, key_bytes=key_bytes
            )
            assert shown(again) == once, f"{threads} threads, record batches of {batch_size}"

    check()


@pytest.mark.parametrize("form", FORMS)
def test_threads_and_the_size_of_record_batches_make_no_difference(form: str) -> None:
    any_way_is_the_same(form, EXAMPLES)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("form", FORMS)
def test_they_make_none_to_many_more_files(form: str) -> None:
    any_way_is_the_same(form, MANY_EXAMPLES)


def numbered(run: Run) -> list[Any]:
    """All records of a run in their order, without what tells the file: places are numbers in the whole."""
    before: dict[str, int] = {}
    total = 0
    for batch in run.batches:
        before[batch["batch_id"]] = total
        total += batch["records_in"]
    records: list[Any] = []
    for batch in run.batches:
        for record in run.of_batch(batch["batch_id"]):
            if isinstance(record, Refused):
                winner = record.winner and before[record.winner[0]] + record.winner[1]
                records.append((record.disposition, record.violations, record.raw, winner))
            else:
                records.append(as_seen(record))
    return records


@settings(max_examples=EXAMPLES * 3, deadline=None, suppress_health_check=SLOW)
@given(sources("ndjson", most=16), st.lists(st.integers(0, 200), max_size=4))
def test_one_file_and_its_lines_spread_over_several_come_to_the_same(
    drawn: tuple[Plan, dict[str, bytes]], cuts: list[int]
) -> None:
    plan, contents = drawn
    content = b"\n".join(contents.values()).replace(b"\xef\xbb\xbf", b"")
    lines = content.split(b"\n")
    ends = [0, *sorted(min(cut, len(lines)) for cut in cuts), len(lines)]
    parts = [lines[start:stop] for start, stop in pairwise(ends)]
    files = {f"part-{number}": b"".join(line + b"\n" for line in part) for number, part in enumerate(parts)}

    whole = run_bytes(plan, content + b"\n", "ndjson")
    assert numbered(run_sources(plan, files, "ndjson", threads=2)) == numbered(whole)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "string": st.text(),
    "date": st.dates(),
    "timestamp": st.datetimes(timezones=st.just(UTC)),
    "timestamp_ntz": st.datetimes(),
}
EVERY_KIND = Plan("things", "0" * 64, tuple(Column(kind, kind) for kind in KINDS))
ROWS = st.lists(
    st.fixed_dictionaries({kind: st.none() | values for kind, values in VALUES.items()}), max_size=20
)
Row = dict[str, Any]


def spelled(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else value


def as_ndjson(rows: list[Row], *, ensure_ascii: bool) -> bytes:
    lines = (
        json.dumps({name: spelled(value) for name, value in row.items()}, ensure_ascii=ensure_ascii)
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines).encode()


def as_csv(rows: list[Row]) -> bytes:
    def field(value: Any) -> str:
        if isinstance(value, str):
            return '"' + value.replace('"', '""') + '"'
        return "" if value is None else str(spelled(value))

    lines = [",".join(KINDS), *(",".join(field(row[kind]) for kind in KINDS) for row in rows)]
    return "".join(f"{line}\r\n" for line in lines).encode()


def as_parquet(rows: list[Row]) -> bytes:
    schema = pa.schema([(column.name, arrow_type(column)) for column in EVERY_KIND.columns])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return sink.getvalue()


def read(content: bytes, form: str) -> list[Row]:
    run = run_bytes(EVERY_KIND, content, form)
    assert not run.refused
    return [{name: exact(value) for name, value in row.items()} for row in run.rows.values()]


@settings(max_examples=EXAMPLES * 2, deadline=None, suppress_health_check=SLOW)
@given(ROWS)
def test_what_is_written_in_any_format_reads_back_bit_by_bit(rows: list[Row]) -> None:
    wanted = [{name: exact(value) for name, value in row.items()} for row in rows]

    assert read(as_ndjson(rows, ensure_ascii=True), "ndjson") == wanted
    assert read(as_ndjson(rows, ensure_ascii=False), "ndjson") == wanted
    assert read(as_csv(rows), "csv") == wanted
    assert read(as_parquet(rows), "parquet") == wanted


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=SLOW)
@given(ROWS)
def test_what_the_kernel_wrote_it_reads_back_bit_by_bit(rows: list[Row]) -> None:
    written = run_bytes(EVERY_KIND, as_ndjson(rows, ensure_ascii=False), "ndjson").accepted_files
    wanted = [{name: exact(value) for name, value in row.items()} for row in rows]

    assert [row for content in written for row in read(content, "parquet")] == wanted
