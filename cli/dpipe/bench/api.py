"""The API beside a bare endpoint that only keeps bytes, in turn, with the same client."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpipe.bench import flights
from dpipe.bench.load import Target, send
from dpipe.bench.machine import machine
from dpipe.errors import DpipeError
from dpipe.settings import load_project
from dpipe.state import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dpipe.bench.load import Sent

START_SECONDS = 60
# Nobody processes meanwhile.
MOST_WAITING = 1_000_000_000
DPIPE, BARE = "dpipe", "bare"


@dataclass(frozen=True)
class Load:
    """Requests of so many records each; requests a second in each run, and the seconds of the slowest of 50 and 99%."""

    engine: str
    records_a_request: int
    requests_per_second: list[float]
    median_requests_per_second: float
    records_per_second: int
    p50_seconds: float
    p99_seconds: float
    cpu_microseconds_a_request: int


@dataclass(frozen=True)
class ApiReport:
    """What was measured; `ratios` are dpipe's requests a second to the bare endpoint's, by records a request."""

    bench: str
    runs: int
    requests: int
    connections: int
    loads: list[Load]
    ratios: dict[str, float]
    resident_mb_before: float
    resident_mb_after: float
    machine: dict[str, Any]


def bench_api(
    sizes: list[int],
    *,
    requests: int,
    connections: int,
    runs: int,
    on_step: Callable[[str], None] = lambda _step: None,
) -> ApiReport:
    """Time requests of so many records each, accepted durably, with key, name and job, beside bare ones.

    Raises `DpipeError` when a server doesn't start, or answers anything but a 2xx.
    """
    with tempfile.TemporaryDirectory(prefix="dpipe-bench-") as name, _servers(Path(name)) as servers:
        lines = _lines(Path(name), max(sizes))
        for target, _ in servers.values():  # what is made on first use
            _sent(target, lines[0], 200, connections, "warm")
        before = _resident_mb(servers[DPIPE][1])
        loads = []
        for size in sizes:
            body = b"".join(lines[:size])
            taken: dict[str, list[tuple[Sent, float]]] = {engine: [] for engine in servers}
            for run in range(1, runs + 1):
                for engine, (target, server) in servers.items():
                    on_step(f"{size:,} record(s) a request, run {run} of {runs}: {engine}")
                    started = _cpu_seconds(server)
                    sent = _sent(target, body, requests, connections, f"{size}-{run}")
                    taken[engine].append((sent, _cpu_seconds(server) - started))
            loads += [_load(engine, size, of_one) for engine, of_one in taken.items()]
        after = _resident_mb(servers[DPIPE][1])
    by_size = {(load.engine, load.records_a_request): load.median_requests_per_second for load in loads}
    return ApiReport(
        bench="api",
        runs=runs,
        requests=requests,
        connections=connections,
        loads=loads,
        ratios={str(size): round(by_size[DPIPE, size] / by_size[BARE, size], 3) for size in sizes},
        resident_mb_before=before,
        resident_mb_after=after,
        machine=machine(),
    )


def _load(engine: str, size: int, taken: list[tuple[Sent, float]]) -> Load:
    rates = [sent.answered / sent.seconds for sent, _ in taken]
    rate = statistics.median(rates)
    answered = sum(sent.answered for sent, _ in taken)
    return Load(
        engine=engine,
        records_a_request=size,
        requests_per_second=[round(one, 1) for one in rates],
        median_requests_per_second=round(rate, 1),
        records_per_second=round(rate * size),
        p50_seconds=round(statistics.median(sent.latency(0.5) for sent, _ in taken), 4),
        p99_seconds=round(statistics.median(sent.latency(0.99) for sent, _ in taken), 4),
        cpu_microseconds_a_request=round(sum(cpu for _, cpu in taken) / answered * 1e6),
    )


def _sent(target: Target, body: bytes, requests: int, connections: int, prefix: str) -> Sent:
    sent = send(target, body, requests, connections, prefix)
    if sent.failed:
        raise DpipeError(
            f"`{target.path}` answered {len(sent.failed):,} of {requests:,} requests with `{sent.failed[0]}`",
            hint="please report it",
        )
    return sent


def _lines(folder: Path, records: int) -> list[bytes]:
    path = folder / "flights.ndjson"
    flights.write(path, records, form="ndjson", compression="none")
    return path.read_bytes().splitlines(keepends=True)


@contextmanager
def _servers(folder: Path) -> Iterator[dict[str, tuple[Target, subprocess.Popen[bytes]]]]:
    """Both servers, each with this machine's disk behind it; dpipe's as anybody starts it, its log in a file."""
    dpipe = [sys.executable, "-m", "dpipe"]
    done = subprocess.run(
        [*dpipe, "init", str(folder / "project")], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise DpipeError(f"`dpipe init` failed: {done.stderr.strip()}", hint="please report it")
    project = load_project(folder / "project")
    _, key = keys.create(project, "bench", ["write:flights"])
    ports = [_free_port(), _free_port()]
    serve = [*dpipe, "--project", str(project.root), "serve", "--port", str(ports[0])]
    bare = [sys.executable, "-m", "dpipe.bench.bare_endpoint", str(folder / "bare.bytes"), str(ports[1])]
    with (
        _started(serve, ports[0], folder / "dpipe.log") as ours,
        _started(bare, ports[1], folder / "bare.log") as other,
    ):
        path = "/v1/datasets/flights/records"
        authorized = {"Authorization": f"Bearer {key}"}
        yield {
            DPIPE: (Target(ports[0], path, authorized, named=True), ours),
            BARE: (Target(ports[1], "/bare"), other),
        }


@contextmanager
def _started(command: list[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The server while it listens. Raises `DpipeError` with what it said when it doesn't."""
    environment = os.environ | {"DPIPE_MAX_BACKLOG_BATCHES": str(MOST_WAITING)}
    with (
        log.open("wb") as said,
        subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment) as server,
    ):
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _listens(port):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise DpipeError(
                        f"`{' '.join(command[2:])}` doesn't listen: {log.read_text(errors='replace')[-500:]}",
                        hint="please report it",
                    )
                time.sleep(0.05)
            yield server
        finally:
            server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _cpu_seconds(server: subprocess.Popen[bytes]) -> float:
    """Processor time that the process has taken, of all its threads; 0 where the system doesn't tell."""
    stat = Path(f"/proc/{server.pid}/stat")
    if not stat.exists():
        return 0.0
    # The name in parentheses may hold blanks; user and system ticks are the 14th and 15th field.
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(server: subprocess.Popen[bytes]) -> float:
    """Memory that the process holds; 0 where the system doesn't tell."""
    statm = Path(f"/proc/{server.pid}/statm")
    if not statm.exists():
        return 0.0
    return round(int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
