"""How long records take from a request to the tables and to the marts, at a steady trickle, with real processes."""

from __future__ import annotations

import math
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import requests

from dpipe.bench import flights, processes
from dpipe.bench.machine import machine
from dpipe.bench.pipeline import new_project
from dpipe.bench.processes import free_port, listening, resident_mb, started
from dpipe.errors import DpipeError
from dpipe.iceberg import ledger, open_catalog
from dpipe.settings import load_project
from dpipe.state import keys
from dpipe.warehouse.candidate import read_contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dpipe.settings import Project

PUBLISHED_WITHIN_SECONDS = 600
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Distribution:
    """Seconds by nearest rank."""

    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True)
class FreshnessReport:
    """What was measured: from each request to its answer, to its commit, to the publication of marts that have it."""

    bench: str
    minutes: float
    submissions: int
    records_a_submission: int
    submissions_per_second: float
    transform_every: float
    acknowledged: Distribution
    committed: Distribution
    published: Distribution
    server_mb_before: float
    server_mb_after: float
    worker_mb: float
    machine: dict[str, Any]


def bench_freshness(
    *,
    minutes: float,
    rate: float,
    records: int,
    transform_every: float,
    on_step: Callable[[str], None] = lambda _step: None,
) -> FreshnessReport:
    """Send so many submissions a second to a real server, with a real worker behind it that publishes marts.

    Raises `DpipeError` when a submission is refused, isn't committed, or isn't in the marts minutes after the last.
    """
    submissions = max(1, round(minutes * 60 * rate))
    with tempfile.TemporaryDirectory(prefix="dpipe-bench-") as name:
        folder = Path(name)
        on_step("making a project with the data that the marts need")
        project = load_project(new_project(folder / "project", whole=True))
        bodies = _bodies(submissions, records)
        _, key = keys.create(project, "bench", ["write:flights"])
        port = free_port()
        dpipe = [*processes.DPIPE, "--project", str(project.root)]
        serve = [*dpipe, "serve", "--port", str(port)]
        worker = [*dpipe, "worker", "--poll", "0.5", "--transform-every", str(transform_every)]
        with (
            listening(serve, port, folder / "serve.log") as server,
            # A hundredth of the flights is faulty: of twenty at a time three may be, and have to go on, too.
            started(worker, folder / "worker.log", DPIPE_MAX_REJECTED_SHARE="1") as behind,
            _watched(project) as seen,
        ):
            before = resident_mb(server)
            on_step(f"{submissions:,} submissions of {records:,} records, {rate:g} a second")
            sent = _send(f"http://127.0.0.1:{port}/v1/datasets/flights/records", key, bodies, rate)
            on_step("waiting for the last of them in the marts")
            _wait(sent, seen)
            after, worker_mb = resident_mb(server), resident_mb(behind)
        rows = ledger.of_batches(open_catalog(project), "flights", set(sent))
        committed = {row["batch_id"]: row["committed_at"] for row in rows}
    return FreshnessReport(
        bench="freshness",
        minutes=minutes,
        submissions=submissions,
        records_a_submission=records,
        submissions_per_second=rate,
        transform_every=transform_every,
        acknowledged=_distribution([answered for _, answered in sent.values()]),
        committed=_distribution([_seconds(sent[job][0], at) for job, at in committed.items()]),
        published=_distribution([_seconds(at, seen[job]) for job, (at, _) in sent.items()]),
        server_mb_before=before,
        server_mb_after=after,
        worker_mb=worker_mb,
        machine=machine(),
    )


def _bodies(submissions: int, records: int) -> list[bytes]:
    lines = flights.lines(submissions * records)
    return [b"".join(lines[start : start + records]) for start in range(0, submissions * records, records)]


def _send(url: str, key: str, bodies: Sequence[bytes], rate: float) -> dict[str, tuple[datetime, float]]:
    """Send at a steady rate, whatever the answers take; of each job when it was sent and the seconds to its answer."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}

    def submit(number: int) -> tuple[str, tuple[datetime, float]]:
        time.sleep(max(0.0, begun + number / rate - time.monotonic()))
        at, start = datetime.now(UTC), time.perf_counter()
        answer = requests.post(
            url, data=bodies[number], headers=headers | {"Idempotency-Key": str(number)}, timeout=60
        )
        seconds = time.perf_counter() - start
        if not answer.ok:
            raise DpipeError(
                f"the server refused a submission: {answer.status_code} {answer.text}",
                hint="please report it",
            )
        return answer.json()["job_id"], (at, seconds)

    with ThreadPoolExecutor(16) as pool:
        begun = time.monotonic()
        return dict(pool.map(submit, range(len(bodies))))


@contextmanager
def _watched(project: Project) -> Iterator[dict[str, datetime]]:
    """When each batch was first seen in the published marts, which are looked at twice a second."""
    seen: dict[str, datetime] = {}
    over = Event()

    def look() -> None:
        known = 0.0
        while not over.wait(LOOK_SECONDS):
            changed = project.marts.stat().st_mtime if project.marts.exists() else 0.0
            if changed == known:
                continue
            known, at = changed, datetime.now(UTC)
            contents = read_contents(project.marts)
            for batch in contents.batches if contents else ():
                seen.setdefault(batch.batch_id, at)

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(look)
        try:
            yield seen
        finally:
            over.set()
            watching.result()


def _wait(sent: dict[str, tuple[datetime, float]], seen: dict[str, datetime]) -> None:
    deadline = time.monotonic() + PUBLISHED_WITHIN_SECONDS
    while missing := len(sent.keys() - seen.keys()):
        if time.monotonic() > deadline:
            raise DpipeError(
                f"{missing:,} of {len(sent):,} submissions are in no marts {PUBLISHED_WITHIN_SECONDS} s after the last",
                hint="the worker doesn't keep up with that many: give a lower `--rate`, and more `--records` each",
            )
        time.sleep(LOOK_SECONDS)


def _seconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()


def _distribution(seconds: Sequence[float]) -> Distribution:
    ordered = sorted(seconds)
    ranks = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95, 0.99, 1))
    return Distribution(*(round(one, 3) for one in ranks))
