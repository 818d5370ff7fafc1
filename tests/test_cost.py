"""What runs used is written down, priced by `configs/prices.yaml`, and put together without losing anything."""

from __future__ import annotations

import json
import math
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from dpipe.cost import ledger
from dpipe.cost.model import PriceFile, warehouse_size
from dpipe.cost.price_file import read
from dpipe.cost.warehouse import Use, billed
from dpipe.errors import ConfigError, DataError
from dpipe.settings import load_project
from dpipe.state import open_state, runs, usage
from dpipe.state.schema import stage_usage
from hypothesis import given, settings
from hypothesis import strategies as st
from support import make_project, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from dpipe.settings import Project

FILE = Path(__file__).parent.parent / "configs/prices.yaml"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
# List prices by hand: m7i.large, gp3, S3.
VM_HOUR, VCPUS, EBS, S3, WRITES, READS = 0.1008, 2, 0.08, 0.023, 0.005, 0.0004


@pytest.fixture(scope="module")
def file() -> PriceFile:
    return read(FILE)


def row(**values: Any) -> dict[str, Any]:
    """What a stage used: nothing, but for these."""
    empty = dict.fromkeys(column.name for column in stage_usage.columns)
    counted = {"run_id": "r", "command": "run", "stage": "process", "dataset": "orders", "started_at": NOON}
    return (
        empty
        | counted
        | {"seconds": 1.0, "cpu_seconds": 0.0, "s3_writes": 0, "s3_reads": 0, "overlapped": False}
        | values
    )


def priced(file: PriceFile, *rows: dict[str, Any], in_s3: frozenset[str] = frozenset()) -> list[ledger.Entry]:
    return ledger.priced(rows, file, in_s3=in_s3)


def edited(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The price file's document, changed."""
    document: dict[str, Any] = yaml.safe_load(FILE.read_text())
    change(document)
    return document


def written(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "prices.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Orders that a command ingested and another one processed."""
    project = make_project(tmp_path_factory.mktemp("cost"), settings={"max_rejected_share": 1})
    path = project.root / "a.csv"
    path.write_text("order_id,day,amount\n1,2026-01-01,5\n2,2026-01-01,-1\n")
    for arguments in (("ingest", "orders", str(path)), ("process",)):
        done = run_dpipe(project, *arguments)
        assert done.returncode == 0, done.stderr
    return project


# What is written down


def test_a_run_writes_down_what_its_stages_and_the_rest_of_it_used(project: Project) -> None:
    rows = usage.listed(project)
    assert [(one["command"], one["stage"], one["dataset"]) for one in rows] == [
        ("ingest", "ingest", "orders"),
        ("ingest", "rest", None),
        ("process", "process", "orders"),
        ("process", "rest", None),
    ]
    ingest, _, process, _ = rows
    size = (project.root / "a.csv").stat().st_size
    assert (ingest["bytes_read"], ingest["bytes_written"], ingest["bytes_stored"]) == (size, size, size)
    parquet = sum(path.stat().st_size for path in project.lake.glob("*/orders/data/**/*.parquet"))
    assert (process["records"], process["bytes_read"]) == (2, size)
    assert process["bytes_written"] == process["bytes_stored"] == parquet > 0


def test_processor_time_is_no_more_than_the_processors_had(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (tmp_path / "a.csv").write_text("order_id,day,amount\n1,2026-01-01,5\n")
    assert run_dpipe(project, "ingest", "orders", str(tmp_path / "a.csv")).returncode == 0
    started = time.perf_counter()
    assert run_dpipe(project, "process").returncode == 0
    most = (time.perf_counter() - started) * (os.cpu_count() or 1)
    of_process = [one for one in usage.listed(project) if one["command"] == "process"]
    assert all(one["cpu_seconds"] >= 0 for one in of_process)
    assert 0 < sum(one["cpu_seconds"] for one in of_process) <= most


def test_bytes_that_went_through_the_system_are_counted_where_it_counts_them(project: Project) -> None:
    if not Path("/proc/self/io").exists():
        pytest.skip("this system doesn't count them")
    ingest = usage.listed(project)[0]
    assert ingest["bytes_scanned"] >= ingest["bytes_read"]


def test_what_a_stage_used_that_failed_is_in_the_rest_of_its_run(tmp_path: Path) -> None:
    project = make_project(tmp_path, contracts={})

    def fail() -> None:
        with runs.recorded(project, "process"):
            used = time.process_time()
            while time.process_time() < used + 0.05:
                pass
            raise DataError("3 rows broke a rule")

    with pytest.raises(DataError):
        fail()
    (rest,) = usage.listed(project)
    assert rest["stage"] == usage.REST
    assert rest["cpu_seconds"] >= 0.05


def test_stages_that_ran_beside_another_run_are_marked(tmp_path: Path) -> None:
    project = make_project(tmp_path, contracts={})
    now = datetime.now(UTC)
    with runs.recorded(project, "worker") as first:
        runs.add_stage(first, "process", started_at=now, seconds=0)
        with runs.recorded(project, "worker") as second:
            runs.add_stage(second, "transform", started_at=now, seconds=0)
        runs.add_stage(first, "process", started_at=now, seconds=0)
    marked = {
        one["stage"]: one["overlapped"] for one in usage.listed(project) if one["run_id"] == second.run_id
    }
    assert marked == {"transform": True, "rest": True}
    assert [one["overlapped"] for one in usage.listed(project) if one["run_id"] == first.run_id] == [
        False,
        True,
        False,
    ]


def test_a_state_database_of_before_goes_on(tmp_path: Path) -> None:
    project = make_project(tmp_path, contracts={})
    stage_usage.drop(open_state(project))
    with runs.recorded(project, "ingest"):
        pass
    assert [one["stage"] for one in usage.listed(project)] == [usage.REST]


def test_seconds_of_a_warehouse_in_a_stages_detail_are_billed(tmp_path: Path) -> None:
    project = make_project(tmp_path, contracts={})
    with runs.recorded(project, "load") as run:
        detail = {"warehouse_seconds": 600.0, "warehouse_size": "X-Small", "statements": 3}
        runs.add_stage(run, "load", dataset="orders", started_at=NOON, seconds=601, detail=detail)
    found = ledger.bill(project, read(FILE), by="stage")
    # 600 s and a minute until it suspends, at one credit an hour and 2 a credit.
    assert found.total.cost.warehouse == pytest.approx(660 / 3600 * 1 * 2)
    assert found.total.amounts.credits == pytest.approx(660 / 3600)


# What it costs


def test_processor_seconds_are_paid_at_the_machines_price(file: PriceFile) -> None:
    (entry,) = priced(file, row(cpu_seconds=3600))
    # An hour of one of two processors, which are busy half of the time.
    assert entry.cost.compute == pytest.approx(VM_HOUR / VCPUS / 0.5)
    assert entry.cost.total == entry.cost.compute


@pytest.mark.parametrize(("in_s3", "a_gb"), [(frozenset(), EBS), (frozenset({"process"}), S3)])
def test_what_stays_is_paid_for_a_month(file: PriceFile, in_s3: frozenset[str], a_gb: float) -> None:
    (entry,) = priced(file, row(bytes_stored=5 * 2**30, bytes_written=9 * 2**30), in_s3=in_s3)
    assert entry.cost.total == entry.cost.storage == pytest.approx(5 * a_gb)


def test_requests_are_paid_by_the_thousand(file: PriceFile) -> None:
    (entry,) = priced(file, row(s3_writes=3_000, s3_reads=50_000))
    assert entry.cost.total == entry.cost.requests == pytest.approx(3 * WRITES + 50 * READS)


@pytest.mark.parametrize(
    ("uses", "suspends_after", "expected"),
    [
        ([(0, 10)], 0, [60]),  # a minute at least
        ([(0, 10)], 60, [70]),  # until it suspends
        ([(0, 90)], 0, [90]),  # by the second
        ([(0, 10), (30, 10)], 0, [30, 30]),  # both within one minute
        ([(0, 10), (100, 10)], 0, [60, 60]),  # it had suspended
        ([(0, 10), (100, 10)], 120, [100, 130]),  # it hadn't
        ([(0, 100), (50, 10)], 0, [50, 50]),  # at the same time
        ([(100, 10), (0, 10)], 0, [60, 60]),  # in no order
        ([(0, 0), (0, 5)], 0, [0, 60]),  # nothing to bill
    ],
)
def test_a_warehouse_is_billed_while_it_runs(
    uses: list[tuple[float, float]], suspends_after: float, expected: list[float]
) -> None:
    given = [Use("xsmall", NOON + timedelta(seconds=begin), seconds) for begin, seconds in uses]
    assert billed(given, suspends_after) == expected


def test_warehouses_of_two_sizes_are_two_warehouses() -> None:
    assert billed([Use("xsmall", NOON, 10), Use("large", NOON, 10)], 0) == [60, 60]


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("X-Small", "xsmall"),
        ("XSMALL", "xsmall"),
        ("Medium", "medium"),
        ("2X-Large", "2xlarge"),
        ("XXLARGE", "2xlarge"),
        ("XXXLARGE", "3xlarge"),
        ("X4LARGE", "4xlarge"),
        ("XLARGE", "xlarge"),
    ],
)
def test_a_warehouses_size_has_many_spellings(name: str, listed: str) -> None:
    assert warehouse_size(name) == listed


def test_a_warehouse_without_a_price_is_named(file: PriceFile) -> None:
    with pytest.raises(ConfigError, match="`6X-Large`, without a listed price") as caught:
        priced(file, row(warehouse_seconds=1.0, warehouse_size="6X-Large"))
    assert "add `6xlarge`" in str(caught.value.hint)


# Put together

ROWS = st.lists(
    st.builds(
        row,
        run_id=st.sampled_from(["a", "b", "c"]),
        stage=st.sampled_from(["ingest", "process", "validate", "rest", "load"]),
        dataset=st.sampled_from([None, "orders", "customers"]),
        started_at=st.integers(0, 3 * 86_400).map(lambda seconds: NOON + timedelta(seconds=seconds)),
        cpu_seconds=st.floats(0, 1e5),
        records=st.none() | st.integers(0, 10**9),
        bytes_read=st.none() | st.integers(0, 10**12),
        bytes_stored=st.none() | st.integers(0, 10**12),
        s3_writes=st.integers(0, 10**6),
        s3_reads=st.integers(0, 10**6),
        warehouse_seconds=st.none() | st.floats(0, 1e4),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_the_groups_add_up_to_the_total_whichever_they_are(rows: list[dict[str, Any]]) -> None:
    file = read_once()
    total = sum(entry.cost.total for entry in priced(file, *rows))
    cpu = sum(one["cpu_seconds"] for one in rows)
    for by in ("dataset", "stage", "day", "run"):
        found = ledger.together(rows, file, by=by, times=(1, 10), in_s3=frozenset())
        assert math.isclose(sum(group.cost.total for group in found.groups), total, rel_tol=1e-9)
        assert math.isclose(found.total.cost.total, total, rel_tol=1e-9)
        assert math.isclose(sum(group.amounts.cpu_seconds for group in found.groups), cpu, rel_tol=1e-9)
        at_ten = sum(group.projected[10].total for group in found.groups)
        assert math.isclose(at_ten, found.total.projected[10].total, rel_tol=1e-9)
        assert math.isclose(found.total.projected[1].total, total, rel_tol=1e-9)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, fewer=st.integers(1, 1000), more=st.integers(1, 1000))
def test_more_records_never_cost_less(rows: list[dict[str, Any]], fewer: int, more: int) -> None:
    fewer, more = sorted((fewer, more))
    found = ledger.together(rows, read_once(), by="stage", times=(fewer, more), in_s3=frozenset())
    low, high = found.total.projected[fewer], found.total.projected[more]
    for part, amount in low.to_dict().items():
        assert amount <= high.to_dict()[part] * (1 + 1e-12)
    assert high.total <= found.total.cost.total * more * (1 + 1e-9) + 1e-12


_read: list[PriceFile] = []


def read_once() -> PriceFile:
    """Hypothesis has no fixtures that last for a test's examples."""
    if not _read:
        _read.append(read(FILE))
    return _read[0]


def test_what_is_about_no_dataset_is_divided_by_bytes(file: PriceFile) -> None:
    rows = [
        row(dataset="orders", bytes_read=300, cpu_seconds=1.0),
        row(dataset="customers", bytes_read=100, cpu_seconds=2.0),
        row(dataset=None, stage="validate", cpu_seconds=8.0),
        row(dataset=None, stage="transform", cpu_seconds=4.0, run_id="another"),
    ]
    found = ledger.together(rows, file, by="dataset", times=(), in_s3=frozenset())
    used = {group.name: group.amounts.cpu_seconds for group in found.groups}
    assert used == {"orders": 1 + 6 + 3, "customers": 2 + 2 + 1}
    assert any("divided by the bytes" in note for note in found.notes)


def test_what_is_fixed_of_a_run_doesnt_grow(file: PriceFile) -> None:
    fixed = file.ledger.fixed_cpu_seconds["transform"].value
    rows = [
        row(stage="rest", cpu_seconds=file.ledger.fixed_cpu_seconds["rest"].value),
        row(stage="load", cpu_seconds=1.0),
        row(stage="transform", cpu_seconds=fixed),  # twice in a run, which takes it once
        row(stage="transform", cpu_seconds=2.0),
    ]
    found = ledger.together(rows, file, by="stage", times=(100,), in_s3=frozenset())
    cost = {group.name: (group.cost.total, group.projected[100].total) for group in found.groups}
    assert cost["rest"][1] == pytest.approx(cost["rest"][0])
    assert cost["load"][1] == pytest.approx(100 * cost["load"][0])
    assert cost["transform"][1] == pytest.approx(cost["transform"][0] * (fixed + 200) / (fixed + 2))


# The file


def remove(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        inner = document
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]

    return change


def put(value: object, *keys: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        inner = document
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (remove("prices", "glue"), "`prices.glue` is missing", "add it"),
        (remove("prices", "glue", "source"), "`prices.glue.source` is missing", "add it"),
        (put(1, "prices", "gleu"), "unknown key `prices.gleu`", "ebs_storage, glue, kinesis"),
        (put(1, "workload", "per_day"), "unknown key `workload.per_day`", "records_per_day"),
        (
            put(1, "architectures", "dpipe", "cores"),
            "unknown key `architectures.dpipe.cores`",
            "billing, boot_seconds",
        ),
        (
            put(1, "prices", "vms", "m7i.large", "cpus"),
            "unknown key `prices.vms.m7i.large.cpus`",
            "as_of, note, price",
        ),
        (put(-1, "prices", "glue", "price"), "`prices.glue.price`: input should be greater", "mend"),
        (put(True, "prices", "glue", "price"), "`prices.glue.price`: input should be a valid number", "mend"),
        (
            put("0.44", "prices", "glue", "price"),
            "`prices.glue.price`: input should be a valid number",
            "mend",
        ),
        (
            put("hour", "prices", "glue", "unit"),
            "`prices.glue.unit`: input should be 'DPU-hour', not",
            "mend",
        ),
        (put("AWS", "prices", "glue", "source"), "`prices.glue.source`: string should match", "mend"),
        (put("May", "prices", "glue", "as_of"), "`prices.glue.as_of`: input should be a valid date", "mend"),
        (put("guess", "workload", "table_months", "basis"), "`workload.table_months.basis`", "mend"),
        (put(0, "workload", "runs_per_day", "value"), "should be greater than or equal to", "mend"),
        (put(1.5, "ledger", "utilisation", "value"), "should be less than or equal to 1", "mend"),
        (put("euro", "currency"), "`currency`: string should match", "mend"),
        (put("m9.huge", "ledger", "vm"), "`ledger.vm`: no price of `m9.huge` is listed", "m7i.large"),
        (put("9xlarge", "architectures", "snowpipe", "size"), "no price of `9xlarge`", "xsmall, small"),
        (put("lambda", "architectures", "glue", "kind"), "`architectures.glue`: input tag 'lambda'", "mend"),
        (put(1, "prices", "vms", "m7i.large"), "`prices.vms.m7i.large` is not a mapping", "write its keys"),
        (put({}, "architectures"), "`architectures`: dictionary should have at least 1 item", "mend"),
    ],
)
def test_what_is_wrong_with_a_price_file_is_told_with_its_place(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str, hint: str
) -> None:
    path = written(tmp_path, edited(change))
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert message in caught.value.message
    assert hint in str(caught.value.hint)
    place = caught.value.message.removeprefix(f"{path}:").partition(":")[0]
    assert 1 <= int(place) <= len(path.read_text().splitlines())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("currency: [", "not YAML"),
        ("a: &x 1\nb: *x\n", "alias"),
        ("currency: USD\ncurrency: EUR\n", "is there twice"),
        ("#" * (1 << 20) + "\n#", "larger than"),
        ("", "is empty"),
    ],
)
def test_a_file_that_is_no_price_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read(path)


def test_every_price_names_its_source_and_day(file: PriceFile) -> None:
    from dpipe.cost.report import prices_listed

    listed = prices_listed(file)
    assert len(listed) > 15
    assert all(one["source"].startswith("https://") and one["as_of"].year >= 2025 for one in listed)


# The commands


def test_a_project_without_prices_has_those_that_come_with_dpipe(project: Project) -> None:
    assert not (project.root / "configs/prices.yaml").exists()
    done = run_dpipe(project, "cost", "--json")
    assert json.loads(done.stdout)["currency"] == "USD"


def test_the_answer_for_machines_stays_as_it_is(project: Project) -> None:
    first, second = (run_dpipe(project, "cost", "--by", "dataset", "--json") for _ in range(2))
    assert first.stdout == second.stdout
    document = json.loads(first.stdout)
    assert list(document) == [
        "by",
        "since",
        "currency",
        "groups",
        "total",
        "notes",
        "assumptions",
        "prices",
    ]
    (group,) = document["groups"]
    assert list(group) == ["name", "used", "cost", "projected"]
    assert list(group["used"]) == [
        "seconds",
        "cpu_seconds",
        "records",
        "bytes_read",
        "bytes_written",
        "bytes_stored",
        "bytes_scanned",
        "s3_writes",
        "s3_reads",
        "warehouse_seconds",
        "credits",
    ]
    assert list(group["cost"]) == ["compute", "storage", "requests", "warehouse", "total"]
    assert [one["times"] for one in group["projected"]] == [10, 100]
    assert {"key", "value", "basis", "note"} == set(document["assumptions"][0])
    assert {"key", "price", "unit", "source", "as_of", "unverified"} <= set(document["prices"][0])


def test_cost_shows_what_its_money_rests_on(project: Project, tmp_path: Path) -> None:
    chart = tmp_path / "chart.svg"
    done = run_dpipe(project, "cost", "--svg", str(chart))
    assert done.returncode == 0, done.stderr
    for said in ("process", "rest", "at 100x", "ledger.utilisation", "assumed", "prices.ebs_storage"):
        assert said in done.stdout
    assert "m7i.2xlarge" not in done.stdout  # nothing is paid at its price
    assert chart.read_text().startswith("<svg")


def test_cost_of_a_time_in_which_nothing_ran(project: Project) -> None:
    done = run_dpipe(project, "cost", "--since", "2999-01-01")
    assert done.stdout == "no run has been written down since then yet\n"


@pytest.mark.parametrize("times", ["ten", "0", "10,,5", "1.5", "99999999999"])
def test_a_projection_that_is_no_number_is_refused(project: Project, times: str) -> None:
    done = run_dpipe(project, "cost", "--project-at", times)
    assert (done.returncode, done.stdout) == (2, "")
    assert "e.g. `10,100`" in done.stderr


def test_costs_change_with_the_projects_own_file(project: Project, tmp_path: Path) -> None:
    def total(*arguments: str) -> float:
        done = run_dpipe(project, "cost", "--json", *arguments)
        return float(json.loads(done.stdout)["total"]["cost"]["compute"])

    path = written(tmp_path, edited(put(0.25, "ledger", "utilisation", "value")))
    assert total("--prices", str(path)) == pytest.approx(2 * total())


def test_a_projects_costs_are_read_from_its_own_folder(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (tmp_path / "configs/prices.yaml").write_text("currency: EUR\n")
    done = run_dpipe(project, "cost")
    assert done.returncode == 2
    assert f"{load_project(tmp_path).root}/configs/prices.yaml" in done.stderr
    assert "hint: add it" in done.stderr
