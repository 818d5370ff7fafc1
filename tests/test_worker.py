"""`dpipe worker` in processes of its own: what lands is processed once, whatever fails, dies or is told to stop."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

import pytest
from dpipe import landing
from dpipe.errors import UnavailableError, UsageError
from dpipe.iceberg import ledger, open_catalog
from dpipe.settings import load_project
from dpipe.stages.audit.verify import verify
from dpipe.stages.init import init
from dpipe.stages.locks import HeldError, held
from dpipe.stages.worker import backoff
from dpipe.stages.worker.freshness import freshness
from dpipe.stages.worker.stop import Stop, Stopped
from dpipe.stages.worker.work import work
from dpipe.state import refused, runs
from dpipe.warehouse import batches
from support import ORDERS, UPSERT, assert_holds, land, make_project, rows_of, run_dpipe
from worker_process import SECONDS_TO_BUILD, Worker, under_way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dpipe.settings import Project

pytest.importorskip("dpipe._kernel")

HEADER = "order_id,day,amount\n"
BAD = HEADER + "x,2013-01-01,1\n" * 3


@contextmanager
def worker(project: Project, *options: str, python: Sequence[str] = ("-m", "dpipe")) -> Iterator[Worker]:
    with under_way(project, "worker", *options, python=python) as found:
        yield found


def land_rows(project: Project, number: int, dataset: str = "orders", rows: int = 3) -> str:
    """A batch of rows with keys that no other number has."""
    path = project.root / f"{dataset}-{number}.csv"
    keys = range(number * rows, (number + 1) * rows)
    path.write_text(HEADER + "".join(f"{key},2013-01-{key % 28 + 1:02},1\n" for key in keys))
    return landing.land_file(project, dataset, path).manifest.batch_id


def committed(project: Project, dataset: str = "orders") -> set[str]:
    return ledger.batch_ids(open_catalog(project), dataset)


def counted(workers: Sequence[Worker]) -> int:
    """Batches that the workers say they committed."""
    return sum(result["batches"] for one in workers for done in one.rounds for result in done["datasets"])


def assert_once(project: Project, batch_ids: set[str], dataset: str = "orders", rows: int = 3) -> None:
    """Every landed batch is in the ledger, every record in raw, each once."""
    assert committed(project, dataset) == batch_ids
    found = [(row["_dpipe_batch_id"], row["_dpipe_record_no"]) for row in rows_of(project, "raw", dataset)]
    assert sorted(found) == sorted((batch, number) for batch in batch_ids for number in range(1, rows + 1))


def two_datasets(folder: Path) -> Project:
    return make_project(folder, {"orders": ORDERS, "returns": ORDERS.replace("orders", "returns")})


def test_what_lands_while_it_runs_is_processed_within_seconds(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with worker(project) as running:
        running.ready()
        time.sleep(0.5)  # idle rounds, of which nothing is recorded
        ids = set()
        for number in range(3):
            ids.add(land_rows(project, number))
            landed_at = time.monotonic()
            running.wait_for(lambda: counted([running]) == len(ids))
            # Without the work itself, which takes as long as the machine needs.
            assert time.monotonic() - landed_at - running.rounds[-1]["seconds"] < 10
        assert running.stop() == 0
    assert_once(project, ids)
    assert_holds(project)
    recorded = runs.latest(project)
    assert [run["run_id"] for run in recorded] == [done["run_id"] for done in running.rounds[::-1]]
    assert {(run["command"], run["status"]) for run in recorded} == {("worker", "succeeded")}


@pytest.mark.long
def test_what_lands_in_s3_is_processed_too(tmp_path: Path, rest: Callable[[], dict[str, str]]) -> None:
    project = make_project(tmp_path, settings=rest())
    with worker(project) as running:
        running.ready()
        ids = set()
        for number in range(3):
            ids.add(land_rows(project, number))
            running.wait_for(lambda: counted([running]) == len(ids))
        assert running.stop() == 0
    assert_once(project, ids)
    assert_holds(project)


def test_the_first_signal_lets_a_commit_end_and_begins_no_other(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"orders": UPSERT})
    # Each replaces the row of the one before, so that it is a commit of its own.
    ids = {land(project, f"order_id,day,amount\n1,2013-01-01,{number}\n") for number in range(60)}
    with worker(project) as running:
        running.wait_for(lambda: project.lake.exists() and committed(project))
        assert running.stop() == 0
    assert 0 < len(committed(project)) < len(ids)
    assert runs.latest(project)[0]["status"] == "succeeded"
    assert_holds(project)
    (result,) = running.rounds[0]["datasets"]
    assert result["batches"] == len(committed(project))


STUCK = """
import time
from dpipe.app import main
from dpipe.stages import process

def commit_group(*_):
    print("stuck", flush=True, file=__import__("sys").stderr)
    time.sleep(60)

process.commit_group = commit_group
main()
"""


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    land_rows(project, 1)
    with worker(project, python=("-c", STUCK)) as running:
        running.wait_for(lambda: "stuck" in running.said)
        running.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(1)
        assert running.stop() == 130
    assert 130 in [run["exit_code"] for run in runs.latest(project)[:2]]


def test_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    moments = random.Random(20_130_103)
    numbers, ids = count(), set()
    for _ in range(3):
        with worker(project) as running:
            running.ready()
            end = time.monotonic() + moments.uniform(0.2, 2)
            while time.monotonic() < end:
                ids.add(land_rows(project, next(numbers)))
                time.sleep(moments.uniform(0, 0.1))
            assert running.stop(signal.SIGKILL) == -signal.SIGKILL
    with worker(project) as running:
        running.wait_for(lambda: committed(project) == ids)
        assert running.stop() == 0
    assert_once(project, ids)
    assert_holds(project)


def test_two_workers_at_once_share_the_work(tmp_path: Path) -> None:
    project = two_datasets(tmp_path)
    with worker(project) as one, worker(project) as other:
        ids: dict[str, set[str]] = {"orders": set(), "returns": set()}
        one.ready()
        other.ready()
        for number in range(15):
            for name, landed in ids.items():
                landed.add(land_rows(project, number, name))
            time.sleep(0.1)
        one.wait_for(lambda: all(committed(project, name) == landed for name, landed in ids.items()))
        assert (one.stop(), other.stop()) == (0, 0)
    for name, landed in ids.items():
        assert_once(project, landed, name)
    assert counted([one, other]) == 30
    assert [audit.findings for audit in verify(project)] == [[], []]
    # A run for each round that did something, and none for finding that the other one was quicker.
    assert len(runs.latest(project, 1000)) == len(one.rounds) + len(other.rounds)


def test_it_goes_on_to_the_next_dataset_when_another_process_holds_one(tmp_path: Path) -> None:
    project = two_datasets(tmp_path)
    orders, returns = land_rows(project, 1), land_rows(project, 1, "returns")
    with ExitStack() as holding:
        holding.enter_context(held(project, "orders"))  # before the worker looks for the first time
        with worker(project) as running:
            running.wait_for(lambda: running.rounds)
            assert [result["dataset"] for result in running.rounds[0]["datasets"]] == ["returns"]
            holding.close()
            running.wait_for(lambda: len(running.rounds) == 2)
            assert running.stop() == 0
    assert_once(project, {orders})
    assert_once(project, {returns}, "returns")


def test_a_broken_contract_is_said_once_and_stops_no_other_dataset(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"broken": "kind: DataContract\n"})
    with worker(project) as running:
        running.wait_for(lambda: "`broken` is left alone" in running.said)
        make_project(tmp_path, {"orders": ORDERS})  # a contract that comes later is picked up
        orders = land_rows(project, 1)
        running.wait_for(lambda: running.rounds)
        time.sleep(0.5)
        assert running.said.count("warning: `broken`") == 1
        assert "hint: " in running.said
        make_project(tmp_path, {"broken": ORDERS.replace("orders", "broken")})
        mended = land_rows(project, 1, "broken")
        running.wait_for(lambda: len(running.rounds) == 2)
        assert "`broken` goes on" in running.said
        assert running.stop() == 0
    assert_once(project, {orders})
    assert_once(project, {mended}, "broken")


def test_once_says_what_it_did_and_ends_with_the_usual_exit_code(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    good, bad = land_rows(project, 1), land(project, BAD, "bad.csv")
    done = run_dpipe(project, "worker", "--once", "--json")
    assert done.returncode == 1
    assert f"refused 1 batch(es): `{bad}`" in done.stderr
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    (result,) = found["datasets"]
    assert (result["dataset"], result["batches"], result["accepted"]) == ("orders", 1, 3)
    assert [refusal["batch_id"] for refusal in result["refused"]] == [bad]
    assert isinstance(result["snapshot_id"], int)
    assert (found["published"], found["freshness"], found["problems"]) == (None, None, [])
    assert runs.stages(project, found["run_id"])[0]["stage"] == "process"
    later = land_rows(project, 2)
    done = run_dpipe(project, "worker", "--once")
    assert (done.returncode, done.stderr) == (0, "")  # the refused one was told of, and stays out
    assert done.stdout.startswith("orders: committed: 1 batch(es), 3 records in = 3 accepted")
    assert_once(project, {good, later})
    assert [batch.batch_id for batch in refused.listed(project)] == [bad]


def test_a_refused_batch_is_taken_up_again_only_when_somebody_asks(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    bad = land(project, BAD, "bad.csv")
    with worker(project) as running:
        running.wait_for(lambda: running.rounds)
        time.sleep(0.5)
        assert len(running.rounds) == 1
        assert running.said.count("is refused") == 1
        refused.forget(project, "orders", bad)
        running.wait_for(lambda: len(running.rounds) == 2)
        assert running.stop() == 0
    assert [len(done["datasets"][0]["refused"]) for done in running.rounds] == [1, 1]
    assert [run["exit_code"] for run in runs.latest(project)] == [1, 1]


def test_an_outage_is_said_and_waited_for(tmp_path: Path) -> None:
    project = make_project(tmp_path, settings={"catalog_uri": "http://127.0.0.1:9"})
    land_rows(project, 1)
    with worker(project) as running:
        running.wait_for(lambda: "hint: " in running.said)
        assert "warning: `orders` is tried again in" in running.said
        assert "did not answer" in running.said
        time.sleep(1.5)  # another try
        assert running.stop() == 0
    assert running.rounds == []
    with pytest.raises(UnavailableError):
        work_here(project, once=True)


def test_after_an_outage_it_goes_on(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    landed = land_rows(project, 1)
    in_the_way = project.data_dir / "catalog.db"
    in_the_way.mkdir()
    with worker(project) as running:
        running.wait_for(lambda: "the Iceberg catalog can't be used" in running.said)
        in_the_way.rmdir()
        running.wait_for(lambda: running.rounds)
        assert running.stop() == 0
    assert running.said.count("warning: ") == 1
    assert "`orders` goes on" in running.said
    assert_once(project, {landed})


BROKEN_ONCE = """
from dpipe.app import main
from dpipe.stages.worker import rounds
real, calls = rounds.process, []

def process(project, names, **options):
    calls.append(names)
    if len(calls) == 1:
        raise ZeroDivisionError("division by zero")
    return real(project, names, **options)

rounds.process = process
main()
"""


def test_an_unforeseen_error_is_said_and_tried_again(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    landed = land_rows(project, 1)
    with worker(project, python=("-c", BROKEN_ONCE)) as running:
        running.wait_for(lambda: len(running.rounds) == 2)
        assert running.stop() == 0
    assert "internal error: ZeroDivisionError" in running.rounds[0]["problems"][0]
    assert "`orders` goes on" in running.said
    assert [run["status"] for run in runs.latest(project)] == ["succeeded", "failed"]
    assert_once(project, {landed})


@pytest.mark.long
def test_marts_follow_and_their_freshness_is_recorded(tmp_path: Path) -> None:
    """A failing model first, then two publications; the next is given up, since a signal comes in the middle.

    Commits don't wait for a build.
    """
    project = load_project(init(tmp_path / "flights").folder)
    for name in project.datasets():
        landing.land_file(project, name, project.root / "data" / f"{name}.csv")
    model = next(project.transform.rglob("dim_airline.sql"))
    sql = model.read_text()
    model.write_text("{{ nonsense(")
    with worker(project, "--transform-every", "0") as running:
        running.wait_for(lambda: len(running.rounds) == 2, SECONDS_TO_BUILD)
        processed, first = running.rounds
        assert sum(result["batches"] for result in processed["datasets"]) == 5
        assert (first["datasets"], first["published"]) == ([], None)
        assert len(first["problems"]) == 1
        assert "warning: the marts are not published: " in running.said
        model.write_text(sql)
        time.sleep(0.5)
        assert len(running.rounds) == 2  # the next commits have it tried again
        land_airline(project, "YY")
        running.wait_for(lambda: running.said.count("dpipe worker: transform …") == 2)
        land_airline(project, "XX")
        running.wait_for(lambda: len(running.rounds) == 4)
        assert [done["datasets"][0]["batches"] for done in running.rounds[2:]] == [1, 1]
        running.wait_for(lambda: len(running.rounds) == 6, SECONDS_TO_BUILD)
        published = running.rounds[4:]
        held_now = batches.contents(project.marts)
        assert len(held_now.batches) == 7
        land_airline(project, "ZZ")
        running.wait_for(lambda: running.said.count("dpipe worker: transform …") == 4)
        told_at = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - told_at < 15
    assert [done["published"]["path"] for done in published] == [str(project.marts)] * 2
    assert [done["freshness"]["batches"] for done in published] == [6, 1]
    for told in (done["freshness"] for done in published):
        assert 0 < told["p50"] <= told["p95"] <= told["max"]
    (stage,) = [
        stage for stage in runs.stages(project, published[0]["run_id"]) if stage["stage"] == "freshness"
    ]
    assert stage["detail"] == published[0]["freshness"]
    assert "freshness" in run_dpipe(project, "runs", "show", published[0]["run_id"]).stdout
    assert batches.contents(project.marts) == held_now
    assert runs.find(project, first["run_id"])["status"] == "failed"
    assert 130 in [run["exit_code"] for run in runs.latest(project)[:2]]


def land_airline(project: Project, carrier: str) -> None:
    path = project.root / f"{carrier}.csv"
    path.write_text(f"carrier,name\n{carrier},Airline {carrier}\n")
    landing.land_file(project, "airlines", path)


def work_here(project: Project, *datasets: str, once: bool = False) -> None:
    """Work in this process, which no signal reaches."""
    work(project, datasets, stop=Stop(), poll=0.1, transform_every=None, once=once, on_round=lambda _: None)


def test_an_unknown_dataset_ends_it_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no dataset `nonsense`"):
        work_here(make_project(tmp_path), "nonsense")


def test_freshness_is_by_nearest_rank() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    found = freshness([now - timedelta(seconds=number) for number in range(1, 101)], now)
    assert found is not None
    assert (found.batches, found.p50, found.p95, found.max) == (100, 50, 95, 100)
    assert freshness([], now) is None


def test_pauses_double_up_to_a_minute_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = backoff.Backoff()
    assert pauses.is_due("orders")
    found = [pauses.failed("orders") for _ in range(12)]
    for number, pause in enumerate(found):
        assert min(60, 2**number) / 2 <= pause <= min(60, 2**number)
    assert len(set(found)) == 12
    assert not pauses.is_due("orders")
    assert pauses.is_due("returns")
    pauses.worked("orders")
    assert pauses.is_due("orders")
    assert pauses.failed("orders") <= 1


def test_a_lock_that_is_held_can_be_passed_by(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with held(project, "orders"), pytest.raises(HeldError), held(project, "orders", wait=False):
        pass
    with held(project, "orders", wait=False):
        pass


def test_a_signal_interrupts_a_sleep_and_what_may_be_interrupted() -> None:
    stop = Stop()
    with stop.listening():
        with pytest.raises(Stopped), stop.interruptible():
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.is_requested()
        stop.sleep(60)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
