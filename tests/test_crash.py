"""`kill -9` at any moment, then run again: the tables are those of a run that nothing happened to."""

from __future__ import annotations

import contextlib
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
from dpipe.stages.audit.verify import verify
from dpipe.stages.process import process
from dpipe.state import runs
from support import ORDERS, lake_content, make_project, run_dpipe

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


# As on several machines, where no lock of a file system lets one writer wait for another.
WITHOUT_LOCKS = """
import contextlib
from dpipe.app import main
from dpipe.stages import process
process.held = lambda *_: contextlib.nullcontext(0)
main()
"""


@dataclass(frozen=True)
class Undisturbed:
    """What a run that nothing happens to leaves, and how long its process takes."""

    content: dict[str, list[dict[str, Any]]]
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    project = prepare(tmp_path_factory.mktemp("undisturbed"))
    start = time.perf_counter()
    assert start_process(project).wait(120) == 0
    return Undisturbed(lake_content(project), time.perf_counter() - start)


def run_again(project: Project) -> None:
    """Then every record is accounted for, by the lake's own files."""
    with runs.recorded(project, "process") as run:
        process(project, run=run)
    (audit,) = verify(project)
    assert audit.findings == []


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
        kill([start_process(project)], undisturbed, moments)
    run_again(project)
    assert lake_content(project) == undisturbed.content


def start_process(project: Project, *, locks: bool = True) -> subprocess.Popen[bytes]:
    python = ["-m", "dpipe"] if locks else ["-c", WITHOUT_LOCKS]
    return subprocess.Popen(
        [sys.executable, *python, "-q", "--project", str(project.root), "process"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(children: list[subprocess.Popen[bytes]], undisturbed: Undisturbed, moments: random.Random) -> int:
    """Kill each at a moment of its own; how many were still at work."""
    start = time.perf_counter()
    killed = 0
    ends = sorted(undisturbed.seconds * moments.uniform(0.3, 1) * len(children) ** 0.5 for _ in children)
    for child, end in zip(children, ends, strict=True):
        time.sleep(max(0, start + end - time.perf_counter()))
        killed += child.poll() is None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return killed


@pytest.mark.long
@pytest.mark.parametrize(("mode", "kills"), [("append", 200), ("upsert", 60)])
def test_kills_of_writers_at_once_give_the_same_tables(tmp_path: Path, mode: str, kills: int) -> None:
    assert_kills_change_nothing(tmp_path, mode, kills, {})


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("place", ["bucket", "rest"])
@pytest.mark.parametrize(("mode", "kills"), [("append", 200), ("upsert", 60)])
def test_kills_of_writers_at_once_give_the_same_tables_in_s3(
    request: pytest.FixtureRequest, tmp_path: Path, place: str, mode: str, kills: int
) -> None:
    assert_kills_change_nothing(tmp_path, mode, kills, request.getfixturevalue(place)())


def assert_kills_change_nothing(tmp_path: Path, mode: str, kills: int, place: dict[str, str]) -> None:
    """Two to four writers at a time that know nothing of each other."""
    moments = random.Random(20_130_102)
    written = f"    customProperties: [{{property: dpipe.writeMode, value: {mode}}}]\n    properties:\n"
    contract = ORDERS.replace("    properties:\n", written)
    project = make_project(tmp_path / "disturbed", {"orders": contract}, place)
    calm = make_project(tmp_path / "calm", {"orders": contract})
    killed = rounds = 0
    undisturbed = Undisturbed({}, 4 if place else 1.5)
    while killed < kills:
        for name in ("a", "b"):
            first = moments.randrange(400)
            content = HEADER + "".join(
                f"{number},2013-01-{number % 28 + 1:02},{rounds}\n" for number in range(first, first + 60)
            )
            for one in (project, calm):
                path = one.root / f"{rounds}{name}.csv"
                path.write_text(content)
                landing.land_file(one, "orders", path)
        children = [start_process(project, locks=False) for _ in range(rounds % 3 + 2)]
        killed += kill(children, undisturbed, moments)
        rounds += 1
    run_again(project)
    run_again(calm)
    assert lake_content(project) == lake_content(calm)
