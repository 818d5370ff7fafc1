"""`dpipe worker` consumes streams: every record once, whatever dies, is split, merged or taken over."""

from __future__ import annotations

import itertools
import random
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from dpipe.state import leases, open_state
from stream_support import Kinesis, assert_landed_once, chain, order, place, stream
from support import assert_holds, make_project, processed, rows_of, run_dpipe
from worker_process import SECONDS_TO_ANSWER, under_way

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from dpipe.settings import Project
    from dpipe.state.leases import Lease
    from servers import Kinesalite
    from worker_process import Worker

pytest.importorskip("dpipe._kernel")

SECONDS_TO_CATCH_UP = 150


def project_of(folder: Path, name: str, **settings: Any) -> Project:
    """A project whose orders come out of a stream, in small batches and with short leases."""
    small = {"stream_max_records": 50, "stream_max_seconds": 0.2, "stream_lease_seconds": 1.5}
    return make_project(folder, settings={"streams": {"orders": f"kinesis://{name}"}, **small, **settings})


def worker(project: Project) -> AbstractContextManager[Worker]:
    return under_way(project, "worker")


def landed(project: Project) -> int:
    """How many records have landed."""
    return sum(place(batch).records for batches in chain(project).values() for batch in batches)


def accepted(running: Worker) -> int:
    """How many rows the worker says it committed."""
    return sum(result["accepted"] for done in running.rounds for result in done["datasets"])


def held(project: Project, name: str) -> list[Lease]:
    found = leases.listed(open_state(project), leases.Feed("orders", stream(name).arn))
    return [lease for lease in found if lease.is_held(datetime.now(UTC))]


def owners(project: Project, name: str) -> list[int]:
    """How many shards each worker has."""
    names = [lease.owner for lease in held(project, name)]
    return sorted(names.count(owner) for owner in set(names))


def assert_all_is_there(project: Project, kinesis: Kinesis, name: str) -> None:
    """Every record of the stream has landed once, and is in raw once."""
    content = kinesis.content(name)
    assert_landed_once(project, content)
    processed(project)
    rows = [row["order_id"] for row in rows_of(project, "raw", "orders")]
    assert len(rows) == len(set(rows)) == sum(map(len, content.values()))
    assert_holds(project)


def test_what_comes_into_the_stream_is_in_the_lake_within_seconds(tmp_path: Path, kinesis: Kinesis) -> None:
    name = kinesis.create(2)
    project = project_of(tmp_path, name)
    with worker(project) as running:
        running.ready()
        for first in range(0, 150, 50):
            kinesis.put(name, *map(order, range(first, first + 50)))
            running.wait_for(lambda until=first + 50: accepted(running) == until)  # type: ignore[misc]
        assert running.stop() == 0
        assert f"`orders` is fed by `kinesis://{name}`" in running.said
        assert "warning" not in running.said
    assert held(project, name) == []
    assert_all_is_there(project, kinesis, name)


def test_told_to_stop_it_lands_what_it_has_read_and_gives_its_leases_back(
    tmp_path: Path, kinesis: Kinesis
) -> None:
    name = kinesis.create()
    project = project_of(tmp_path, name, stream_max_records=10, stream_max_seconds=600)
    kinesis.put(name, *map(order, range(15)))
    with worker(project) as running:
        running.wait_for(lambda: landed(project))  # so that it has read the others, which came with these
        time.sleep(2)
        assert landed(project) == 10  # it waits for more
        assert running.stop() == 0
    assert landed(project) == 15
    (lease,) = leases.listed(open_state(project), leases.Feed("orders", stream(name).arn))
    assert (lease.owner, lease.checkpoint) == (None, kinesis.content(name)["shardId-000000000000"][-1][0])
    assert_all_is_there(project, kinesis, name)


def test_once_reads_to_the_tip_processes_and_ends(tmp_path: Path, kinesis: Kinesis) -> None:
    name = kinesis.create(2)
    project = project_of(tmp_path, name)
    kinesis.put(name, *map(order, range(100)))
    kinesis.split(name, "shardId-000000000000")
    kinesis.put(name, *map(order, range(100, 150)))
    done = run_dpipe(project, "worker", "--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert "150 records in = 150 accepted" in done.stdout
    assert_all_is_there(project, kinesis, name)


def test_once_says_what_is_wrong_with_a_stream_and_processes_what_has_landed(
    tmp_path: Path, kinesis: Kinesis
) -> None:
    name = kinesis.create()
    project = project_of(tmp_path, name)
    kinesis.put(name, order(1))
    assert run_dpipe(project, "ingest", "orders", "--from", f"kinesis://{name}").returncode == 0
    down = {"AWS_ENDPOINT_URL_KINESIS": "http://127.0.0.1:9"}
    done = run_dpipe(project, "worker", "--once", environment=down)
    assert done.returncode == 3
    assert "can't be used" in done.stderr
    assert "1 accepted" in done.stdout


def test_a_stream_of_a_dataset_without_a_contract_is_a_wrong_setting(tmp_path: Path) -> None:
    project = make_project(tmp_path, settings={"streams": {"nothing": "kinesis://orders"}})
    done = run_dpipe(project, "worker", "--once")
    assert done.returncode == 2
    assert "`nothing`" in done.stderr


def test_a_stream_that_is_not_there_is_said_once_and_waited_for(tmp_path: Path, kinesis: Kinesis) -> None:
    project = project_of(tmp_path, "comes-later")
    with worker(project) as running:
        running.wait_for(lambda: "`kinesis://comes-later` is not there" in running.said)
        assert "hint: " in running.said
        kinesis.client.create_stream(StreamName="comes-later", ShardCount=1)
        kinesis.settled("comes-later")
        kinesis.put("comes-later", order(1))
        running.wait_for(lambda: accepted(running) == 1)
        assert running.said.count("warning: ") == 1
        running.wait_for(lambda: "`kinesis://comes-later` goes on" in running.said)
        assert running.stop() == 0


def test_workers_share_the_shards_and_take_over_from_a_dead_one(tmp_path: Path, kinesis: Kinesis) -> None:
    name = kinesis.create(4)
    project = project_of(tmp_path, name)
    numbers = itertools.count()
    with worker(project) as one, worker(project) as other:
        one.wait_for(lambda: owners(project, name) == [2, 2])
        kinesis.put(name, *(order(next(numbers)) for _ in range(100)))
        one.wait_for(lambda: landed(project) == 100)
        assert other.stop(signal.SIGKILL) == -signal.SIGKILL
        died_at = time.monotonic()
        kinesis.put(name, *(order(next(numbers)) for _ in range(100)))
        one.wait_for(lambda: owners(project, name) == [4])
        one.wait_for(lambda: landed(project) == 200)
        assert time.monotonic() - died_at < SECONDS_TO_ANSWER
        with worker(project) as third:
            third.wait_for(lambda: owners(project, name) == [2, 2])
            assert third.stop() == 0
        one.wait_for(lambda: owners(project, name) == [4])
        assert one.stop() == 0
    assert_all_is_there(project, kinesis, name)


def test_workers_that_do_not_see_one_state_database_land_every_record_once(
    tmp_path: Path, kinesis: Kinesis
) -> None:
    """As two machines with a landing in common: both read every shard."""
    name = kinesis.create(2)
    project = project_of(tmp_path, name)
    other_state = f"sqlite:///{tmp_path / 'other.db'}"
    numbers = itertools.count()
    with worker(project) as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPIPE_STATE_URL", other_state)
        with worker(project) as other:
            patch.undo()
            one.ready()
            other.ready()
            for _ in range(30):
                kinesis.put(name, *(order(next(numbers)) for _ in range(10)))
                time.sleep(0.1)
            one.wait_for(lambda: landed(project) == 300)
            assert (one.stop(), other.stop()) == (0, 0)
    assert_all_is_there(project, kinesis, name)


class Producer(threading.Thread):
    """Puts records until told to stop. One whose answer was lost may be in the stream or not: that says what is."""

    def __init__(self, kinesis: Kinesis, name: str, seed: int) -> None:
        super().__init__(daemon=True)
        self._kinesis, self._name = kinesis, name
        self._chances = random.Random(seed)
        self._numbers = itertools.count()
        self._told = threading.Event()
        self.paused = threading.Lock()

    def run(self) -> None:
        while not self._told.wait(self._chances.uniform(0, 0.2)):
            records = [order(next(self._numbers)) for _ in range(self._chances.randint(1, 20))]
            with self.paused:
                try:
                    self._kinesis.put(self._name, *records)
                except (BotoCoreError, ClientError):
                    continue

    def end(self) -> None:
        self._told.set()
        self.join()


@contextmanager
def producing(kinesis: Kinesis, name: str, seed: int) -> Iterator[Producer]:
    producer = Producer(kinesis, name, seed)
    producer.start()
    try:
        yield producer
    finally:
        producer.end()


def stored(kinesis: Kinesis, name: str) -> int:
    return sum(map(len, kinesis.content(name).values()))


def test_kills_in_the_middle_and_a_split_lose_and_double_nothing(tmp_path: Path, kinesis: Kinesis) -> None:
    name = kinesis.create(2)
    project = project_of(tmp_path, name)
    moments = random.Random(20_261_126)
    with producing(kinesis, name, 1):
        for turn in range(4):
            with worker(project) as running:
                running.ready()
                before = landed(project)
                running.wait_for(lambda least=before: landed(project) > least)  # type: ignore[misc]
                if turn == 1:
                    kinesis.split(name, "shardId-000000000001")
                time.sleep(moments.uniform(0, 1))
                assert running.stop(signal.SIGKILL) == -signal.SIGKILL
    with worker(project) as running:
        running.wait_for(lambda: landed(project) == stored(kinesis, name), SECONDS_TO_CATCH_UP)
        assert running.stop() == 0
    assert len(kinesis.content(name)) == 4
    assert_all_is_there(project, kinesis, name)


KILLS = 120


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_kills_of_workers_and_of_kinesis_lose_and_double_nothing(
    tmp_path: Path, own_kinesalite: tuple[Kinesalite, Kinesis]
) -> None:
    """Two workers and the emulator, each killed and started again, with a split and a merge in the middle."""
    server, kinesis = own_kinesalite
    name = kinesis.create(2)
    project = project_of(tmp_path, name)
    chances = random.Random(9)
    killed = {"worker": 0, "kinesalite": 0}
    with producing(kinesis, name, 2) as producer, ExitStack() as stack:
        running = [stack.enter_context(worker(project)) for _ in range(2)]
        for turn in range(KILLS):
            time.sleep(chances.uniform(0, 2.5))
            if turn in {KILLS // 3, 2 * KILLS // 3}:
                with producer.paused:
                    if turn == KILLS // 3:
                        kinesis.split(name, "shardId-000000000000")
                    else:
                        kinesis.merge(name, "shardId-000000000002", "shardId-000000000003")
            if chances.random() < 0.3:
                server.kill()
                time.sleep(chances.uniform(0, 0.5))
                server.start()
                killed["kinesalite"] += 1
                continue
            victim = chances.randrange(2)
            assert running[victim].process.poll() is None, running[victim].said
            running[victim].stop(signal.SIGKILL)
            running[victim] = stack.enter_context(worker(project))
            killed["worker"] += 1
        producer.end()
        end = time.monotonic() + SECONDS_TO_CATCH_UP
        while landed(project) < stored(kinesis, name):
            assert time.monotonic() < end
            time.sleep(1)
        assert [one.stop() for one in running] == [0, 0]
    assert sum(killed.values()) == KILLS
    assert min(killed.values()) > 20
    assert len(kinesis.content(name)) == 5
    assert_all_is_there(project, kinesis, name)
