"""`dpipe bench`: what is compared is the same work with the same result, or it is said."""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from contract_texts import contract, write
from dpipe import svg
from dpipe.bench import child, engines, flights, kernel
from dpipe.bench.facts import Facts, difference, facts
from dpipe.bench.kernel import Input, bench_kernel
from dpipe.bench.scaling import bench_scaling
from dpipe.bench.scaling_page import AXES
from dpipe.bench.work import Job, Outcome, beyond_baselines
from dpipe.contract import Column, Plan, Rule, load_contract
from dpipe.contract.plan import DefaultOffset
from dpipe.errors import DpipeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dpipe.bench.flights import Compression, Format

RECORDS = 2_000
EVERY_TYPE = """\
- name: order_id
  logicalType: integer
  required: true
  primaryKey: true
  primaryKeyPosition: 1
- name: day
  logicalType: date
  required: true
  primaryKey: true
  primaryKeyPosition: 2
  partitioned: true
  partitionKeyPosition: 1
  customProperties: [{property: dpipe.partitionTransform, value: month}]
- name: amount
  logicalType: number
  logicalTypeOptions: {minimum: 0, exclusiveMaximum: 90}
- name: code
  logicalType: string
  logicalTypeOptions: {pattern: "^[A-Z]{2}$"}
- name: paid
  logicalType: boolean
- name: at
  logicalType: timestamp
- name: seen_at
  logicalType: timestamp
  logicalTypeOptions: {timezone: true}
"""


def run_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dpipe", "-q", "bench", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def made(folder: Path, form: Format = "ndjson", compression: Compression = "none") -> Input:
    path = folder / f"flights.{form}"
    flights.write(path, RECORDS, form=form, compression=compression)
    return Input(path, form, compression, flights.plan(), made=True)


def orders(folder: Path, form: Format) -> Path:
    """Orders by `EVERY_TYPE`, with every kind of fault that both text formats can have."""
    rows: list[dict[str, Any]] = [
        {
            "order_id": number,
            "day": f"2024-{number % 12 + 1:02}-{number % 28 + 1:02}",
            "amount": number % 80 + 0.25,
            "code": "AB",
            "paid": number % 2 == 0,
            "at": "2024-01-01T05:06:07.123456",
            "seen_at": "2024-01-01T05:06:07+02:00",
        }
        for number in range(200)
    ]
    faults: list[dict[str, Any]] = [
        {"order_id": None},
        {"day": "2024-02-31"},
        {"amount": -1},
        {"amount": 90},
        {"code": "é", "amount": 1e300},
        {"at": "yesterday"},
        {"seen_at": "2024-13-01T05:06:07Z"},
        {"order_id": 150, "day": "2024-07-11"},  # the key of number 150
        {"amount": None, "code": None, "paid": None, "at": None, "seen_at": None},  # fine
    ]
    for row, fault in zip(rows[::20], faults, strict=False):
        row.update(fault)
    path = folder / f"orders.{form}"
    if form == "ndjson":
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        lines.insert(7, '{"order_id": 7, "day"')
    else:
        lines = [",".join(rows[0])]
        lines += [",".join("" if value is None else _csv(value) for value in row.values()) for row in rows]
        lines.insert(7, "7,2024-01-01")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _csv(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def results(given: Input, folder: Path, baselines: Sequence[str] = engines.BASELINES) -> dict[str, Facts]:
    """What the kernel and baselines make of it, here instead of in a process of its own."""
    found = {}
    for name in (engines.KERNEL, *baselines):
        module = engines.engine(name)
        assert module.unable(given.plan, given.form) is None
        job = Job(given.plan, given.path, given.form, given.compression, 2, folder / name)
        job.out.mkdir()
        found[name] = facts(job, module.run(job))
    return found


def assert_same(found: dict[str, Facts], form: Format) -> Facts:
    expected = found.pop(engines.KERNEL)
    for name, other in found.items():
        with_bytes = form in engines.engine(name).KEEPS_BYTES
        assert difference(expected, other, with_bytes=with_bytes) is None, name
    return expected


@pytest.mark.parametrize("partitions", [1, 120])
@pytest.mark.parametrize(
    ("form", "compression"),
    [("ndjson", "none"), ("ndjson", "zstd"), ("csv", "gzip"), ("csv", "zstd"), ("parquet", "none")],
)
def test_every_engine_comes_to_the_same_result(
    tmp_path: Path, form: Format, compression: Compression, partitions: int
) -> None:
    given = made(tmp_path, form, compression)
    given = replace(given, plan=flights.plan(partitions=partitions))

    counts = assert_same(results(given, tmp_path), form).counts

    assert counts["records_in"] == counts["accepted"] + counts["rejected"] + counts["duplicate"] > RECORDS
    assert min(counts.values()) > 0
    files = {name: len(list((tmp_path / name / "data").rglob("*.parquet"))) for name in engines.BASELINES}
    written = len(list((tmp_path / engines.KERNEL / "data").rglob("*.parquet")))
    assert set(files.values()) == {written}


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_every_type_and_rule_of_a_contract_of_ones_own_is_checked_alike(tmp_path: Path, form: Format) -> None:
    plan = load_contract(write(tmp_path, contract(EVERY_TYPE))).plan
    given = Input(orders(tmp_path, form), form, "none", plan, made=False)

    expected = assert_same(results(given, tmp_path), form)

    assert expected.counts["rejected"] == 8
    assert expected.counts["duplicate"] == 1
    assert expected.violations["amount: exclusiveMaximum"] == 2


def test_polars_finds_what_is_malformed_though_it_ends_with_a_brace(tmp_path: Path) -> None:
    columns = "- {name: a, logicalType: integer}\n- {name: b, logicalType: string}\n"
    plan = load_contract(write(tmp_path, contract(columns))).plan
    lines = [
        '{"a": 1, "b": "x"}',
        '{"a": 2,, "b": "y"}',
        '{"a": 3} {"a": 4}',
        '{"b": "z"',
        "[5]",
        '{"b": "}"}',
    ]
    path = tmp_path / "d.ndjson"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    given = Input(path, "ndjson", "none", plan, made=False)

    expected = assert_same(results(given, tmp_path, ["polars"]), "ndjson")

    assert expected.counts == {"records_in": 6, "accepted": 2, "rejected": 4, "duplicate": 0}


@pytest.mark.parametrize("spaced", [True, False])
def test_duckdb_refuses_what_it_would_coerce(tmp_path: Path, *, spaced: bool) -> None:
    columns = (
        "- {name: a, logicalType: integer}\n- {name: b, logicalType: string}\n- {name: c, logicalType: number}\n"
        "- {name: d, logicalType: boolean, required: true}\n- {name: e, logicalType: date}\n"
    )
    plan = load_contract(write(tmp_path, contract(columns))).plan
    fine: dict[str, object] = {"a": 1, "b": "x", "c": 1.5, "d": True, "e": "2024-01-02"}
    others: list[dict[str, object]] = [
        {"a": "1"},
        {"a": 1.0},
        {"b": 5},
        {"c": "1.5"},
        {"d": "true"},
        {"d": 1},
        {"e": 5},
        {"c": 2},
        {"a": None},
    ]
    separators = (", ", ": ") if spaced else (",", ":")
    lines = [json.dumps(fine | other, separators=separators) for other in [{}, *others]]
    path = tmp_path / "d.ndjson"
    path.write_text("\n".join([*lines, "{}"]) + "\n", encoding="utf-8")
    given = Input(path, "ndjson", "none", plan, made=False)

    expected = assert_same(results(given, tmp_path, ["duckdb"]), "ndjson")

    assert expected.counts == {"records_in": 11, "accepted": 3, "rejected": 8, "duplicate": 0}
    assert expected.violations == {
        "a: type": 2,
        "b: type": 1,
        "c: type": 1,
        "d: type": 2,
        "e: type": 1,
        "d: required": 1,
    }


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_columns_may_be_called_like_what_the_baselines_work_with(tmp_path: Path, form: Format) -> None:
    names = ("raw", "record_no", "whole", "fine", "first", "rule", "fields", "winner", "violations", "line")
    columns = "".join(f"- {{name: {name}, logicalType: integer}}\n" for name in names)
    plan = replace(load_contract(write(tmp_path, contract(columns))).plan, key=("raw",))
    rows: list[dict[str, object]] = [dict.fromkeys(names, number) for number in (1, 2, 3, 2)]
    rows[2]["fine"] = "x"
    lines = [json.dumps(row) for row in rows]
    if form == "csv":
        lines = [",".join(names), *(",".join(map(str, row.values())) for row in rows)]
    path = tmp_path / "d"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    expected = assert_same(results(Input(path, form, "none", plan, made=False), tmp_path), form)

    assert expected.counts == {"records_in": 4, "accepted": 2, "rejected": 1, "duplicate": 1}


def test_engines_run_in_turn_and_each_run_is_compared_with_the_kernels_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = {
        "dpipe": iter([9, 1.0, 2.0, 1.0]),
        "duckdb": iter([9, 4.0, 4.0, 3.0]),
        "polars": iter([9, 5.0, 6.0, 9.0]),
    }
    ran = []

    def run(name: str, job: Job) -> child.Run:
        ran.append(name)
        return child.Run(next(taken[name]), 0.1, 100.0, counted)

    counted = Outcome(3, 1, 1, 1, {("a", "type"): 1})
    monkeypatch.setattr(kernel, "run_in_child", run)

    report = bench_kernel(made(tmp_path), against=["duckdb", "polars"], runs=3, threads=1)

    assert ran == ["dpipe", "duckdb", "polars"] * 4
    assert report.ratios == {"duckdb": 3.0, "polars": 5.0}
    assert report.spread == {"duckdb": (2.0, 4.0), "polars": (3.0, 9.0)}


def test_the_answer_for_machines_says_what_was_measured_how_and_where() -> None:
    done = run_bench("kernel", "--records", str(RECORDS), "--runs", "1", "--threads", "1", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)

    assert set(report["ratios"]) == {"pure_python", "pydantic", "duckdb", "polars"}
    for name, ratio in report["ratios"].items():
        least, most = report["spread"][name]
        assert 0 < least <= ratio <= most
    assert report["profile"] is True
    assert {"cpu", "cores", "memory_gb", "system", "python"} <= set(report["machine"])
    versions = {package for engine in report["engines"] for package in engine["versions"]}
    assert {"dpipe", "pyarrow", "pydantic", "duckdb", "polars"} <= versions
    for engine in report["engines"]:
        assert len(engine["seconds"]) == 1
        speed = engine["megabytes_per_second"]
        assert engine["megabytes_per_second_per_core"] == pytest.approx(speed, abs=0.1)
        assert engine["records_per_second"] == pytest.approx(
            report["input"]["records"] / engine["median_seconds"], rel=0.01
        )
        assert engine["peak_memory_mb"] > 10
        assert engine["startup_seconds"] > 0


def test_ones_own_file_is_held_to_ones_own_contract_and_who_cannot_is_named(tmp_path: Path) -> None:
    both = EVERY_TYPE.replace('{pattern: "^[A-Z]{2}$"}', '{pattern: "^[A-Z]{2}$", maxLength: 2}')
    file = write(tmp_path, contract(both))
    data = orders(tmp_path, "csv")
    arguments = ("--data", str(data), "--contract", str(file), "--against", "pure_python,pydantic")

    done = run_bench("kernel", *arguments, "--runs", "1", "--json")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report["ratios"]) == ["pure_python"]
    assert "`code` has `maxLength` and `pattern`" in report["left_out"]["pydantic"]
    assert report["input"]["source"] == str(data)
    assert report["input"]["format"] == "csv"


def test_data_without_a_contract_is_refused(tmp_path: Path) -> None:
    done = run_bench("kernel", "--data", str(orders(tmp_path, "csv")), "--json")

    assert done.returncode == 2
    assert "--contract FILE" in json.loads(done.stdout)["error"]["hint"]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job that pure Python did, small enough to be done here."""
    given = made(tmp_path)
    return Job(given.plan, given.path, "ndjson", "none", 1, tmp_path / "out")


@pytest.fixture
def outcome(job: Job) -> Outcome:
    return engines.engine("pure_python").run(job)


def _rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    table = pq.read_table(path)
    pq.write_table(change(table), path)


def _changed(table: pa.Table, name: str, row: int, value: object) -> pa.Table:
    values = table[name].to_pylist()
    values[row] = value
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(name), pa.array(values, table.schema.field(name).type))


def test_the_order_of_rows_and_the_number_of_files_make_no_difference(job: Job, outcome: Outcome) -> None:
    before = facts(job, outcome)
    table = pq.read_table(job.data / "accepted.parquet")
    pq.write_table(table.slice(700), job.data / "accepted.parquet")
    (job.data / "more").mkdir()
    pq.write_table(table.slice(0, 700), job.data / "more" / "accepted.parquet")

    assert facts(job, outcome) == before


@pytest.mark.parametrize(
    ("file", "column", "value", "said"),
    [
        ("data/accepted.parquet", "air_time", 1, "the accepted rows differ"),
        ("data/accepted.parquet", "_dpipe_record_no", 1_000_000, "the accepted rows differ"),
        (
            "quarantine/kept.parquet",
            "_dpipe_record_no",
            1_000_000,
            "the rejected and duplicate records differ",
        ),
        ("quarantine/kept.parquet", "disposition", "accepted", "the rejected and duplicate records differ"),
        ("quarantine/kept.parquet", "raw", b"{}", "the bytes of rejected and duplicate records differ"),
    ],
)
def test_one_changed_value_is_a_difference(
    job: Job, outcome: Outcome, file: str, column: str, value: object, said: str
) -> None:
    before = facts(job, outcome)
    _rewrite(job.out / file, lambda table: _changed(table, column, 0, value))

    assert difference(before, facts(job, outcome), with_bytes=True) == said


def test_other_counts_are_a_difference_that_names_them(job: Job, outcome: Outcome) -> None:
    before = facts(job, outcome)
    fewer: Facts = replace(before, violations={**before.violations, "month: maximum": 1})

    assert difference(before, before, with_bytes=True) is None
    said = difference(before, replace(before, counts={**before.counts, "rejected": 3}), with_bytes=True)
    assert said is not None
    assert said.startswith("rejected is 3 where the kernel has")
    assert "`month: maximum`" in (difference(before, fewer, with_bytes=True) or "")


def _tampering(name: str, job: Job) -> child.Run:
    """Pure Python that loses a row."""
    run = child.run_in_child(name, job)
    if name == "pure_python":
        _rewrite(job.data / "accepted.parquet", lambda table: table.slice(1))
    return run


def test_a_wrong_result_on_made_records_stops_the_bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "run_in_child", _tampering)

    with pytest.raises(DpipeError, match="of `pure_python` the accepted rows differ"):
        bench_kernel(made(tmp_path), against=["pure_python"], runs=1, threads=1)


def test_a_baseline_with_another_result_on_ones_own_file_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "run_in_child", _tampering)

    report = bench_kernel(replace(made(tmp_path), made=False), against=["pure_python"], runs=1, threads=1)

    assert report.ratios == {}
    assert report.left_out == {"pure_python": "its result differs: the accepted rows differ"}


def test_an_engine_that_is_not_installed_is_named_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = importlib.metadata.version

    def without_polars(package: str) -> str:
        if package == "polars":
            raise importlib.metadata.PackageNotFoundError(package)
        return installed(package)

    monkeypatch.setattr(importlib.metadata, "version", without_polars)

    with pytest.raises(UsageError, match="`polars` is not installed") as raised:
        engines.chosen("duckdb,polars")
    assert raised.value.hint == "pip install 'dpipe[bench]'"
    report = bench_kernel(made(tmp_path), against=["polars"], runs=1, threads=1)
    assert report.left_out == {"polars": "`polars` is not installed: pip install 'dpipe[bench]'"}


def test_an_unknown_engine_is_refused_with_those_there_are() -> None:
    done = run_bench("kernel", "--against", "pandas")

    assert done.returncode == 2
    assert "pure_python, pydantic, duckdb, polars" in done.stderr


def test_an_engine_that_fails_says_why(tmp_path: Path) -> None:
    job = Job(flights.plan(), tmp_path / "missing.ndjson", "ndjson", "none", 1, tmp_path / "out")

    with pytest.raises(DpipeError, match=r"`duckdb` failed: .*missing\.ndjson"):
        child.run_in_child("duckdb", job)


def test_polars_gets_as_many_threads_as_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = made(tmp_path)
    seen: dict[str, str] = {}
    run = subprocess.run

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.update(options["env"])
        return run(*arguments, **options)

    monkeypatch.setattr(subprocess, "run", watched)
    (tmp_path / "out").mkdir()
    child.run_in_child("dpipe", Job(given.plan, given.path, "ndjson", "none", 3, tmp_path / "out"))

    assert seen["POLARS_MAX_THREADS"] == "3"
    assert "POLARS_MAX_THREADS" not in os.environ


def test_the_memory_of_a_run_is_not_the_memory_of_who_started_it(tmp_path: Path) -> None:
    given = made(tmp_path)
    (tmp_path / "out").mkdir()
    held = b"x" * 600_000_000

    run = child.run_in_child("dpipe", Job(given.plan, given.path, "ndjson", "none", 1, tmp_path / "out"))

    assert 10 < run.peak_memory_mb < len(held) / 2e6


def test_the_records_are_the_same_each_time_and_in_every_compression(tmp_path: Path) -> None:
    plain, again, packed = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    flights.write(plain, RECORDS)
    flights.write(again, RECORDS)
    flights.write(packed, RECORDS, compression="gzip")

    assert plain.read_bytes() == again.read_bytes() == gzip.decompress(packed.read_bytes())
    assert plain.read_bytes().count(b"\n") > RECORDS


def test_reports_open_without_a_network_and_charts_are_whole_svg(tmp_path: Path) -> None:
    page, picture = tmp_path / "new" / "report.html", tmp_path / "chart.svg"
    arguments = ("--records", str(RECORDS), "--runs", "1", "--against", "duckdb")

    done = run_bench("kernel", *arguments, "--html", str(page), "--svg", str(picture))

    assert done.returncode == 0, done.stderr
    assert "DuckDB" in done.stdout
    assert "with profile" in " ".join(done.stdout.split())
    text = page.read_text(encoding="utf-8")
    assert text.replace('xmlns="http://www.w3.org/2000/svg"', "").count("://") == 0
    assert text.count("<svg") == text.count("</svg>") == 2
    words = [element.text for element in ET.parse(picture).iter() if element.text]
    assert {"dpipe", "DuckDB"} <= set(words)
    assert any(text.startswith("seconds, median; less is better (") for text in words)


def test_words_in_charts_are_escaped() -> None:
    drawn = svg.bars("a < b", "s & t", [("<b>", 1, "")], ours="")

    assert "a < b" in {element.text for element in ET.fromstring(drawn).iter()}


@pytest.mark.parametrize(
    ("highest", "last"), [(0, 1), (0.07, 0.08), (1, 1), (13.7, 15), (100, 100), (101, 125), (5e6, 5e6)]
)
def test_an_axis_ends_at_a_round_number_at_or_above_what_it_shows(highest: float, last: float) -> None:
    ticks = svg.nice_ticks(highest)

    assert ticks[0] == 0
    assert ticks[-1] == pytest.approx(last)
    assert len(ticks) <= 7


def test_the_pipeline_is_timed_command_by_command() -> None:
    done = run_bench("pipeline", "--records", str(RECORDS), "--runs", "1", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)

    assert [stage["stage"] for stage in report["stages"]] == ["ingest", "process"]
    assert report["seconds"] == pytest.approx(sum(stage["median_seconds"] for stage in report["stages"]))
    assert all(stage["seconds"][0] > 0.05 for stage in report["stages"])


def test_scaling_goes_over_records_columns_threads_and_partitions() -> None:
    report = bench_scaling([1_000, 2_000], form="ndjson", runs=1)

    over = {axis: [point for point in report.points if point.axis == axis] for axis in AXES}
    assert sorted((point.value, point.key) for point in over["records"]) == [
        (1_000, False),
        (1_000, True),
        (2_000, False),
        (2_000, True),
    ]
    assert [point.columns for point in over["columns"]] == [5, 10, 19]
    assert over["threads"][0].threads == 1
    assert over["threads"][-1].threads == os.cpu_count()
    assert [point.partitions for point in over["partitions"]] == [1, 12, 120]
    assert all(point.peak_memory_mb > 10 for point in report.points)


def test_numbers_of_records_that_are_none_are_refused() -> None:
    done = run_bench("scaling", "--records", "1000,many")

    assert done.returncode == 2
    assert "--records 1000,3000" in done.stderr


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (Column("a", "decimal", precision=4, scale=2), "no baseline has the type of `a`"),
        (Column("a", "timestamp", default_offset=DefaultOffset(0, False)), "no baseline has the type of `a`"),
        (Column("a", "string", rules=(Rule("format", "uuid"),)), "no baseline has the rule `format` of `a`"),
        (Column("a", "date", rules=(Rule("minimum", "2024-01-01"),)), "the rule `minimum` of `a`"),
        (Column("a", "int32", rules=(Rule("minimum", 1.0),)), None),
    ],
)
def test_what_no_baseline_does_is_named(column: Column, said: str | None) -> None:
    reason = beyond_baselines(Plan("d", "c", (column,)), "ndjson")
    assert reason is None if said is None else said in str(reason)
