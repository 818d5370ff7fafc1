"""`dpipe cost compare`: its arithmetic, held against the same done by hand, and that every assumption counts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from dpipe.cost.architectures import Comparison, compare, estimate, with_bench
from dpipe.cost.model import PriceFile
from dpipe.cost.report import assumptions, comparison_document
from dpipe.errors import UsageError
from hypothesis import given, settings
from hypothesis import strategies as st
from support import make_project, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpipe.settings import Project

FILE = Path(__file__).parent.parent / "configs/prices.yaml"
DAYS, HOURS, GIB, TIB = 365 / 12, 730, 2**30, 2**40
RECORDS = 2e9


def document() -> dict[str, Any]:
    """The price file with round numbers, so that they can be followed on paper."""
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    prices = found["prices"]
    for name, price in (
        ("ebs_storage", 0.1),
        ("s3_storage", 0.02),
        ("s3_writes", 0.005),
        ("s3_reads", 0.0005),
        ("kinesis_shard", 0.015),
        ("kinesis_put_units", 0.014),
        ("glue", 0.5),
        ("snowflake_storage", 25),
        ("snowpipe", 0.004),
    ):
        prices[name]["price"] = price
    prices["vms"]["m7i.large"] |= {"price": 0.1, "vcpus": 2}
    prices["snowflake_credit"]["standard"]["price"] = 2
    prices["snowflake_warehouses"]["xsmall"]["price"] = 1
    found["ledger"]["auto_suspend_seconds"]["value"] = 60
    values: dict[str, dict[str, float]] = {
        "workload": {
            "bytes_per_record": 200,
            "landed_bytes_ratio": 0.5,
            "table_bytes_per_record": 20,
            "runs_per_day": 10,
            "landed_months": 3,
            "table_months": 12,
            "streamed_share": 0,
            "records_per_put_unit": 100,
            "peak_to_mean": 2,
        },
        "rest_of_path": {
            "fixed_cpu_seconds_per_run": 20,
            "cpu_seconds_per_million_records": 10,
            "s3_writes_per_run": 50,
            "s3_reads_per_run": 100,
        },
    }
    for section, of_section in values.items():
        for name, value in of_section.items():
            found[section][name]["value"] = value
    for one in found["architectures"].values():
        if one["kind"] == "vm":
            rate = 1_000_000 if one["engine"] == "dpipe" else 50_000
            one["records_per_second_per_core"]["value"] = rate
            one["utilisation"]["value"] = 0.5
            one["boot_seconds"]["value"] = 60
            one["disk_gb"]["value"] = 100
    glue = found["architectures"]["glue"]
    for name, value in (
        ("dpus", 2),
        ("records_per_second_per_dpu", 100_000),
        ("startup_seconds", 40),
        ("s3_writes_per_run", 100),
        ("s3_reads_per_run", 400),
    ):
        glue[name]["value"] = value
    snowpipe = found["architectures"]["snowpipe"]
    for name, value in (
        ("records_per_second", 500_000),
        ("fixed_seconds_per_run", 30),
        ("raw_bytes_ratio", 0.25),
        ("s3_writes_per_run", 20),
        ("s3_reads_per_run", 0),
    ):
        snowpipe[name]["value"] = value
    return found


def parsed(found: dict[str, Any]) -> PriceFile:
    # The day is a text in the file.
    return PriceFile.model_validate(found)


@pytest.fixture(scope="module")
def file() -> PriceFile:
    return parsed(document())


LANDED = RECORDS * DAYS * 200 * 0.5 * 3 / GIB * 0.02
LAKE = LANDED + RECORDS * DAYS * 20 * 12 / GIB * 0.02


def test_machines_that_are_always_on_are_as_many_as_the_work_takes(file: PriceFile) -> None:
    found = estimate(file, "python_workers", RECORDS)
    # 40,000 s of checking, 10 runs of 20 s, 2,000 million records at 10 s; two processors at half their time.
    cpu = RECORDS / 50_000 + 10 * 20 + 2_000 * 10
    assert cpu == 60_200
    assert found.machines == math.ceil(60_200 / 86_400) == 1
    assert found.cost.compute == pytest.approx(HOURS * 0.1)
    assert estimate(file, "python_workers", 3 * RECORDS).machines == 3  # of 180,200 s, 86,400 a machine
    assert estimate(file, "python_workers", 3 * RECORDS).cost.compute == pytest.approx(3 * HOURS * 0.1)
    assert estimate(file, "dpipe", 3 * RECORDS).machines == 1  # of 66,200 s
    assert found.cost.storage == pytest.approx(LAKE + 100 * 0.1)
    assert found.cost.requests == pytest.approx(10 * DAYS * (50 * 0.005 + 100 * 0.0005) / 1000)
    assert found.checking_cpu_seconds == pytest.approx(40_000 * DAYS)


def test_machines_that_are_started_for_a_run_are_paid_by_the_second(file: PriceFile) -> None:
    found = estimate(file, "dpipe_by_run", RECORDS)
    cpu = 2_000 + 200 + 20_000
    assert found.cost.compute == pytest.approx((10 * 60 + cpu) / 3600 * DAYS * 0.1)
    assert found.busy_hours == pytest.approx(cpu / 3600 * DAYS)


def test_glue_is_paid_by_dpu_seconds_a_minute_at_least(file: PriceFile) -> None:
    found = estimate(file, "glue", RECORDS)
    # 10,000 s of two DPUs, and 40 s of start-up a run.
    assert found.cost.compute == pytest.approx((10 * 40 + 10_000) / 3600 * 2 * 0.5 * DAYS)
    assert found.cost.storage == pytest.approx(LAKE)
    assert estimate(file, "glue", 1).cost.compute == pytest.approx(10 * 60 / 3600 * 2 * 0.5 * DAYS)


def test_snowpipe_is_paid_by_bytes_and_the_warehouse_until_it_suspends(file: PriceFile) -> None:
    found = estimate(file, "snowpipe", RECORDS)
    # 4,000 s of work, 30 s of statements and 60 s of waiting a run; a credit an hour.
    assert found.cost.compute == pytest.approx((4_000 + 10 * (30 + 60)) / 3600 * 2 * DAYS)
    assert found.cost.loading == pytest.approx(RECORDS * DAYS * 200 / GIB * 0.004 * 2)
    kept = RECORDS * DAYS * (200 * 0.25 + 20) * 12 / TIB * 25
    assert found.cost.storage == pytest.approx(LANDED + kept)


def test_a_warehouse_that_never_suspends_runs_all_day_and_no_longer(file: PriceFile) -> None:
    often = document()
    often["workload"]["runs_per_day"]["value"] = 960  # every 90 s, of which it works 30
    found = estimate(parsed(often), "snowpipe", 1)
    assert found.busy_hours == pytest.approx(24 * DAYS)


def test_what_streams_is_paid_by_shards_and_units(file: PriceFile) -> None:
    streamed = document()
    streamed["workload"]["streamed_share"]["value"] = 0.5
    found = estimate(parsed(streamed), "dpipe", 864e6)
    # 5,000 records/s in the mean, 10,000 at most, of 200 bytes: 2 MB/s, two shards.
    assert found.cost.stream == pytest.approx(2 * HOURS * 0.015 + 432e6 / 100 * DAYS / 1e6 * 0.014)
    assert estimate(file, "dpipe", 864e6).cost.stream == 0


def test_what_the_kernel_saves_is_the_time_of_checking(file: PriceFile) -> None:
    savings = {(one.of, one.beside): one for one in compare(file, RECORDS).savings}
    assert set(savings) == {("dpipe", "python_workers"), ("dpipe_by_run", "python_by_run")}
    by_run = savings["dpipe_by_run", "python_by_run"]
    assert by_run.cpu_seconds == pytest.approx((40_000 - 2_000) * DAYS)
    # Two processors at half their time are one second of the machine.
    assert by_run.worth == pytest.approx((40_000 - 2_000) * DAYS / 3600 * 0.1)
    assert by_run.bill == pytest.approx(by_run.worth)
    assert savings["dpipe", "python_workers"].bill == 0  # one machine does either


@settings(max_examples=40, deadline=None)
@given(fewer=st.floats(1, 1e12), more=st.floats(1, 1e12))
def test_no_architecture_gets_cheaper_with_more_records(fewer: float, more: float) -> None:
    file = READ
    low, high = (compare(file, records) for records in sorted((fewer, more)))
    for one, other in zip(low.estimates, high.estimates, strict=True):
        assert one.cost.total <= other.cost.total * (1 + 1e-9)
        assert one.cost.total == pytest.approx(sum(vars(one.cost).values()))


READ = parsed(document())


def figures(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Every number that `compare` rests on, as its name and the place that it is in."""
    for section in ("workload", "rest_of_path"):
        for name, figure in found[section].items():
            yield f"{section}.{name}", figure, "value"
    for architecture, one in found["architectures"].items():
        for name, figure in one.items():
            if isinstance(figure, dict):
                yield f"architectures.{architecture}.{name}", figure, "value"
    for name, price in found["prices"].items():
        if "price" in price:
            yield f"prices.{name}", price, "price"
    yield "prices.vms", found["prices"]["vms"]["m7i.large"], "price"
    yield "prices.vcpus", found["prices"]["vms"]["m7i.large"], "vcpus"
    yield "prices.snowflake_credit", found["prices"]["snowflake_credit"]["standard"], "price"
    yield "prices.snowflake_warehouses", found["prices"]["snowflake_warehouses"]["xsmall"], "price"
    yield "ledger.auto_suspend_seconds", found["ledger"]["auto_suspend_seconds"], "value"


def busy() -> dict[str, Any]:
    """A workload at which everything counts."""
    found = document()
    found["workload"]["records_per_day"]["value"] = 1e10
    found["workload"]["streamed_share"]["value"] = 0.25
    found["architectures"]["snowpipe"]["s3_reads_per_run"]["value"] = 10
    return found


# A machine that is always on is not started for a run.
WITHOUT_EFFECT = {"architectures.dpipe.boot_seconds", "architectures.python_workers.boot_seconds"}


@pytest.mark.parametrize("name", [name for name, _, _ in figures(busy())])
def test_every_assumption_changes_the_outcome(name: str) -> None:
    found = busy()
    before = totals(compare(parsed(found)))
    place, key = next((place, key) for one, place, key in figures(found) if one == name)
    place[key] = max(1, round(place[key] * 3)) if key == "vcpus" else place[key] * 0.03
    after = totals(compare(parsed(found)))
    assert (after == before) == (name in WITHOUT_EFFECT)


def totals(found: Comparison) -> list[float]:
    return [one.cost.total for one in found.estimates]


def test_every_assumption_is_told(file: PriceFile) -> None:
    told = {one["key"]: one["value"] for one in comparison_document(compare(file), file)["assumptions"]}
    for name, place, key in figures(document()):
        if name.partition(".")[0] in {"workload", "rest_of_path", "architectures"}:
            assert told[name] == place[key]
    assert {one["basis"] for one in assumptions(file.architectures, "a")} == {"given", "measured", "assumed"}


def test_nothing_about_glue_or_snowflake_claims_to_be_measured() -> None:
    found = yaml.safe_load(FILE.read_text())["architectures"]
    for name in ("glue", "snowpipe"):
        bases = {figure["basis"] for figure in found[name].values() if isinstance(figure, dict)}
        assert bases <= {"given", "assumed"}


# With rates of one's own


def bench(**rates: float) -> dict[str, Any]:
    """What `dpipe bench kernel --json` prints, as far as it is read; each engine had two cores."""
    return {
        "bench": "kernel",
        "input": {"records": 1000},
        "machine": {"cpu": "A processor"},
        "engines": [
            {
                "engine": name,
                "records_per_second": 2 * rate,
                "megabytes_per_second": 8.0,
                "megabytes_per_second_per_core": 4.0,
            }
            for name, rate in rates.items()
        ],
    }


def test_rates_that_were_measured_here_replace_those_of_the_file(file: PriceFile) -> None:
    found = with_bench(file, bench(dpipe=2_000_000, pure_python=40_000))
    rates = {
        name: one.records_per_second_per_core for name, one in found.architectures.items() if one.kind == "vm"
    }
    assert {name: rate.value for name, rate in rates.items()} == {
        "dpipe": 2_000_000,
        "dpipe_by_run": 2_000_000,
        "python_workers": 40_000,
        "python_by_run": 40_000,
    }
    assert {rate.basis for rate in rates.values()} == {"measured"}
    assert "A processor" in str(rates["dpipe"].note)


@pytest.mark.parametrize("report", [{}, [], {"engines": [{}]}, {"engines": 5}, 7, None, bench(dpipe=0)])
def test_another_document_than_that_of_bench_is_refused(file: PriceFile, report: Any) -> None:
    with pytest.raises(UsageError, match="isn't what `dpipe bench kernel` prints"):
        with_bench(file, report)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("compare"), contracts={})


def test_compare_takes_records_and_measurements_and_draws(project: Project, tmp_path: Path) -> None:
    measured = tmp_path / "bench.json"
    measured.write_text(json.dumps(bench(dpipe=3_000_000, pure_python=30_000)))
    bars, lines = tmp_path / "bars.svg", tmp_path / "lines.svg"
    options = ["--records-per-day", "1e9", "--bench", str(measured), "--svg", str(bars)]
    done = run_dpipe(project, "cost", "compare", *options, "--growth-svg", str(lines), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == [
        "records_per_day",
        "currency",
        "architectures",
        "savings",
        "growth",
        "assumptions",
        "prices",
    ]
    assert found["records_per_day"] == 1e9
    told = {one["key"]: one["value"] for one in found["assumptions"]}
    assert told["architectures.dpipe.records_per_second_per_core"] == 3_000_000
    for chart in (bars, lines):
        assert all(one["title"] in chart.read_text() for one in found["architectures"])


def test_compare_says_which_rates_are_assumed(project: Project) -> None:
    done = run_dpipe(project, "cost", "compare")
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "Glue Spark" in line)
    assert "assumed" in line
    assert "processor hours a month less" in done.stdout
    assert "architectures.snowpipe.records_per_second" in done.stdout


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000])
def test_measurements_that_are_no_json_are_refused(project: Project, tmp_path: Path, content: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(content)
    done = run_dpipe(project, "cost", "compare", "--bench", str(path))
    assert done.returncode == 2
    assert "dpipe bench kernel --json" in done.stderr


# The page


PAGE = FILE.parent.parent / "docs/cost-analysis.md"


def test_the_page_shows_what_the_command_says(project: Project, tmp_path: Path) -> None:
    bars, lines = tmp_path / "bars.svg", tmp_path / "lines.svg"
    done = run_dpipe(
        project, "cost", "compare", "--prices", str(FILE), "--svg", str(bars), "--growth-svg", str(lines)
    )
    page = PAGE.read_text()
    said = [line.rstrip() for line in done.stdout.splitlines() if line.strip()]
    shown = said[: next(at for at, line in enumerate(said) if "assumption" in line)]
    assert len(shown) == 3 + 6 + 2
    assert "\n".join(shown) in page, "make the page anew: its table, its charts and what follows from them"
    for made, name in ((bars, "cost-architectures.svg"), (lines, "cost-growth.svg")):
        assert made.read_text() == (PAGE.parent / "images" / name).read_text(), name


def test_the_pages_other_figures_follow_from_the_file() -> None:
    rows = [
        [cell.strip().replace(",", "") for cell in line.strip("|").split("|")]
        for line in PAGE.read_text().splitlines()
        if line.startswith("| ")
    ]
    file = PriceFile.model_validate(yaml.safe_load(FILE.read_text()))
    volumes = {"1 million": 1e6, "100 million": 1e8, "1 billion": 1e9, "10 billion": 1e10}
    saved = {row[0]: row[1:] for row in rows if row[0] in volumes}
    assert saved.keys() == volumes.keys()
    for name, records in volumes.items():
        saving = compare(file, records).savings[0]
        assert saved[name] == [f"{saving.cpu_seconds / 3600:.1f}", f"{saving.worth:.2f}"]

    changes: dict[str, dict[tuple[str, ...], float]] = {
        "as it comes": {},
        "`landed_bytes_ratio` 0.15: clients compress what they send": {
            ("workload", "landed_bytes_ratio"): 0.15
        },
        "`runs_per_day` 288: every 5 minutes": {("workload", "runs_per_day"): 288},
        "`runs_per_day` 1440: every minute": {("workload", "runs_per_day"): 1440},
        "`table_months` 60: rows are kept for five years": {("workload", "table_months"): 60},
        "Glue and the warehouse at a quarter of their rates": {
            ("architectures", "glue", "records_per_second_per_dpu"): 25_000,
            ("architectures", "snowpipe", "records_per_second"): 125_000,
        },
    }
    told = {row[0]: row[1:] for row in rows if row[0] in changes}
    assert told.keys() == changes.keys()
    for name, values in changes.items():
        found = yaml.safe_load(FILE.read_text())
        for place, value in values.items():
            inner = found
            for key in place:
                inner = inner[key]
            inner["value"] = value
        totals = {one.name: one.cost.total for one in compare(PriceFile.model_validate(found)).estimates}
        order = ("dpipe", "dpipe_by_run", "python_by_run", "glue", "snowpipe")
        assert told[name] == [f"{totals[one]:.2f}" for one in order]
