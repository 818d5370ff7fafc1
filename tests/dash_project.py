"""Projects for the dashboard's tests: the sample taken the whole way with faults in it, and an empty one."""

from __future__ import annotations

import csv
import functools
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import duckdb
from dpipe.settings import Project, load_project
from dpipe.stages.init import init
from dpipe.warehouse import lake
from support import run_dpipe

UI = Path(__file__).parent.parent / "ui"
PAGES = ("overview", "quality", "flights")
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


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until_ready(port: int, process: subprocess.Popen[str], seconds: float = 60) -> None:
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
