"""`dpipe run --follow` in a process of its own: files land as they appear, and go on to the published marts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from dpipe import landing
from dpipe.iceberg import ledger, open_catalog
from dpipe.settings import Project, load_project
from dpipe.stages.init import init
from dpipe.stages.worker.sources import SETTLED_SECONDS, Sources
from dpipe.state import runs
from support import assert_holds, make_project, rows_of, run_dpipe
from worker_process import SECONDS_TO_BUILD, Worker, under_way

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

HEADER = "order_id,day,amount\n"
# Small projects have no models, and the checks of raw take seconds: publishing is the last test's.
WITHOUT_MARTS = """
from dpipe.app import main
from dpipe.stages.worker.marts import Marts

Marts.renew = lambda *_: None
main()
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Orders whose files come into a folder."""
    made = make_project(tmp_path, settings={"sources": {"orders": "incoming/*.csv"}})
    (made.root / "incoming").mkdir()
    return made


def following(project: Project) -> AbstractContextManager[Worker]:
    return under_way(project, "run", "--follow", python=("-c", WITHOUT_MARTS))


def put(project: Project, name: str, *numbers: int) -> Path:
    path = project.root / "incoming" / name
    path.write_text(HEADER + "".join(f"{number},2013-01-01,{number}\n" for number in numbers))
    return path


def landed(running: Worker) -> int:
    """Files that it says have landed."""
    return sum(done["landed"] for done in running.rounds)


def numbers_in_raw(project: Project) -> list[int]:
    return sorted(row["order_id"] for row in rows_of(project, "raw", "orders"))


def committed(project: Project) -> set[str]:
    return ledger.batch_ids(open_catalog(project), "orders") if project.lake.exists() else set()


def test_marts_that_cant_be_built_are_said_and_stop_nothing(project: Project) -> None:
    put(project, "a.csv", 1)
    with under_way(project, "run", "--follow") as running:
        running.wait_for(lambda: "the marts are not published: " in running.said, SECONDS_TO_BUILD)
        put(project, "b.csv", 2)
        running.wait_for(lambda: len(committed(project)) == 2, SECONDS_TO_BUILD)
        assert running.stop() == 0
    assert running.rounds[0]["published"] is None


def test_files_land_as_they_appear_and_change(project: Project) -> None:
    put(project, "there-before.csv", 1)
    with following(project) as running:
        running.wait_for(lambda: len(committed(project)) == 1)
        new = put(project, "new.csv", 2)
        running.wait_for(lambda: len(committed(project)) == 2)
        time.sleep(SETTLED_SECONDS + 0.5)  # nothing lands twice
        put(project, new.name, 2, 3)
        running.wait_for(lambda: len(committed(project)) == 3)
        assert running.stop() == 0
    # Its last round is said after the commit, so that only the end has them all.
    assert (numbers_in_raw(project), landed(running)) == ([1, 2, 3], 3)
    assert "dpipe run: stopped" in running.said
    assert {run["command"] for run in runs.latest(project)} == {"run --follow"}
    stages = [stage["stage"] for stage in runs.stages(project, running.rounds[0]["run_id"])]
    assert stages[:2] == ["ingest", "process"]
    assert_holds(project)


def test_a_file_lands_once_nobody_writes_to_it_any_more(project: Project) -> None:
    with following(project) as running:
        running.ready()
        path = project.root / "incoming" / "growing.csv"
        with path.open("w") as file:
            file.write(HEADER)
            for number in range(8):
                file.write(f"{number},2013-01-01,1\n")
                file.flush()
                time.sleep(SETTLED_SECONDS / 4)
        running.wait_for(lambda: committed(project))
        assert running.stop() == 0
    assert numbers_in_raw(project) == list(range(8))
    assert len(landing.batch_ids(project, "orders")) == 1


def test_what_can_be_no_batch_holds_up_no_other_file(project: Project) -> None:
    (project.root / "incoming" / "a-empty.csv").touch()
    (project.root / "incoming" / "b-folder.csv").mkdir()
    put(project, "c.csv", 1)
    with following(project) as running:
        running.wait_for(lambda: committed(project))
        time.sleep(3)
        assert running.said.count("a-empty.csv` is empty") == 1
        assert "warning: the source of `orders` is tried again in" in running.said
        put(project, "a-empty.csv", 2)
        (project.root / "incoming" / "b-folder.csv").rmdir()
        running.wait_for(lambda: len(committed(project)) == 2)
        running.wait_for(lambda: "the source of `orders` goes on" in running.said)
        assert running.stop() == 0
    assert numbers_in_raw(project) == [1, 2]


def test_what_comes_by_the_api_is_processed_too(project: Project) -> None:
    with following(project) as running:
        running.ready()
        draft = landing.submission("orders", name="a.csv", job_id="0" * 32, source="api")
        landing.land_stream(project, draft, [f"{HEADER}7,2013-01-01,1\n".encode()])
        running.wait_for(lambda: committed(project))
        assert running.stop() == 0
    assert (numbers_in_raw(project), landed(running)) == ([7], 0)


def test_the_options_of_following_are_for_it_alone(project: Project) -> None:
    put(project, "a.csv", 1)
    for option in ("--poll", "--transform-every"):
        done = run_dpipe(project, "run", option, "1")
        assert done.returncode == 2
        assert "are for `--follow`" in done.stderr
    assert landing.batch_ids(project, "orders") == set()


def test_without_sources_it_ends_at_once(tmp_path: Path) -> None:
    done = run_dpipe(make_project(tmp_path), "run", "--follow")
    assert done.returncode == 2
    assert "the settings name no sources" in done.stderr


def test_times_of_another_machine_only_delay_a_file(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is written in the future, as it seems, lands once it has stayed as it is."""
    import os

    path = put(project, "a.csv", 1)
    ahead = time.time() + 3600
    os.utime(path, (ahead, ahead))
    sources, clock = Sources(project), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with runs.recorded(project, "run --follow") as run:
        found = []
        for _ in range(4):
            found.append(sources.land("orders", lambda: run))
            clock[0] += SETTLED_SECONDS / 2
    assert found == [0, 0, 1, 0]


@pytest.mark.long
def test_new_commits_go_on_to_checked_marts_and_their_freshness_is_recorded(tmp_path: Path) -> None:
    project = load_project(init(tmp_path / "flights").folder)
    with under_way(project, "run", "--follow", "--transform-every", "0") as running:
        running.wait_for(lambda: published(running), SECONDS_TO_BUILD)
        before = airlines(project)
        source = project.root / "data" / "airlines.csv"
        source.write_text(source.read_text() + "ZZ,Airline ZZ\n")
        running.wait_for(lambda: len(published(running)) == 2, SECONDS_TO_BUILD)
        assert running.stop() == 0
    assert airlines(project) == before + 1
    first, second = published(running)
    assert first["freshness"]["batches"] == len(project.settings.sources)
    assert second["freshness"]["batches"] == 1
    stages = runs.stages(project, second["run_id"])
    names = [stage["stage"] for stage in stages]
    assert names == ["validate", "transform", "validate", "publish", "freshness"]
    assert stages[-1]["detail"] == second["freshness"]
    checks = json_of(project, "runs", "show", second["run_id"])["checks"]
    assert {check["layer"] for check in checks} >= {"raw", "staging", "marts"}
    assert all(check["success"] or check["severity"] != "error" for check in checks)


def published(running: Worker) -> list[dict[str, Any]]:
    return [done for done in running.rounds if done["published"]]


def airlines(project: Project) -> int:
    with duckdb.connect(str(project.marts), read_only=True) as connection:
        row = connection.execute("select count(*) from marts.dim_airline").fetchone()
    assert row is not None
    return int(row[0])


def json_of(project: Project, *command: str) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(run_dpipe(project, *command, "--json").stdout)
    return found
