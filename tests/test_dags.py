"""The DAGs, loaded by the Airflow of `dags/` (its own environment) and held against dpipe's command line."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
AIRFLOW_BIN = ROOT / "dags/.venv/bin"

LIST_TASKS = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
def described(task):
    return {
        "id": task.task_id,
        "command": task.bash_command,
        "after": sorted(task.upstream_task_ids),
        "retries": task.retries,
        "backoff": task.retry_exponential_backoff,
        "callbacks": [callback.__name__ for callback in task.on_failure_callback],
    }
dags = {name: [described(task) for task in dag.topological_sort()] for name, dag in bag.dags.items()}
print("ANSWER", json.dumps({"errors": bag.import_errors, "dags": dags}))
"""

TRY_EXIT_CODES = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
task = DagBag(sys.argv[1]).dags["flights_daily"].get_task("process")
task.env["DPIPE_BIN"] = sys.argv[2]
answer = {}
for code in (0, 1, 2, 3, 127, 137):
    task.env["CODE"] = str(code)
    try:
        task.execute({})
        answer[code] = "succeeded"
    except Exception as error:
        answer[code] = type(error).__name__
print("ANSWER", json.dumps(answer))
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    """An Airflow that keeps everything below `home`."""
    return os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        **more,
    }


def ask_airflow(home: Path, program: str, *arguments: str) -> Any:
    """Run the program with Airflow's Python and return the JSON after its word ANSWER."""
    if not AIRFLOW_BIN.is_dir():
        pytest.fail("Airflow's environment is missing: `just dags-env` installs it")
    done = subprocess.run(
        [str(AIRFLOW_BIN / "python"), "-c", program, str(ROOT / "dags"), *arguments],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    answers = [
        line.removeprefix("ANSWER ") for line in done.stdout.splitlines() if line.startswith("ANSWER ")
    ]
    assert answers, done.stdout + done.stderr
    return json.loads(answers[0])


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return ask_airflow(tmp_path_factory.mktemp("airflow"), LIST_TASKS)


@pytest.fixture(scope="module")
def tasks(loaded: Any) -> list[dict[str, Any]]:
    flights: list[dict[str, Any]] = loaded["dags"]["flights_daily"]
    return flights


def test_every_dag_file_loads(loaded: Any) -> None:
    assert loaded["errors"] == {}
    assert list(loaded["dags"]) == ["flights_daily"]


def test_the_tasks_follow_the_path_of_a_record(tasks: list[dict[str, Any]]) -> None:
    names = ["ingest", "process", "validate_raw", "transform", "validate_marts", "publish"]

    assert [task["id"] for task in tasks] == names
    assert [task["after"] for task in tasks] == [[], *([name] for name in names[:-1])]


def test_every_task_is_tried_again_with_growing_pauses_and_tells_of_its_failure(
    tasks: list[dict[str, Any]],
) -> None:
    for task in tasks:
        assert (task["retries"], task["backoff"], task["callbacks"]) == (2, 2.0, ["say_where_to_look"])


def test_every_command_parses(tasks: list[dict[str, Any]]) -> None:
    from dpipe.app import app
    from typer.main import get_command

    for task in tasks:
        executable, *words = shlex.split(task["command"])
        assert executable == "$DPIPE_BIN"
        parse(get_command(app), words)


def parse(command: Any, words: list[str], parent: Any = None) -> None:
    """Let typer read the words as far down as they go; what it can't read raises, nothing is run."""
    context = command.make_context(words[0] if words else "dpipe", list(words), parent=parent)
    if hasattr(command, "commands"):
        _, child, rest = command.resolve_command(context, words)
        parse(child, rest, context)


def test_only_what_another_try_may_mend_is_retried(tmp_path: Path) -> None:
    ends = tmp_path / "ends-with-code"
    ends.write_text("#!/bin/sh\nexit $CODE\n")
    ends.chmod(0o755)

    answer = ask_airflow(tmp_path, TRY_EXIT_CODES, str(ends))

    hopeless, retried = "AirflowFailException", "AirflowException"
    assert answer == {
        "0": "succeeded",
        "1": hopeless,
        "2": hopeless,
        "3": retried,
        "127": hopeless,
        "137": retried,
    }


def run_dag(tmp_path: Path, **variables: str) -> str:
    """Run the DAG once with an Airflow of its own below `tmp_path` and return what it logged."""
    told = environment(tmp_path / "airflow", **variables)
    airflow = str(AIRFLOW_BIN / "airflow")
    subprocess.run([airflow, "db", "migrate"], env=told, capture_output=True, timeout=300, check=True)
    done = subprocess.run(
        [airflow, "dags", "test", "flights_daily"],
        env=told,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.long
def test_a_hopeless_task_fails_at_its_first_try_and_says_where_to_look(tmp_path: Path) -> None:
    wrapper = tmp_path / "dpipe.sh"
    wrapper.write_text("#!/bin/sh\nexit 1\n")
    wrapper.chmod(0o755)

    log = run_dag(tmp_path, DPIPE_BIN=str(wrapper), DPIPE_PROJECT=str(ROOT))

    assert "`ingest` of `flights_daily` failed on try 1" in log, log
    assert "up_for_retry" not in log
    assert "state=failed" in log


@pytest.mark.long
def test_the_dag_runs_from_end_to_end(tmp_path: Path) -> None:
    import duckdb
    from dpipe.settings import load_project
    from dpipe.stages.init import init

    init(tmp_path / "shop")
    wrapper = tmp_path / "dpipe.sh"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dpipe "$@"\n')
    wrapper.chmod(0o755)
    log = run_dag(tmp_path, DPIPE_BIN=str(wrapper), DPIPE_PROJECT=str(tmp_path / "shop"))

    assert "state=success" in log, log
    with duckdb.connect(str(load_project(tmp_path / "shop").marts), read_only=True) as marts:
        assert marts.sql("select count(*) from marts.fct_flights").fetchall() == [(1785,)]
