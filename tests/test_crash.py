"""`kill -9` at any moment, then run again: the tables are those of a run that nothing happened to."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from dpipe import landing
from dpipe.failpoints import ENVIRONMENT_VARIABLE, NAMES
from dpipe.stages.process import process
from dpipe.state import runs
from support import lake_content, make_project, run_dpipe

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project

pytest.importorskip("dpipe._kernel")

HEADER = "order_id,day,amount\n"
FILES = {
    "a.csv": HEADER + "".join(f"{number},2013-01-{number % 28 + 1:02},1\n" for number in range(60)),
    "b.csv": HEADER + "".join(f"{number},2013-01-{number % 28 + 1:02},2\n" for number in range(50, 110)),
    "c.csv": HEADER + "".join(f"{number},2013-02-01,3\n" for number in range(40)) + "x,2013-02-01,1\n",
}


def prepare(folder: Path) -> Project:
    project = make_project(folder)
    for name, content in FILES.items():
        (folder / name).write_text(content)
        landing.land_file(project, "orders", folder / name)
    return project


@dataclass(frozen=True)
class Undisturbed:
    """What a run that nothing happens to leaves, and how long its process takes."""

    content: dict[str, list[dict[str, Any]]]
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    project = prepare(tmp_path_factory.mktemp("undisturbed"))
    start = time.perf_counter()
    assert run_dpipe(project, "process").returncode == 0
    return Undisturbed(lake_content(project), time.perf_counter() - start)


def run_again(project: Project) -> None:
    with runs.recorded(project, "process") as run:
        process(project, run=run)


@pytest.mark.parametrize("point", [name for name in NAMES if name != "after-landing-copy"])
def test_a_run_after_a_kill_gives_the_same_tables(
    tmp_path: Path, point: str, undisturbed: Undisturbed
) -> None:
    project = prepare(tmp_path)
    killed = run_dpipe(project, "process", environment={ENVIRONMENT_VARIABLE: point})
    assert killed.returncode == -signal.SIGKILL
    run_again(project)
    assert lake_content(project) == undisturbed.content
    assert [run["error"] for run in runs.latest(project)] == [None, "process ended without a word"]


@pytest.mark.parametrize("point", ["after-raw-commit", "after-quarantine-commit"])
def test_recovery_needs_the_commit_alone_and_not_the_contract_of_then(
    tmp_path: Path, point: str, undisturbed: Undisturbed
) -> None:
    project = prepare(tmp_path)
    run_dpipe(project, "process", environment={ENVIRONMENT_VARIABLE: point})
    contract = project.contracts / "orders.odcs.yaml"
    changed = contract.read_text().replace("minimum: 0", "minimum: 1000000").replace("1.0.0", "2.0.0")
    contract.write_text(changed)
    run_again(project)
    assert lake_content(project) == undisturbed.content


def test_kills_at_random_moments_give_the_same_tables(tmp_path: Path, undisturbed: Undisturbed) -> None:
    project = prepare(tmp_path)
    moments = random.Random(20_130_101)
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-m", "dpipe", "-q", "--project", str(project.root), "process"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(undisturbed.seconds * moments.uniform(0.3, 1))
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    run_again(project)
    assert lake_content(project) == undisturbed.content
