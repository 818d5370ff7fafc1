"""Projects for the dashboard's tests: the sample taken the whole way with faults in it, and an empty one."""

from __future__ import annotations

import csv
import functools
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import httpx
from api_server import served
from dpipe.settings import Project, load_project
from dpipe.stages.init import init
from dpipe.stages.refusals import drop
from dpipe.state import keys, runs
from dpipe.warehouse import lake
from support import make_project, processed, run_dpipe

UI = Path(__file__).parent.parent / "ui"
PAGES = ("overview", "jobs", "quality", "flights")
MARKUP = b"<b id=injected>x</b>"
NOT_UTF8 = b"\xff\xfe"
REJECTED, DUPLICATE = 540, 1


@functools.cache
def finished_project(folder: Path) -> Project:
    """The sample after `dpipe run`, then a batch with faults and one that the gate refused; made once a session.

    `folder` is the base of the session's temporary folders.
    """
    project = load_project(init(folder / "dash" / "flights").folder)
    run = run_dpipe(project, "run")
    assert run.returncode == 0, run.stderr
    faulty, refused = project.root / "faulty.csv", project.root / "refused.csv"
    header, *lines = (project.root / "data" / "flights.csv").read_bytes().splitlines()
    faulty.write_bytes(b"\n".join([header, *_faulty(header, lines)]) + b"\n")
    refused.write_bytes(b"\n".join([header, *(b"x" + line for line in lines[:50])]) + b"\n")
    for command in (("ingest", "flights", str(faulty), str(refused)), ("process",)):
        done = run_dpipe(project, *command)
    assert done.returncode == 1, done.stderr
    return project


@dataclass(frozen=True)
class JobsProject:
    """A project whose API was sent a submission for each state, by its key `order-feed`; what became of them."""

    project: Project
    states: dict[str, str]

    def job(self, state: str) -> str:
        """The first of the jobs in a state."""
        return next(job for job, found in self.states.items() if found == state)


ROWS = "1,2013-01-01,1\n2,2013-01-01,2\n3,2013-01-01,3\n"
KEPT_OUT = "1,2013-01-01,1\n4,2013-01-01,-4\n5,2013-01-01,5\n"


@functools.cache
def jobs_project(folder: Path) -> JobsProject:
    """Orders by the API of a real server, in every state; made once a session in its base of temporary folders."""
    project = make_project(folder / "dash jobs", settings={"max_rejected_share": 0.5})
    (project.root / "ui").symlink_to(UI)
    _, key = keys.create(project, "order-feed", ["write:orders"])
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "text/csv"}
    with served(project) as url, httpx.Client(base_url=url, headers=headers, timeout=60) as client:

        def submit(rows: str) -> str:
            answer = client.post(
                "/v1/datasets/orders/batches", content=f"order_id,day,amount\n{rows}".encode()
            )
            return str(answer.raise_for_status().json()["job_id"])

        committed, kept_out = submit(ROWS), submit(KEPT_OUT)
        refused, dropped = (submit(f"x,2013-01-01,{number}\n") for number in range(2))
        processed(project)
        with runs.recorded(project, "batches drop") as run:
            drop(project, dropped, reason="sent by mistake", run=run)
        landed = submit(ROWS)
    ids = (kept_out, committed, refused, dropped, landed)
    return JobsProject(
        project, dict(zip(ids, ("committed", "committed", "refused", "dropped", "landed"), strict=True))
    )


def published(project: Project, sql: str, parameters: Any = None) -> tuple[Any, ...]:
    """The first row of a query's answer from the published marts."""
    with duckdb.connect(str(project.marts), read_only=True) as connection:
        row = connection.execute(sql, parameters).fetchone()
    assert row is not None
    return row


def in_lake(project: Project, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query's answer from the lake."""
    with lake.connect(project) as connection:
        return connection.execute(sql).fetchall()


def dash_command(project: Project, *options: str) -> subprocess.Popen[str]:
    """`dpipe dash` under way, its words on a pipe."""
    command = [sys.executable, "-m", "dpipe", "--project", str(project.root), "dash", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _faulty(header: bytes, lines: list[bytes]) -> list[bytes]:
    """The sample's flights of 5 years later many times over, so that few enough of them are rejected."""
    columns = next(csv.reader([header.decode()]))
    year, carrier, delay = (columns.index(name) for name in ("year", "carrier", "dep_delay"))
    made = []
    for later in range(5, 9):
        for number, line in enumerate(lines):
            cells = line.split(b",")
            cells[year] = str(2013 + later).encode()
            if later == 5 and number < REJECTED:
                cells[delay] = b"late"
            if later == 5 and number == 0:
                cells[carrier] = MARKUP
            if later == 5 and number == 1:
                cells[carrier] = NOT_UTF8
            made.append(b",".join(cells))
    return [*made, *made[-DUPLICATE:]]


def wait_until_ready(port: int, process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Wait until Streamlit answers; fail with its words when it ends before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the dashboard does not answer")
