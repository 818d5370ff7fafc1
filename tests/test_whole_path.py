"""`dpipe run` on the real data, from the files to the published marts, as the command line does it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dpipe.cost.ledger import bill
from dpipe.cost.price_file import prices
from dpipe.settings import Project, load_project
from dpipe.state import usage

ROOT = Path(__file__).parent.parent
RECORDS = {"airlines": 16, "airports": 1_458, "planes": 3_322, "weather": 26_115, "flights": 336_776}
STARTING = 10  # seconds for what comes before the run, at most


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The flights project with the real files, untouched by any command yet."""
    folder = tmp_path_factory.mktemp("whole_path")
    for name in ("configs", "transform", "checks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("target", "logs"))
    (folder / "data").symlink_to(ROOT / "data")
    return load_project(folder)


def run(project: Project) -> dict[str, Any]:
    # Started from nothing, unlike by `support.run_dpipe`.
    command = [sys.executable, "-m", "dpipe", "-q", "--project", str(project.root), "run", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.fixture(scope="module")
def report(project: Project) -> dict[str, Any]:
    return run(project)


def published(project: Project, sql: str) -> tuple[Any, ...]:
    with duckdb.connect(str(project.marts), read_only=True) as connection:
        row = connection.execute(sql).fetchone()
    assert row is not None
    return row


def test_the_report_accounts_for_every_record(report: dict[str, Any]) -> None:
    datasets = {done["dataset"]: done for done in report["datasets"]}
    assert {name: done["records_in"] for name, done in datasets.items()} == RECORDS
    for done in datasets.values():
        assert done["accepted"] == done["records_in"]
        assert done["rejected"] == done["duplicate"] == 0
        assert isinstance(done["snapshot_id"], int)


def test_the_report_times_every_stage(report: dict[str, Any]) -> None:
    stages = {"ingest", "process", "validate", "transform", "publish", "total"}
    assert set(report["seconds"]) == stages
    assert all(seconds > 0 for seconds in report["seconds"].values())


def test_the_published_marts_hold_the_known_figures(project: Project, report: dict[str, Any]) -> None:
    assert report["published"]["path"] == str(project.marts)
    figures = """
        select count(*), round(avg(departure_delay_minutes) filter (is_departed), 3),
               count(*) filter (not is_departed)
        from marts.fct_flights
    """
    assert published(project, figures) == (336_776, 12.639, 8_255)


def test_the_ledger_has_what_every_stage_used(project: Project, report: dict[str, Any]) -> None:
    rows = usage.listed(project)
    assert {row["stage"] for row in rows} == {*report["seconds"], "rest"} - {"total"}
    used = {row["stage"]: row for row in rows}
    assert all(row["cpu_seconds"] > 0 for row in rows)
    # dbt is a process of its own, whose time counts too.
    assert used["transform"]["cpu_seconds"] > used["publish"]["cpu_seconds"]
    assert used["publish"]["bytes_stored"] == report["published"]["bytes"] == project.marts.stat().st_size
    landed = sum(path.stat().st_size for path in (ROOT / "data").iterdir())
    assert sum(row["bytes_read"] for row in rows if row["stage"] == "process") == landed
    cores = os.cpu_count() or 1
    assert sum(row["cpu_seconds"] for row in rows) < (report["seconds"]["total"] + STARTING) * cores
    found = bill(project, prices(project), by="dataset", times=(10,))
    assert {group.name for group in found.groups} == RECORDS.keys()
    assert found.total.cost.total < found.total.projected[10].total < 10 * found.total.cost.total


def test_a_second_run_adds_nothing(project: Project, report: dict[str, Any]) -> None:
    again = run(project)
    assert all(done["batches"] == done["records_in"] == 0 for done in again["datasets"])
    assert not again["transformed"]["changed"]
    assert not again["published"]["changed"]
    assert again["published"]["candidate_id"] == report["published"]["candidate_id"]
    assert published(project, "select count(*) from marts.fct_flights") == (336_776,)
