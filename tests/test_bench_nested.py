"""`dpipe bench kernel --shape nested`: objects and arrays, checked alike by every engine; the memory's speed beside."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browsers import chromium
from contract_texts import contract, write
from dpipe.bench import engines, flights, orders
from dpipe.bench.bandwidth import memory_bandwidth
from dpipe.bench.baselines import duckdb as duckdb_baseline
from dpipe.bench.facts import Facts, difference, facts
from dpipe.bench.work import Job, beyond_baselines
from dpipe.contract import Column, Plan, Rule, load_contract

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.bench.flights import Compression, Format

RECORDS = 5_000
# Parts that may be null at every depth, arrays in arrays, and limits that a record can break together.
DEEP = """\
- {name: id, logicalType: integer, required: true, primaryKey: true, primaryKeyPosition: 1}
- name: loose
  logicalType: object
  properties:
  - {name: n, logicalType: integer, logicalTypeOptions: {minimum: 0}}
  - name: inner
    logicalType: object
    properties:
    - {name: s, logicalType: string, logicalTypeOptions: {maxLength: 3}}
- name: list
  logicalType: array
  logicalTypeOptions: {minItems: 1, maxItems: 3}
  items:
    logicalType: object
    properties:
    - {name: x, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 10}}
    - {name: ok, logicalType: boolean}
    - name: marks
      logicalType: array
      required: true
      logicalTypeOptions: {maxItems: 2}
      items: {logicalType: integer, required: true, logicalTypeOptions: {maximum: 5}}
- name: grid
  logicalType: array
  items:
    logicalType: array
    logicalTypeOptions: {minItems: 2}
    items: {logicalType: integer}
"""
FINE: dict[str, Any] = {
    "loose": {"n": 1, "inner": {"s": "abc"}},
    "list": [{"x": 1.5, "ok": True, "marks": [1, 2]}, {"x": None, "marks": []}],
    "grid": [[1, 2], [3, None, 4]],
}
ALIKE: list[dict[str, Any]] = [
    {},
    {"loose": None, "list": None, "grid": None},
    {"loose": {}, "grid": []},
    {"loose": {"n": None, "inner": None}, "grid": [None, [1, 1]]},
    {"loose": {"inner": {}}, "list": [None, {"marks": [5]}]},
]
BROKEN: list[tuple[dict[str, Any], set[str]]] = [
    ({"loose": "text"}, {"loose: type"}),
    ({"loose": {"n": "far"}}, {"loose.n: type"}),
    ({"loose": {"n": -1, "inner": {"s": "long"}}}, {"loose.n: minimum", "loose.inner.s: maxLength"}),
    ({"loose": {"n": 1, "inner": 7}}, {"loose.inner: type"}),
    ({"list": []}, {"list: minItems"}),
    ({"list": "none"}, {"list: type"}),
    ({"list": [7]}, {"list[]: type"}),
    ({"list": [{"x": 1}]}, {"list[].marks: required"}),
    ({"list": [{"x": "x", "marks": [1]}, {"x": 11, "marks": [6, 7]}]},
     {"list[].x: type", "list[].x: maximum", "list[].marks[]: maximum"}),
    ({"list": [{"marks": [1, 2, 6]}] * 4},
     {"list: maxItems", "list[].marks: maxItems", "list[].marks[]: maximum"}),
    ({"list": [{"marks": [None]}]}, {"list[].marks[]: required"}),
    ({"list": [{"marks": ["x"]}]}, {"list[].marks[]: type"}),
    ({"list": [{"marks": "x"}]}, {"list[].marks: type"}),
    ({"list": [{"ok": "maybe", "marks": []}]}, {"list[].ok: type"}),
    ({"grid": [[1]]}, {"grid[]: minItems"}),
    ({"grid": [[1, "x"], 5]}, {"grid[][]: type", "grid[]: type"}),
]  # fmt: skip


def run_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dpipe", "-q", "bench", "kernel", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def told(job: Job, name: str) -> Facts:
    """What an engine makes of the job, here instead of in a process of its own."""
    module = engines.engine(name)
    assert module.unable(job.plan, job.form) is None
    done = replace(job, out=job.out / name)
    done.out.mkdir()
    return facts(done, module.run(done))


def same(job: Job) -> Facts:
    """What the kernel makes of it, once every baseline is shown to say the same."""
    expected = told(job, engines.KERNEL)
    for name in engines.BASELINES:
        off = engines.engine(name).DISTINCT_OFF
        assert difference(expected, told(job, name), with_bytes=True, distinct_off=off) is None, name
    return expected


def deep(folder: Path, records: list[dict[str, Any]]) -> Job:
    """A job on records like `FINE`, each changed as the list says."""
    path = folder / "deep.ndjson"
    lines = [json.dumps({"id": number, **FINE, **changed}) for number, changed in enumerate(records)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Job(load_contract(write(folder, contract(DEEP))).plan, path, "ndjson", "none", 2, folder)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_every_engine_comes_to_the_same_result_on_orders(tmp_path: Path, compression: Compression) -> None:
    path = tmp_path / "orders.ndjson"
    orders.write(path, RECORDS, compression=compression)

    found = same(Job(orders.plan(), path, "ndjson", compression, 2, tmp_path))

    counts = found.counts
    assert counts["records_in"] == RECORDS + counts["duplicate"]
    assert 0.005 < counts["rejected"] / RECORDS < 0.015
    assert set(found.violations) == {
        "record: malformed",
        "customer.address: type",
        "customer.address.zip: pattern",
        "items: minItems",
        "items: maxItems",
        "items[]: required",
        "items[].sku: required",
        "items[].quantity: type",
        "items[].quantity: minimum",
        "items[].quantity: maximum",
        "tags[]: maxLength",
    }


@pytest.mark.parametrize(("changed", "broken"), BROKEN)
def test_what_is_wrong_at_any_depth_is_told_by_every_engine(
    tmp_path: Path, changed: dict[str, Any], broken: set[str]
) -> None:
    found = same(deep(tmp_path, [*ALIKE, changed]))

    assert found.violations == dict.fromkeys(broken, 1)
    assert found.counts == {
        "records_in": len(ALIKE) + 1,
        "accepted": len(ALIKE),
        "rejected": 1,
        "duplicate": 0,
    }


@pytest.mark.parametrize(
    ("column", "value"),
    [("tags", None), ("tags", [None]), ("items", [{"sku": "AB-1"}]), ("customer", {"customer_id": 1})],
)
def test_one_changed_part_is_a_difference(tmp_path: Path, column: str, value: object) -> None:
    path = tmp_path / "orders.ndjson"
    orders.write(path, RECORDS)
    job = Job(orders.plan(), path, "ndjson", "none", 1, tmp_path, profile=False)
    outcome = engines.engine("pure_python").run(job)
    before = facts(job, outcome)
    table = pq.read_table(job.data / "accepted.parquet")
    values = table[column].to_pylist()
    row = values.index([]) if column == "tags" else 0
    values[row] = value
    place, field = table.schema.get_field_index(column), table.schema.field(column)
    nullable = pa.array(values, _nullable(field.type))
    pq.write_table(table.set_column(place, field.name, nullable), job.data / "accepted.parquet")

    assert difference(before, facts(job, outcome), with_bytes=True) == "the accepted rows differ"


def _nullable(kind: pa.DataType) -> pa.DataType:
    """The type with parts that may be null."""
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(part.name, _nullable(part.type)) for part in kind])
    return pa.list_(_nullable(kind.value_type)) if pa.types.is_list(kind) else kind


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_nested_columns_of_other_formats_are_left_out_by_name(form: Format) -> None:
    assert beyond_baselines(flights.plan(), form) is None
    assert "`customer` is nested" in str(beyond_baselines(orders.plan(), form))


@pytest.mark.parametrize("name", ["duckdb", "polars"])
def test_a_part_that_a_baseline_reads_otherwise_is_named(name: str) -> None:
    plan = Plan("d", "c", (Column("a", "struct", fields=(Column("day", "date"),)),))

    assert "`a.day`" in str(engines.engine(name).unable(plan, "ndjson"))


def test_a_part_with_rules_that_break_together_is_named_for_pydantic() -> None:
    rules = (Rule("pattern", "x"), Rule("maxLength", 2))
    plan = Plan("d", "c", (Column("a", "list", fields=(Column("element", "string", rules=rules),)),))

    assert "`a[]` has `pattern` and `maxLength`" in str(engines.engine("pydantic").unable(plan, "ndjson"))
    assert beyond_baselines(
        Plan("d", "c", (Column("a", "list", fields=(Column("element", "time"),)),)), "ndjson"
    )


def test_duckdb_checks_lines_without_a_join_which_would_lose_their_order(tmp_path: Path) -> None:
    path = tmp_path / "orders.ndjson"
    orders.write(path, RECORDS)
    job = Job(orders.plan(), path, "ndjson", "none", 2, tmp_path)
    source = duckdb_baseline._SOURCES["ndjson"](job, [])

    explained = duckdb.sql(f"EXPLAIN CREATE TEMP TABLE records AS {source}").fetchall()[0][1]

    assert "READ_CSV" in explained
    assert "JOIN" not in explained


def test_orders_are_the_same_each_time(tmp_path: Path) -> None:
    plain, again = tmp_path / "a", tmp_path / "b"
    orders.write(plain, RECORDS)
    orders.write(again, RECORDS)

    assert plain.read_bytes() == again.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--shape", "nested", "--format", "csv"), "leave `--format` out, or measure `--shape flat`"),
        (("--shape", "nested", "--format", "parquet"), "leave `--format` out, or measure `--shape flat`"),
        (("--shape", "nested", "--data", __file__, "--contract", "d"), "the contract says the file's shape"),
    ],
)
def test_a_shape_that_cannot_be_made_is_refused_with_what_to_do(
    arguments: tuple[str, ...], hint: str
) -> None:
    done = run_bench(*arguments, "--json")

    assert done.returncode == 2
    assert hint in json.loads(done.stdout)["error"]["hint"]


def test_the_nested_bench_says_its_shape_and_what_share_of_memory_bandwidth_it_uses(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    arguments = ("--shape", "nested", "--records", "2000", "--runs", "1", "--threads", "1")

    done = run_bench(*arguments, "--json", "--html", str(page))

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["left_out"] == {}
    assert set(report["ratios"]) == set(engines.BASELINES)
    assert report["input"]["shape"] == "nested"
    assert (report["input"]["columns"], report["input"]["nested_columns"]) == (7, 3)
    bandwidth = report["machine"]["memory_bandwidth_one_thread_gb_s"]
    for engine in report["engines"]:
        share = engine["megabytes_per_second"] / 1000 / bandwidth
        assert engine["bandwidth_share"] == pytest.approx(share, rel=0.05)
    text = page.read_text(encoding="utf-8")
    assert "<th>% of bandwidth</th>" in text
    assert "memory bandwidth one thread gb s" in text
    assert "GB/s that one thread reads" in text
    assert "7 columns (3 nested)" in text


@pytest.mark.parametrize("threads", [1, 3])
def test_memory_is_read_at_a_speed_that_a_machine_can_have(threads: int) -> None:
    assert 1e8 < memory_bandwidth(threads) < 1e13


def test_the_report_fits_its_page(tmp_path: Path) -> None:
    page_path = tmp_path / "report.html"
    arguments = ("--shape", "nested", "--records", "1000", "--runs", "1", "--against", "pure_python")
    done = run_bench(*arguments, "--html", str(page_path))
    assert done.returncode == 0, done.stderr
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(page_path.as_uri())
        tables = page.eval_on_selector_all(
            ".wide", "all => all.map(one => one.scrollWidth - one.clientWidth)"
        )
        wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")

    assert tables
    assert max(*tables, wider) <= 0
