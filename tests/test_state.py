"""The state database: runs, results of stages and checks, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from dpipe.errors import DataError, UnavailableError, UsageError
from dpipe.state import QualityResult, open_state, quality, refused, runs
from dpipe.state.liveness import this_process
from dpipe.state.schema import runs as runs_table
from sqlalchemy import insert, select
from support import make_project

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path, contracts={})


def test_a_run_that_ends_well_has_succeeded(project: Project) -> None:
    with runs.recorded(project, "process") as run:
        assert runs.find(project, run.run_id)["status"] == "running"
    found = runs.find(project, run.run_id)
    assert (found["command"], found["status"], found["exit_code"]) == ("process", "succeeded", 0)
    assert found["finished_at"] >= found["started_at"]


def test_an_error_marks_the_run_failed_and_goes_on(project: Project) -> None:
    with pytest.raises(DataError), runs.recorded(project, "process"):
        raise DataError("3 rows broke a rule")
    (found,) = runs.latest(project)
    assert (found["status"], found["exit_code"], found["error"]) == ("failed", 1, "3 rows broke a rule")


def test_an_unforeseen_error_is_recorded_by_its_type(project: Project) -> None:
    with pytest.raises(ZeroDivisionError), runs.recorded(project, "process"):
        _ = 1 / 0
    (found,) = runs.latest(project)
    assert (found["exit_code"], found["error"]) == (2, "ZeroDivisionError: division by zero")


def test_an_interrupted_run_has_failed(project: Project) -> None:
    with pytest.raises(KeyboardInterrupt), runs.recorded(project, "process"):
        raise KeyboardInterrupt
    assert runs.latest(project)[0]["exit_code"] == 130


def test_a_run_can_fail_without_an_exception(project: Project) -> None:
    with runs.recorded(project, "run") as run:
        run.fail("a batch was refused")
    found = runs.find(project, run.run_id)
    assert (found["status"], found["exit_code"], found["error"]) == ("failed", 1, "a batch was refused")


def test_a_run_whose_process_is_gone_has_failed(project: Project) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    row = {"run_id": "gone", "command": "run", "started_at": datetime.now(UTC), "status": "running"}
    with open_state(project).begin() as connection:
        connection.execute(insert(runs_table).values(**row, **{**this_process(), "pid": gone.pid}))
    found = runs.find(project, "gone")
    assert (found["status"], found["error"]) == ("failed", "process ended without a word")


def test_a_run_whose_pid_another_process_has_now_has_failed(project: Project) -> None:
    row = {"run_id": "old", "command": "run", "started_at": datetime.now(UTC), "status": "running"}
    with open_state(project).begin() as connection:
        connection.execute(insert(runs_table).values(**row, **{**this_process(), "process_started": 1}))
    assert runs.find(project, "old")["status"] == "failed"


def test_a_run_of_another_host_is_not_judged(project: Project) -> None:
    row = {"run_id": "far", "command": "run", "started_at": datetime.now(UTC), "status": "running"}
    with open_state(project).begin() as connection:
        connection.execute(
            insert(runs_table).values(**row, **{**this_process(), "host": "elsewhere", "pid": 1})
        )
    assert runs.find(project, "far")["status"] == "running"


def test_stages_are_kept_with_their_run(project: Project) -> None:
    now = datetime.now(UTC)
    with runs.recorded(project, "process") as run:
        runs.add_stage(
            run, "process", dataset="orders", started_at=now, seconds=0.5, records_in=7, detail={"a": 1}
        )
    (stage,) = runs.stages(project, run.run_id)
    assert (stage["dataset"], stage["records_in"], stage["detail"]) == ("orders", 7, {"a": 1})
    assert stage["started_at"] == now


def test_a_run_is_found_by_the_beginning_of_its_id(project: Project) -> None:
    with runs.recorded(project, "process") as run:
        pass
    assert runs.find(project, run.run_id[:20])["run_id"] == run.run_id
    with pytest.raises(UsageError, match="no run"):
        runs.find(project, "%")


def test_results_of_checks_come_back_newest_first(project: Project) -> None:
    with runs.recorded(project, "validate") as run:
        for day in (1, 3, 2):
            checked = datetime(2026, 1, day, tzinfo=UTC)
            quality.add_results(
                run, [QualityResult("raw", "raw.orders", "row_count", day != 3, checked_at=checked)]
            )
    found = quality.history(project, layer="raw", relation="raw.orders")
    assert [row["checked_at"].day for row in found] == [3, 2, 1]
    assert [row["success"] for row in found] == [False, True, True]
    assert quality.history(project, layer="marts") == []


def test_refusals_are_remembered_until_forgotten(project: Project) -> None:
    refused.remember(project, "orders", "file-a", ["first"], {"records_in": 2})
    refused.remember(project, "orders", "file-a", ["second"], {"records_in": 2})
    (batch,) = refused.listed(project, "orders")
    assert (batch.reasons, batch.counts) == (("second",), {"records_in": 2})
    refused.forget(project, "orders")
    assert refused.listed(project) == []


def test_many_may_open_and_write_the_state_at_once(project: Project) -> None:
    def work() -> None:
        for _ in range(5):
            with runs.recorded(project, "process"):
                pass

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_state(project).connect() as connection:
        assert connection.execute(select(runs_table.c.status)).scalars().all() == ["succeeded"] * 30


def test_a_time_without_a_zone_is_refused(project: Project) -> None:
    with runs.recorded(project, "process") as run, pytest.raises(Exception, match="without a zone"):
        runs.add_stage(run, "x", started_at=datetime(2026, 1, 1), seconds=0)  # noqa: DTZ001


def test_a_database_that_can_not_be_opened_is_unavailable(tmp_path: Path) -> None:
    project = make_project(tmp_path, contracts={}, settings={"state_url": f"sqlite:///{os.devnull}/state.db"})
    with pytest.raises(UnavailableError, match="state database"):
        open_state(project)
