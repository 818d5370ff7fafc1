"""Files at the edge of what JSON and CSV can spell, and at the edge of the kernel's own ways."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dpipe.contract import Column, Plan
from kernel_runs import Refused, Run, run_bytes

if TYPE_CHECKING:
    from pathlib import Path


def plan_of(*columns: Column, **more: object) -> Plan:
    return Plan("things", "0" * 64, columns or (Column("a", "string"),), **more)  # type: ignore[arg-type]


def rules(run: Run) -> list[str]:
    """`accepted`, or the first broken rule, of each record."""
    return [
        record.violations[0][1] if isinstance(record, Refused) else "accepted" for record in run.of_batch()
    ]


@pytest.mark.parametrize("form", ["ndjson", "json", "csv"])
@pytest.mark.parametrize(
    "content", [b"{", b"[", b'"', b"\x00", b"\n", b"\r", b"\xff", b"\xef\xbb\xbf", b"\xef\xbb"]
)
def test_a_file_of_next_to_nothing_is_read_to_its_end(form: str, content: bytes) -> None:
    (batch,) = run_bytes(plan_of(), content, form).batches
    assert batch["accepted"] == 0
    assert batch["records_in"] <= 1


@pytest.mark.parametrize(
    ("depth", "becomes"), [(127, "accepted"), (128, "malformed"), (1_000_000, "malformed")]
)
@pytest.mark.parametrize("form", ["ndjson", "json"])
def test_nesting_has_a_limit_and_no_stack_to_overflow(depth: int, becomes: str, form: str) -> None:
    nested = b'{"b": ' + b"[" * depth + b"]" * depth + b', "a": "x"}'
    content = nested + b"\n" if form == "ndjson" else b"[" + nested + b"]"
    assert rules(run_bytes(plan_of(), content, form)) == [becomes]


@pytest.mark.parametrize("form", ["ndjson", "json", "csv"])
def test_a_field_of_64_mb_is_a_value_where_the_limit_allows_it(form: str) -> None:
    text = b"x" * (64 << 20)
    content = {
        "ndjson": b'{"a": "' + text + b'"}\n{"a": "y"}\n',
        "json": b'[{"a": "' + text + b'"}, {"a": "y"}]',
        "csv": b"a,b\n" + text + b",\ny,\n",
    }[form]
    roomy = run_bytes(plan_of(max_record_bytes=65 << 20), content, form)
    assert [len(row["a"]) for row in roomy.rows.values()] == [64 << 20, 1]

    strict = run_bytes(plan_of(), content, form)
    assert rules(strict) == ["too_large", "accepted"]
    (refused,) = strict.refused.values()
    assert len(refused.raw) == 64 << 10


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_a_number_of_a_million_digits_is_a_number(form: str) -> None:
    digits = b"9" * 1_000_000
    values = [digits, b"0." + digits, b"1e-" + digits]
    columns = (Column("a", "int64"), Column("b", "float64"))
    lines = [b'{"a": 1, "b": ' + value + b"}" if form == "ndjson" else b"1," + value for value in values]
    content = b"\n".join([b"a,b"] * (form == "csv") + lines)
    run = run_bytes(plan_of(*columns), content, form)

    assert rules(run) == ["type", "accepted", "accepted"]
    assert [row["b"] for row in run.rows.values()] == [1.0, 0.0]


def test_a_name_that_is_there_a_million_times_is_refused_at_its_second() -> None:
    started = time.monotonic()
    record = b"{" + b",".join([b'"a": 1'] * 1_000_000) + b"}"
    assert rules(run_bytes(plan_of(), record, "ndjson")) == ["duplicate_field"]
    assert time.monotonic() - started < 10


def test_a_wide_record_does_not_slow_down_those_after_it() -> None:
    fields = b", ".join(b'"u%d": 1' % number for number in range(200_000))
    content = b'{"a": "x", ' + fields + b"}\n" + b'{"a": "y"}\n' * 100_000
    started = time.monotonic()
    (batch,) = run_bytes(plan_of(), content, "ndjson").batches
    # Compared with each name of the first, the others took minutes.
    assert time.monotonic() - started < 20
    assert batch["accepted"] == 100_001


def test_an_unknown_field_counts_once_a_record_however_often_it_is_there() -> None:
    content = b'{"x": 1, "x": 2, "a": "y"}\n' * 5 + b'{"x": 1, "a": "y"}\n' * 7
    for batch_size in (1, 100):
        (batch,) = run_bytes(plan_of(), content, "ndjson", batch_size=batch_size).batches
        assert batch["unknown_fields"] == {"x": 12}


def test_a_carriage_return_that_ends_some_records_is_no_part_of_others() -> None:
    content = b'{"a": "x"}\r\n' * 3 + b'{"a": "x"}\r\r\n' * 3 + b'{"a": "x"}\r\n' * 3
    run = run_bytes(plan_of(key=("a",)), content, "ndjson")

    raw = [record.raw for record in run.refused.values()]
    assert raw == [b'{"a": "x"}'] * 2 + [b'{"a": "x"}\r'] * 3 + [b'{"a": "x"}'] * 3


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_line_ends_may_change_from_line_to_line(form: str) -> None:
    record = b'{"a": "x"}' if form == "ndjson" else b"x,1"
    lines = [record + end for end in (b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\r\n\n", b"")]
    content = b"".join([b"a,b\r\n"] * (form == "csv") + lines)
    assert rules(run_bytes(plan_of(), content, form)) == ["accepted"] * len(lines)


def test_half_a_pair_of_surrogates_costs_its_record_wherever_it_is() -> None:
    half, pair = rb'"\ud83d"', rb'"\ud83d\ude00"'
    places = [b'{"a": %s}', b"{%s: 1}", b'{"b": %s}', b'{"b": [{%s: 1}]}', b'{"a": "x", "b": {"c": %s}}']
    content = b"\n".join(place % text for place in places for text in (pair, half))
    assert rules(run_bytes(plan_of(), content, "ndjson")) == ["accepted", "malformed"] * len(places)


def test_which_unknown_fields_are_counted_apart_depends_on_no_record_batch() -> None:
    content = b"".join(b'{"a": "x", "u%03d": 1}\n' % number for number in reversed(range(150)))
    counts = [
        run_bytes(plan_of(), content, "ndjson", batch_size=batch_size).batches[0]["unknown_fields"]
        for batch_size in (1, 7, 1000)
    ]
    assert counts[0] == {**{f"u{number:03}": 1 for number in range(100)}, "…": 50}
    assert counts[1:] == counts[:1] * 2


def test_negative_zero_is_a_key_of_its_own() -> None:
    content = b'{"a": 0.0}\n{"a": -0.0}\n{"a": 0}\n{"a": -0.0}\n'
    run = run_bytes(plan_of(Column("a", "float64"), key=("a",)), content, "ndjson")
    assert [record.winner for record in run.refused.values()] == [("batch", 1), ("batch", 2)]


@pytest.mark.parametrize(("form", "content"), [("json", b'[{"a": "x"}]'), ("csv", b"a\nx\n")])
def test_the_bytes_of_a_source_are_all_counted(form: str, content: bytes) -> None:
    counted = {
        batch_size: run_bytes(plan_of(), content, form, batch_size=batch_size).batches[0]["bytes_in"]
        for batch_size in (1, 100)
    }
    assert counted == {1: len(content), 100: len(content)}


@pytest.mark.long
def test_a_parquet_file_of_few_bytes_and_huge_values_is_read_in_bounded_memory(tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(
        pa.array([0] * 80_000, pa.int32()), pa.array(["x" * 30_000], pa.large_string())
    )
    pq.write_table(pa.table({"a": texts}), tmp_path / "a.parquet")
    code = f"""
import json, resource
from dpipe import _kernel
source = {{"batch_id": "b", "path": {str(tmp_path / "a.parquet")!r}, "format": None, "compression": None}}
folders = {{"data_dir": {str(tmp_path / "data")!r}, "quarantine_dir": {str(tmp_path / "quarantine")!r}}}
answer = _kernel.process({plan_of().to_json()!r}, [source], threads=2, **folders)
print(json.dumps([answer["batches"][0]["accepted"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    accepted, peak_mib = json.loads(done.stdout)
    assert accepted == 80_000
    # All of the texts take 2,289 MiB.
    assert peak_mib < 1500
