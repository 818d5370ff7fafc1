"""Processes that a measurement needs beside itself, for as long as it takes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dpipe.errors import DpipeError

if TYPE_CHECKING:
    from collections.abc import Iterator

Process = subprocess.Popen[bytes]
START_SECONDS = 60
STOP_SECONDS = 60
DPIPE = (sys.executable, "-m", "dpipe")


@contextmanager
def started(command: list[str], log: Path, **environment: str) -> Iterator[Process]:
    """A process whose output goes into a file; it is told to end after the block, and killed if it doesn't."""
    with (
        log.open("wb") as said,
        subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=os.environ | environment) as one,
    ):
        try:
            yield one
        finally:
            one.terminate()
            try:
                one.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                one.kill()


@contextmanager
def listening(command: list[str], port: int, log: Path, **environment: str) -> Iterator[Process]:
    """A server once it listens. Raises `DpipeError` with what it said when it doesn't."""
    with started(command, log, **environment) as server:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise DpipeError(
                    f"`{' '.join(command[2:])}` doesn't listen: {log.read_text(errors='replace')[-500:]}",
                    hint="please report it",
                )
            time.sleep(0.05)
        yield server


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def cpu_seconds(server: Process) -> float:
    """Processor time that the process has taken, of all its threads; 0 where the system doesn't tell."""
    stat = Path(f"/proc/{server.pid}/stat")
    if not stat.exists():
        return 0.0
    # The name in parentheses may hold blanks; user and system ticks are the 14th and 15th field.
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(server: Process) -> float:
    """Memory that the process holds; 0 where the system doesn't tell."""
    statm = Path(f"/proc/{server.pid}/statm")
    if not statm.exists():
        return 0.0
    return round(int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
