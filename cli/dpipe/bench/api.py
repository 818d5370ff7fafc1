"""The API beside a bare endpoint that only keeps bytes, in turn, with the same client."""

from __future__ import annotations

import statistics
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpipe.bench import flights, processes
from dpipe.bench.load import Target, send
from dpipe.bench.machine import machine
from dpipe.bench.pipeline import command
from dpipe.bench.processes import cpu_seconds, free_port, listening, resident_mb
from dpipe.errors import DpipeError
from dpipe.settings import load_project
from dpipe.state import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dpipe.bench.load import Sent
    from dpipe.bench.processes import Process

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
        lines = flights.lines(max(sizes))
        for target, _ in servers.values():  # what is made on first use
            _sent(target, lines[0], 200, connections, "warm")
        before = resident_mb(servers[DPIPE][1])
        loads = []
        for size in sizes:
            body = b"".join(lines[:size])
            taken: dict[str, list[tuple[Sent, float]]] = {engine: [] for engine in servers}
            for run in range(1, runs + 1):
                for engine, (target, server) in servers.items():
                    on_step(f"{size:,} record(s) a request, run {run} of {runs}: {engine}")
                    started = cpu_seconds(server)
                    sent = _sent(target, body, requests, connections, f"{size}-{run}")
                    taken[engine].append((sent, cpu_seconds(server) - started))
            loads += [_load(engine, size, of_one) for engine, of_one in taken.items()]
        after = resident_mb(servers[DPIPE][1])
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


@contextmanager
def _servers(folder: Path) -> Iterator[dict[str, tuple[Target, Process]]]:
    """Both servers, each with this machine's disk behind it; dpipe's as anybody starts it, its log in a file."""
    command("init", str(folder / "project"))
    project = load_project(folder / "project")
    _, key = keys.create(project, "bench", ["write:flights"])
    ports = [free_port(), free_port()]
    serve = [*processes.DPIPE, "--project", str(project.root), "serve", "--port", str(ports[0])]
    bare = [
        *(sys.executable, "-m", "dpipe.bench.bare_endpoint"),
        *(str(folder / "bare.bytes"), str(ports[1])),
    ]
    with (
        # Nobody processes meanwhile.
        listening(serve, ports[0], folder / "dpipe.log", DPIPE_MAX_BACKLOG_BATCHES="1000000000") as ours,
        listening(bare, ports[1], folder / "bare.log") as other,
    ):
        path = "/v1/datasets/flights/records"
        authorized = {"Authorization": f"Bearer {key}"}
        yield {
            DPIPE: (Target(ports[0], path, authorized, named=True), ours),
            BARE: (Target(ports[1], "/bare"), other),
        }
