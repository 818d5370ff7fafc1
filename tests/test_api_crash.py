"""API and worker killed at any moment under load: what was acknowledged is there once, the rest whole or not at all."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from botocore.exceptions import BotoCoreError
from dpipe import landing
from dpipe.iceberg import ledger, open_catalog
from dpipe.state import keys
from servers import free_port
from support import assert_holds, make_project, rows_of, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dpipe.settings import Project
    from servers import Kinesalite
    from stream_support import Kinesis

RECORDS = 20
ROUTES = ("batches", "records")


class Client:
    """Submits one batch after the other; each has orders of its own and, when it tries again, its name."""

    def __init__(self, number: int, url: str, key: str) -> None:
        self.number = number
        self.url = url
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "text/csv"}
        self.sent = 0
        self.acknowledged: dict[int, str] = {}
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        moments = random.Random(self.number)
        while not self.stop.is_set():
            batch, self.sent = self.number * 100_000 + self.sent, self.sent + 1
            patient = moments.random() < 0.7  # others give up, and never know
            while not self.submit(batch) and patient and not self.stop.wait(0.1):
                pass

    def submit(self, batch: int) -> bool:
        try:
            answer = httpx.post(
                f"{self.url}/v1/datasets/orders/{ROUTES[batch % 2]}",
                # A body that isn't announced to be small is landed by itself, by the route for batches.
                content=iter([content(batch)]) if batch % 4 == 0 else content(batch),
                headers=self.headers | {"Idempotency-Key": str(batch)},
                timeout=20,
            )
        except httpx.TransportError:
            return False
        assert answer.status_code in {202, 503}, answer.text
        if answer.status_code == 202:
            self.acknowledged[batch] = answer.json()["job_id"]
        return answer.status_code == 202


def content(batch: int) -> bytes:
    rows = (f"{batch * RECORDS + number},2013-01-{number + 1:02},{number - 1}\n" for number in range(RECORDS))
    return ("order_id,day,amount\n" + "".join(rows)).encode()


def start(project: Project, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dpipe", "-q", "--project", str(project.root), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def lives(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


class Emulator:
    """The stream between API and worker, which is killed and resharded too."""

    def __init__(self, server: Kinesalite, streams: Kinesis) -> None:
        self.server = server
        self.streams = streams
        self.name = streams.create(shards=2)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "streams": {"orders": f"kinesis://{self.name}"},
            "submit_to": "stream",
            "stream_lease_seconds": 1.5,
        }

    def restart(self) -> None:
        self.server.kill()
        self.server.start()

    def reshard(self) -> None:
        wait_until(self.answers)
        shards = [one for one in self.streams.shards(self.name) if "EndingSequenceNumber" not in str(one)]
        self.streams.split(self.name, shards[0]["ShardId"])

    def answers(self) -> bool:
        try:
            return bool(self.streams.shards(self.name))
        except BotoCoreError:
            return False


def _disturb(
    running: dict[str, subprocess.Popen[bytes]],
    begin: Callable[[str], subprocess.Popen[bytes]],
    senders: list[Client],
    rounds: int,
    emulator: Emulator | None,
    committed: Callable[[], int],
) -> None:
    """Kill and start what runs while clients send; then have all of it end as it should.

    `committed` counts the batches that are in the ledger.
    """
    moments, url = random.Random(20_131_127), senders[0].url
    wait_until(lambda: lives(url))
    for sender in senders:
        sender.thread.start()
    victims = sorted(running) + (["stream"] if emulator else [])
    for number in range(rounds):
        # A worker needs seconds until it commits, a server until it listens: kills come at either.
        time.sleep(moments.uniform(0.2, 5))
        victim = moments.choice(victims)
        if victim in running:
            kill(running[victim])
            running[victim] = begin(victim)
        elif emulator:
            emulator.restart()
        if emulator and number == rounds // 2:
            emulator.reshard()
    wait_until(lambda: lives(url))
    # Until the worker is at its work again: before it has begun, a signal just ends it.
    before = committed()
    wait_until(lambda: committed() > before and sum(len(one.acknowledged) for one in senders) > rounds)
    for sender in senders:
        sender.stop.set()
        sender.thread.join()
    for process in running.values():
        process.send_signal(signal.SIGTERM)
    assert [process.wait(timeout=120) for process in running.values()] == [0, 0]


def assert_nothing_is_lost(
    folder: Path, rounds: int, clients: int = 3, emulator: Emulator | None = None
) -> None:
    settings = {"max_rejected_share": 1.0} | (emulator.settings if emulator else {})
    project = make_project(folder / "a project", settings=settings)
    _, key = keys.create(project, "clients", ["admin:*"])
    port = str(free_port())
    url = f"http://127.0.0.1:{port}"
    commands = {"serve": ("serve", "--port", port), "worker": ("worker", "--poll", "0.1")}

    def begin(name: str) -> subprocess.Popen[bytes]:
        return start(project, *commands[name])

    def committed() -> int:
        return len(ledger.batch_ids(open_catalog(project), "orders"))

    running = {name: begin(name) for name in commands}
    senders = [Client(number, url, key) for number in range(clients)]
    try:
        _disturb(running, begin, senders, rounds, emulator, committed)
    finally:
        for sender in senders:
            sender.stop.set()
        for process in running.values():
            kill(process)
    acknowledged = {batch: job for sender in senders for batch, job in sender.acknowledged.items()}
    assert len(acknowledged) > rounds
    assert run_dpipe(project, "worker", "--once").returncode == 0

    # Every acknowledged batch was committed once, and all of its records have one disposition.
    found = Counter(row["batch_id"] for row in ledger.rows(open_catalog(project), "orders"))
    assert set(found.values()) == {1}
    assert found.keys() >= set(acknowledged.values())
    # Of the others some came whole, without anybody knowing; none came in part.
    assert found.keys() == landing.batch_ids(project, "orders")
    assert len(found) <= sum(sender.sent for sender in senders)
    accepted = [row["order_id"] for row in rows_of(project, "raw", "orders")]
    rejected = rows_of(project, "quarantine", "orders")
    assert len(accepted) == len(set(accepted)) == len(found) * (RECORDS - 1)
    assert len(rejected) == len(found)
    assert {row["disposition"] for row in rejected} == {"rejected"}
    assert {order // RECORDS for order in accepted} >= set(acknowledged)
    assert_holds(project)


def test_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    assert_nothing_is_lost(tmp_path, rounds=4)


def test_kills_lose_nothing_that_went_into_a_stream(
    tmp_path: Path, own_kinesalite: tuple[Kinesalite, Kinesis]
) -> None:
    assert_nothing_is_lost(tmp_path, rounds=4, emulator=Emulator(*own_kinesalite))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_kills_lose_nothing_that_went_into_a_stream(
    tmp_path: Path, own_kinesalite: tuple[Kinesalite, Kinesis]
) -> None:
    assert_nothing_is_lost(tmp_path, rounds=120, emulator=Emulator(*own_kinesalite))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    assert_nothing_is_lost(tmp_path, rounds=120)
