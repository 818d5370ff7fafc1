"""`dpipe.process`, `dpipe.profile` and `dpipe.Contract` in a program, without a project."""

from __future__ import annotations

import gzip
import io
import os
import signal
import subprocess
import sys
import threading
import zipfile
from typing import TYPE_CHECKING, Any

import dpipe
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from contract_texts import CONTRACTS, contract
from kernel_runs import run_bytes
from support import ORDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONTRACT = dpipe.Contract.from_text(ORDERS)
LINES = b"""\
{"order_id": 1, "day": "2026-01-01", "amount": 1.5}
{"order_id": 1, "day": "2026-01-01", "amount": 1.5}
{"order_id": 2, "day": "2026-01-02", "amount": -1}
{"order_id": 3, "day": "2026-01-02", "amount": null, "colour": "red"}
{"order_id": "x", "day": "2026-01-02"}
"""
TABLE = pa.table(
    {
        "order_id": [1, 1, 2, 3],
        "day": pa.array([20454, 20454, 20455, 20455], pa.int32()).cast(pa.date32()),
        "amount": [1.5, 1.5, -1, None],
    }
)
COUNTS = ("records_in", "accepted_count", "rejected_count", "duplicate_count")


def counts(result: dpipe.Result | dpipe.Profile) -> tuple[int, ...]:
    found = tuple(getattr(result, name) for name in COUNTS)
    assert found[0] == sum(found[1:])
    return found


def packed(content: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("orders.ndjson", content)
    return sink.getvalue()


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def broken(error: BaseException) -> pa.RecordBatchReader:
    """A stream that breaks off after the table's rows."""

    def batches() -> Iterator[pa.RecordBatch]:
        yield from TABLE.to_batches()
        raise error

    return pa.RecordBatchReader.from_batches(TABLE.schema, batches())


# Results


def test_every_record_is_counted_and_kept() -> None:
    result = dpipe.process(LINES, CONTRACT, batch_id="monday")

    assert counts(result) == (5, 2, 2, 1)
    assert (len(result.accepted), len(result.quarantine)) == (2, 3)
    assert (result.format, result.compression, result.bytes_in) == ("ndjson", "none", len(LINES))
    assert result.unknown_fields == {"colour": 1}
    assert result.violations == (
        dpipe.Violation("order_id", "type", 1),
        dpipe.Violation("amount", "minimum", 1),
    )
    rows = pa.table(result.accepted).to_pylist()
    assert [row["order_id"] for row in rows] == [1, 3]
    assert [row["_dpipe_record_no"] for row in rows] == [1, 4]
    assert {(row["_dpipe_batch_id"], row["_dpipe_contract"]) for row in rows} == {("monday", CONTRACT.hash)}
    kept = pa.table(result.quarantine).to_pylist()
    assert [row["raw"] for row in kept] == [LINES.splitlines()[at] for at in (1, 2, 4)]
    assert [row["line"] for row in kept] == [2, 3, 5]
    assert kept[0]["winner_record_no"] == 1


def test_a_result_says_in_one_line_what_became_of_the_records() -> None:
    assert repr(dpipe.process(LINES, CONTRACT)) == (
        "<Result: 5 records in = 2 accepted + 2 rejected (1 by `type` of `order_id`, 1 by `minimum` of `amount`)"
        " + 1 duplicate>"
    )


def test_rows_and_rejects_are_those_of_the_pipelines_kernel() -> None:
    result = dpipe.process(LINES, CONTRACT, batch_id="batch", batch_size=2, threads=3)
    files = run_bytes(CONTRACT.plan, LINES, "ndjson")

    rows = {("batch", row["_dpipe_record_no"]): row for row in pa.table(result.accepted).to_pylist()}
    assert {key: {name: row[name] for name in files.rows[key]} for key, row in rows.items()} == files.rows
    kept = pa.table(result.quarantine).to_pylist()
    assert {("batch", row["_dpipe_record_no"]): row["raw"] for row in kept} == {
        key: record.raw for key, record in files.refused.items()
    }


def test_pyarrow_polars_and_duckdb_take_the_rows_over_as_often_as_they_like() -> None:
    result = dpipe.process(LINES, CONTRACT)
    accepted, quarantine = result.accepted, result.quarantine

    for _ in range(2):
        assert pa.table(accepted)["order_id"].to_pylist() == [1, 3]
        assert pl.DataFrame(accepted)["order_id"].to_list() == [1, 3]
        assert duckdb.sql("select order_id from accepted").fetchall() == [(1,), (3,)]
        assert pl.DataFrame(quarantine).height == 3
        joined = "select count(*) from accepted join quarantine on order_id = winner_record_no"
        assert duckdb.sql(joined).fetchall() == [(1,)]
    assert pa.schema(accepted) == pa.table(accepted).schema
    assert accepted.column_names == pa.table(accepted).column_names


def test_rows_are_exported_without_a_copy() -> None:
    rows = dpipe.process(LINES, CONTRACT).accepted

    one, other = (pa.table(rows)["amount"].chunk(0).buffers()[1] for _ in range(2))
    assert one.address == other.address


def test_exported_rows_outlive_the_result() -> None:
    result = dpipe.process(LINES, CONTRACT)
    table = pa.table(result.accepted)
    reader = pa.RecordBatchReader.from_stream(result.quarantine)
    del result

    assert table["order_id"].to_pylist() == [1, 3]
    assert reader.read_all().num_rows == 3


def test_nothing_in_is_nothing_out() -> None:
    sources: list[Any] = [b"", TABLE.slice(0, 0), pa.table({})]
    for source in sources:
        result = dpipe.process(source, CONTRACT)
        assert counts(result) == (0, 0, 0, 0)
        assert pa.table(result.accepted).num_rows == 0
        assert pl.DataFrame(result.accepted).columns[:3] == ["order_id", "day", "amount"]
        assert result.profile == ()


def test_whole_batch_rules_are_held_too() -> None:
    text = contract(
        "- name: a\n  logicalType: string\n  quality:\n"
        "    - {name: known, metric: nullValues, unit: percent, mustBeLessThan: 60, severity: warning}",
        dataset="quality:\n  - {name: enough, metric: rowCount, mustBeGreaterThan: 4}",
    )
    result = dpipe.process(b'{"a": "x"}\n{"a": null}\n', dpipe.Contract.from_text(text))

    assert result.checks == (
        dpipe.Check("enough", None, False, 2.0, "error", "row count > 4"),
        dpipe.Check("known", "a", True, 50.0, "warning", "null values of a < 60 percent"),
    )
    assert "failed checks: enough" in repr(result)


def test_a_profile_is_taken_unless_it_is_declined() -> None:
    result = dpipe.process(LINES, CONTRACT)

    assert [column.column for column in result.profile] == ["order_id", "day", "amount"]
    day = result.profile[1]
    assert (day.type, day.least, day.greatest) == ("date", "2026-01-01", "2026-01-02")
    assert (result.profile[2].rows, result.profile[2].nulls, result.profile[2].mean) == (2, 1, 1.5)
    assert dpipe.process(LINES, CONTRACT, profile=False).profile == ()


# Sources


@pytest.mark.parametrize(
    "content", [LINES, gzip.compress(LINES), packed(LINES)], ids=["plain", "gzip", "zip"]
)
def test_a_file_and_its_bytes_are_one_source(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "orders"
    path.write_bytes(content)

    sources: list[Any] = [content, bytearray(content), memoryview(content), path, str(path)]
    for source in sources:
        result = dpipe.process(source, CONTRACT)
        assert counts(result) == (5, 2, 2, 1)
        (batch,) = set(pa.table(result.accepted)["_dpipe_batch_id"].to_pylist())
        assert batch == ("orders" if isinstance(source, str | os.PathLike) else "bytes")


def test_a_view_of_every_second_byte_is_read_as_such() -> None:
    doubled = bytes(byte for each in LINES for byte in (each, 0))

    assert counts(dpipe.process(memoryview(doubled)[::2], CONTRACT)) == (5, 2, 2, 1)


@pytest.mark.parametrize(
    "source",
    [
        lambda: TABLE,
        lambda: TABLE.combine_chunks().to_batches()[0],
        lambda: TABLE.to_reader(max_chunksize=1),
        lambda: TABLE.to_struct_array().combine_chunks(),
        lambda: pl.DataFrame(TABLE),
        lambda: duckdb.from_arrow(TABLE),
        lambda: parquet(TABLE),
    ],
    ids=["table", "batch", "reader", "array", "polars", "duckdb", "parquet"],
)
def test_any_table_is_a_source(source: Callable[[], Any]) -> None:
    result = dpipe.process(source(), CONTRACT, batch_size=3)

    assert counts(result) == (4, 2, 1, 1)
    assert pa.table(result.accepted)["order_id"].to_pylist() == [1, 3]
    assert pa.table(result.quarantine)["raw"].to_pylist()[1] == (
        b'{"order_id":2,"day":"2026-01-02","amount":-1.0}'
    )


def test_accepted_rows_are_a_source_again() -> None:
    first = dpipe.process(LINES, CONTRACT)
    second = dpipe.process(first.accepted, CONTRACT)

    assert counts(second) == (2, 2, 0, 0)


@pytest.mark.parametrize("kind", [pl.Categorical, pl.Enum(["x", "y"]), pl.String])
def test_texts_of_polars_are_texts(kind: Any) -> None:
    frame = pl.DataFrame({"a": pl.Series(["x", None, "y"], dtype=kind)})
    result = dpipe.process(frame, dpipe.Contract.from_text(contract()))

    assert pa.table(result.accepted)["a"].to_pylist() == ["x", None, "y"]


def test_bytes_that_are_no_text_cost_their_record() -> None:
    result = dpipe.process(b'{"order_id": 1, "day": "2026-01-01", "note": "\xff"}\n' + LINES, CONTRACT)

    assert counts(result)[:2] == (6, 2)
    assert dpipe.Violation(None, "utf8", 1) in result.violations


def test_a_source_without_records_that_can_be_told_apart_is_one_rejected_record() -> None:
    result = dpipe.process("héllo".encode("utf-16"), CONTRACT)

    assert counts(result) == (1, 0, 1, 0)
    assert result.violations == (dpipe.Violation(None, "unreadable", 1),)


# Errors


@pytest.mark.parametrize("source", [3, None, [{"order_id": 1}], {"a": [1]}, io.BytesIO(LINES), object()])
@pytest.mark.parametrize("call", [dpipe.process, dpipe.profile])
def test_what_is_no_source_is_refused(source: Any, call: Callable[..., object]) -> None:
    with pytest.raises(dpipe.UsageError, match="is no source") as caught:
        call(source, CONTRACT)
    assert caught.value.hint


def test_a_path_that_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(dpipe.UsageError, match="is a folder"):
        dpipe.process(tmp_path, CONTRACT)
    with pytest.raises(dpipe.UsageError, match="no regular file"):
        dpipe.process("/dev/null", CONTRACT)
    missing: list[Any] = [tmp_path / "none", "{}\n" * 10_000, "nul\0"]
    for path in missing:
        with pytest.raises(dpipe.UsageError) as caught:
            dpipe.process(path, CONTRACT)
        assert "text.encode()" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "options",
    [
        {"format": "xml"},
        {"format": "arrow"},
        {"compression": "rar"},
        {"batch_size": 0},
        {"batch_size": 1 << 40},
        {"threads": -1},
        {"threads": 1.5},
        {"batch_id": ""},
    ],
    ids=str,
)
def test_a_wrong_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(dpipe.UsageError):
        dpipe.process(LINES, CONTRACT, **options)


def test_what_is_no_contract_is_refused(tmp_path: Path) -> None:
    with pytest.raises(dpipe.UsageError, match="is no contract"):
        dpipe.process(LINES, 3)  # type: ignore[arg-type]
    with pytest.raises(dpipe.ConfigError, match="can't be read"):
        dpipe.process(LINES, tmp_path / "none.yaml")


@pytest.mark.parametrize("call", [dpipe.process, dpipe.profile])
def test_a_stream_that_breaks_off_says_what_its_producer_said(call: Callable[..., object]) -> None:
    with pytest.raises(dpipe.SourceError, match=r"after record 4: .*the database went away") as caught:
        call(broken(RuntimeError("the database went away")), CONTRACT)
    assert "Traceback" not in str(caught.value)


def test_an_interrupt_of_a_producer_stays_one() -> None:
    with pytest.raises(KeyboardInterrupt):
        dpipe.process(broken(KeyboardInterrupt()), CONTRACT)


class Raising:
    """A stream that can't be opened."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        raise ValueError("closed")


class NoCapsule(Raising):
    """A stream that isn't one."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return 5


@pytest.mark.parametrize(
    "source",
    [
        Raising(),
        NoCapsule(),
        pa.array([1]),
        pa.chunked_array([[1]]),
        pl.Series([1]),
        pa.table([[1], [2]], names=["order_id", "order_id"]),
    ],
    ids=["raising", "no capsule", "array", "chunks", "series", "doubled column"],
)
def test_a_stream_that_is_no_table_is_refused(source: Any) -> None:
    with pytest.raises(dpipe.SourceError):
        dpipe.process(source, CONTRACT)
    with pytest.raises(dpipe.DpipeError):
        dpipe.profile(source)


def test_texts_of_a_stream_are_not_taken_on_trust() -> None:
    offsets = pa.py_buffer(b"\0\0\0\0\1\0\0\0")
    texts = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(b"\xff")])

    with pytest.raises(dpipe.SourceError, match="column `a`"):
        dpipe.process(pa.table({"a": texts}), dpipe.Contract.from_text(contract()))


def test_an_interrupt_stops_a_run() -> None:
    lines = b"".join(b'{"order_id": %d, "day": "2026-01-01"}\n' % number for number in range(2_000_000))

    def interrupted() -> None:  # as a whole where it is awaited, however late it goes on
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        any(dpipe.process(lines, CONTRACT).records_in == 0 for _ in range(1000))

    with pytest.raises(KeyboardInterrupt):
        interrupted()


# Contracts


def test_a_contract_is_the_same_from_a_file_a_text_and_a_document() -> None:
    path = CONTRACTS / "flights.odcs.yaml"
    text = path.read_text(encoding="utf-8")
    loaded = dpipe.Contract.load(path)

    assert dpipe.Contract.from_text(text) == loaded
    assert dpipe.Contract.from_dict(yaml.safe_load(text)) == loaded


def test_a_contract_outside_of_a_project_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "anything.yml"
    path.write_text(ORDERS, encoding="utf-8")

    assert dpipe.Contract.load(str(path)) == CONTRACT
    assert counts(dpipe.process(LINES, path)) == (5, 2, 2, 1)


def test_what_is_wrong_with_a_contract_has_its_place() -> None:
    text = contract("- {name: a, logicalType: word}")
    with pytest.raises(dpipe.ConfigError, match=r"<text>:\d+:\d+: no type `word`"):
        dpipe.Contract.from_text(text)
    with pytest.raises(dpipe.ConfigError, match=r"schema\[0\]\.properties\[0\]\.logicalType: no type `word`"):
        dpipe.Contract.from_dict(yaml.safe_load(text))


@pytest.mark.parametrize(
    "document",
    [{"a": object()}, {"a": float("nan")}, {}, 5, {"a": {"b": [[[[]]]]}}],
    ids=["object", "nan", "nothing", "number", "deep"],
)
def test_a_document_that_is_no_contract_is_refused(document: Any) -> None:
    with pytest.raises(dpipe.ConfigError):
        dpipe.Contract.from_dict(document)


def test_a_text_that_is_no_contract_is_refused() -> None:
    for text in ["", "a: [", "\ud800", "- 1", b"a: 1", None]:
        with pytest.raises(dpipe.ConfigError):
            dpipe.Contract.from_text(text)  # type: ignore[arg-type]


# Profiles


def test_a_table_is_profiled_by_its_own_types() -> None:
    table = pa.table(
        {
            "small": pa.array([1, 2, 2], pa.uint8()),
            "large": pa.array([1, 2, (1 << 64) - 1], pa.uint64()),
            "price": pa.array([1.5, None, 2.5], pa.float32()),
            "text": pa.array(["a", "b", "b"]).dictionary_encode(),
            "time": pa.array([1_000, 2_000, None], pa.timestamp("ns", "Europe/Paris")),
            "items": pa.array([[1], [], None], pa.list_(pa.int8())),
            "pairs": pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int8())),
            "none": pa.nulls(3),
        }
    )
    for source in [table, pl.DataFrame(table.drop_columns(["pairs"])), table.to_reader(), parquet(table)]:
        profile = dpipe.profile(source)
        assert counts(profile) == (3, 3, 0, 0)
        assert (profile["small"].mean, profile["small"].top[0]) == (5 / 3, dpipe.Frequency(2, 2))
        assert (profile["price"].nulls, profile["price"].greatest) == (1, 2.5)
        assert profile["text"].lengths == dpipe.Lengths(1, 1, 1.0)
        assert profile["time"].least == "1970-01-01T00:00:00.000001Z"
        assert (profile["items"].type, profile["items"].nulls, profile["items"].distinct) == ("list", 1, None)
        assert profile["large"].type == "decimal(20,0)"
        assert profile["none"].nulls == 3
        assert profile.left_out.keys() <= {"pairs"}
        assert profile.unknown_fields == {}
    with pytest.raises(KeyError):
        profile["pairs"]


def test_a_profile_with_a_contract_is_that_of_the_accepted_records() -> None:
    profile = dpipe.profile(LINES, CONTRACT)

    assert counts(profile) == (5, 2, 2, 1)
    assert profile.columns == dpipe.process(LINES, CONTRACT).profile


def test_a_value_without_a_place_in_the_profile_is_said_to_have_none() -> None:
    profile = dpipe.profile(pa.table({"t": pa.array([1, 1_000], pa.timestamp("ns"))}))

    assert counts(profile) == (2, 1, 1, 0)
    assert profile.violations == (dpipe.Violation("t", "type", 1),)


def test_text_is_profiled_with_a_contract_only(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\n1\n")
    sources: list[Any] = [path, b"a\n1\n", b""]
    for source in sources:
        with pytest.raises(dpipe.UsageError, match="no types without a contract"):
            dpipe.profile(source)
    with pytest.raises(dpipe.SourceError, match="not a whole Parquet file"):
        dpipe.profile(parquet(TABLE)[:-9])


# The package


def test_the_package_imports_nothing_before_it_is_asked_to() -> None:
    code = "import sys, dpipe; print(*(name for name in sys.modules if name.startswith('dpipe')))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.split() == ["dpipe"]


def test_every_public_name_is_there_and_documented() -> None:
    for name in dpipe.__all__:
        assert getattr(dpipe, name)
        assert name in dir(dpipe)
        assert name == "__version__" or getattr(dpipe, name).__doc__
    with pytest.raises(AttributeError, match="no attribute `nothing`"):
        _ = dpipe.nothing  # type: ignore[attr-defined]
