"""Streams are landed: each record once, whoever reads it, from wherever they begin, whatever fails on the way."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from aws_kinesis_agg.aggregator import RecordAggregator
from botocore.exceptions import ClientError
from dpipe import landing
from dpipe.doctor import examine
from dpipe.errors import ConfigError, DpipeError, UnavailableError
from dpipe.settings import load_project
from dpipe.stages.consume.chains import Chains
from dpipe.stages.consume.drain import consumer_of, drain
from dpipe.stages.consume.halt import Halt
from dpipe.stages.consume.order import key_of
from dpipe.state import leases, open_state, runs
from dpipe.streams import StreamPlace, reader, stream_place
from stream_support import (
    Faulty,
    Kinesis,
    assert_landed_once,
    chain,
    order,
    payload,
    place,
    stream,
)
from support import ORDERS, assert_holds, make_project, processed, rows_of, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dpipe.settings import Project
    from dpipe.streams import Stream
    from servers import SeaweedFS

pytest.importorskip("dpipe._kernel")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator may be asked as often as one likes."""
    monkeypatch.setattr(reader, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path, settings={"stream_max_records": 7, "max_rejected_share": 1})


def drained(project: Project, source: Stream, dataset: str = "orders") -> list[landing.Landed]:
    found: list[landing.Landed] = []
    drain(project, dataset, source, halt=Halt(), on_landed=found.append)
    return found


def forget_state(project: Project) -> None:
    for path in project.data_dir.glob("state.db*"):
        path.unlink()


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "as the test wants"}}, "GetRecords")


def test_a_stream_lands_in_batches_that_join(project: Project, kinesis: Kinesis) -> None:
    name = kinesis.create(3)
    kinesis.put(name, *map(order, range(100)))
    landed = drained(project, stream(name))
    assert_landed_once(project, kinesis.content(name))
    assert len(landed) == sum(map(len, chain(project).values())) >= 100 // 7
    manifest = landed[0].manifest
    assert (manifest.kind, manifest.format, manifest.compression) == ("stream", "ndjson", "none")
    assert manifest.source == f"kinesis://{name}/{place(manifest).shard}"
    assert place(manifest).stream == f"arn:aws:kinesis:us-east-1:000000000000:stream/{name}"
    result = processed(project)
    assert (result.records_in, result.accepted) == (100, 100)
    assert_holds(project)


def test_what_comes_later_is_read_from_the_checkpoint(project: Project, kinesis: Kinesis) -> None:
    name = kinesis.create()
    for first in (0, 10, 20):
        kinesis.put(name, *map(order, range(first, first + 10)))
        assert all(not one.already for one in drained(project, stream(name)))
    assert drained(project, stream(name)) == []
    assert_landed_once(project, kinesis.content(name))


def test_a_lost_state_database_loses_and_doubles_nothing(project: Project, kinesis: Kinesis) -> None:
    name = kinesis.create(2)
    kinesis.put(name, *map(order, range(50)))
    drained(project, stream(name))
    before = chain(project)
    forget_state(project)
    assert drained(project, stream(name)) == []
    assert chain(project) == before
    kinesis.put(name, *map(order, range(50, 70)))
    forget_state(project)
    drained(project, stream(name))
    assert_landed_once(project, kinesis.content(name))


def test_an_older_checkpoint_walks_along_what_has_landed(project: Project, kinesis: Kinesis) -> None:
    name = kinesis.create()
    kinesis.put(name, *map(order, range(40)))
    drained(project, stream(name))
    batches = chain(project)["shardId-000000000000"]
    kinesis.put(name, *map(order, range(40, 60)))
    larger = load_project(project.root, overrides={"stream_max_records": 1000})
    consume(larger, stream(name), place(batches[1]).last)
    assert chain(project)["shardId-000000000000"][: len(batches)] == batches
    assert_landed_once(project, kinesis.content(name))


def consume(project: Project, source: Stream, checkpoint: str | None, halt: Halt | None = None) -> None:
    """Consume the stream's only shard from a checkpoint up to the tip, as a worker does that knows no better."""
    (shard,) = source.shards()
    engine, feed = open_state(project), leases.Feed("orders", source.arn)
    leases.synchronised(engine, feed, [key_of(shard)])
    consumer = consumer_of(
        Chains(project, "orders"), engine, feed, source, shard, checkpoint, halt=halt or Halt()
    )
    consumer.run(source.time())


@pytest.mark.parametrize("sizes", [(7, 5), (3, 11)])
def test_a_consumer_that_was_slower_goes_on_where_the_landed_batch_ends(
    project: Project, kinesis: Kinesis, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int]
) -> None:
    """When it lands its first batch, another one has landed all, in batches with fewer records, or with more."""
    name = kinesis.create()
    kinesis.put(name, *map(order, range(40)))
    ours, others = (load_project(project.root, overrides={"stream_max_records": size}) for size in sizes)
    real: Callable[..., landing.Landed] = landing.land_records

    def late(*arguments: Any, **options: Any) -> landing.Landed:
        monkeypatch.setattr(landing, "land_records", real)
        drain(others, "orders", stream(name), halt=Halt())
        kinesis.put(name, *map(order, range(40, 60)))
        return real(*arguments, **options)

    monkeypatch.setattr(landing, "land_records", late)
    first, *rest = drained(ours, stream(name))
    assert first.already
    assert all(not one.already for one in rest)
    assert [place(one).records for one in chain(project)["shardId-000000000000"]][:3] == [sizes[1]] * 3
    assert_landed_once(project, kinesis.content(name))


def race(project: Project, kinesis: Kinesis, name: str, seed: int) -> None:
    """Two consumers of one shard that know nothing of each other, and cut it in other places each time."""
    rounds = random.Random(seed)
    barrier = threading.Barrier(2)

    def consumer(number: int) -> None:
        own = random.Random(seed * 10 + number)

        def fewer(operation: str, request: dict[str, Any], real: Callable[..., Any]) -> Any:
            if operation == "get_records":
                request["Limit"] = own.randint(1, 9)
            return real(**request)

        settings = {"stream_max_records": own.randint(1, 12), "stream_max_seconds": 0.05}
        source = stream(name, Faulty(kinesis.client, fewer))
        barrier.wait()
        consume(load_project(project.root, overrides=settings), source, None)

    kinesis.put(name, *map(order, range(seed * 100, seed * 100 + rounds.randint(20, 60))))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(consumer, range(2)))


def test_two_consumers_of_one_shard_race_and_make_one_chain(project: Project, kinesis: Kinesis) -> None:
    name = kinesis.create()
    open_state(project)
    for seed in range(6):
        race(project, kinesis, name, seed)
        assert_landed_once(project, kinesis.content(name))
    result = processed(project)
    assert result.records_in == result.accepted == len(kinesis.content(name)["shardId-000000000000"])
    assert_holds(project)


def test_they_race_in_s3_too(
    tmp_path: Path, kinesis: Kinesis, bucket: Callable[[], dict[str, str]], server: SeaweedFS
) -> None:
    project = make_project(tmp_path, settings=bucket())
    name = kinesis.create()
    for seed in range(2):
        race(project, kinesis, name, seed)
    result = processed(project)
    content = kinesis.content(name)["shardId-000000000000"]
    assert result.records_in == result.accepted == len(content)
    batches = chain(project)["shardId-000000000000"]
    assert [place(batches[0]).first, place(batches[-1]).last] == [content[0][0], content[-1][0]]
    assert sum(place(batch).records for batch in batches) == len(content)
    assert_holds(project)


def test_a_batch_whose_beginning_has_left_the_stream_is_found_all_the_same(
    project: Project, kinesis: Kinesis
) -> None:
    """The checkpoint is older than the stream's oldest record, which is in the middle of a batch that has landed."""
    name = kinesis.create()
    kinesis.put(name, *map(order, range(30)))
    drained(project, stream(name))
    content = kinesis.content(name)
    batches = chain(project)["shardId-000000000000"]
    kinesis.put(name, *map(order, range(30, 40)))
    gone = int(content["shardId-000000000000"][16][0])

    def trimmed(operation: str, request: dict[str, Any], real: Callable[..., Any]) -> Any:
        answer = real(**request)
        if operation == "get_records":
            answer["Records"] = [one for one in answer["Records"] if int(one["SequenceNumber"]) > gone]
            for one in answer["Records"]:
                one["ApproximateArrivalTimestamp"] -= timedelta(hours=23)
        return answer

    consume(project, stream(name, Faulty(kinesis.client, trimmed)), place(batches[0]).last)
    assert_landed_once(project, kinesis.content(name))


def test_old_records_are_read_without_a_look_at_what_has_landed_when_the_stream_has_all(
    project: Project, kinesis: Kinesis, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = kinesis.create()
    kinesis.put(name, *map(order, range(10)))
    drained(project, stream(name))
    kinesis.put(name, *map(order, range(10, 20)))

    def old(operation: str, request: dict[str, Any], real: Callable[..., Any]) -> Any:
        answer = real(**request)
        for one in answer.get("Records", ()):
            one["ApproximateArrivalTimestamp"] -= timedelta(hours=23)
        return answer

    end = place(chain(project)["shardId-000000000000"][-1]).last
    monkeypatch.setattr(Chains, "end", lambda *_: pytest.fail("every manifest was read"))
    consume(project, stream(name, Faulty(kinesis.client, old)), end)
    assert_landed_once(project, kinesis.content(name))


def test_children_are_read_after_their_parents_whatever_was_split_and_merged(
    project: Project, kinesis: Kinesis
) -> None:
    name = kinesis.create(2)
    numbers = iter(range(1000))

    def put(count: int) -> None:
        kinesis.put(name, *(order(next(numbers)) for _ in range(count)))

    put(30)
    kinesis.split(name, "shardId-000000000000")
    put(30)
    drained(project, stream(name))
    put(10)
    kinesis.merge(name, "shardId-000000000002", "shardId-000000000003")
    put(30)
    kinesis.split(name, "shardId-000000000004")
    put(30)
    drained(project, stream(name))
    assert_landed_once(project, kinesis.content(name))
    landed = chain(project)
    for shard in stream(name).shards():
        for parent in shard.parents:
            assert landed[parent][-1].received_at < landed[shard.shard_id][0].received_at
    result = processed(project)
    assert (result.records_in, result.accepted) == (130, 130)
    assert_holds(project)


def test_a_closed_shard_is_finished_and_forgotten_when_it_is_gone(
    project: Project, kinesis: Kinesis, capsys: pytest.CaptureFixture[str]
) -> None:
    name = kinesis.create()
    source = stream(name)
    kinesis.put(name, *map(order, range(10)))
    kinesis.split(name, "shardId-000000000000")
    drained(project, source)
    engine, feed = open_state(project), leases.Feed("orders", source.arn)
    assert [lease.finished for lease in leases.listed(engine, feed)] == [True, False, False]

    def later(operation: str, request: dict[str, Any], real: Callable[..., Any]) -> Any:
        answer = real(**request)
        if operation == "list_shards":
            del answer["Shards"][0]
        return answer

    kinesis.put(name, *map(order, range(10, 20)))
    drained(project, stream(name, Faulty(kinesis.client, later)))
    assert [lease.key.shard[-1] for lease in leases.listed(engine, feed)] == ["1", "2"]
    assert "warning" not in capsys.readouterr().err
    assert_landed_once(project, kinesis.content(name))


def test_a_shard_that_went_unread_is_said(
    project: Project, kinesis: Kinesis, capsys: pytest.CaptureFixture[str]
) -> None:
    source = stream(kinesis.create())
    engine, feed = open_state(project), leases.Feed("orders", source.arn)
    leases.synchronised(engine, feed, [leases.ShardKey("shardId-000000000009", "1")])
    drained(project, source)
    assert "`shardId-000000000009`" in capsys.readouterr().err


def test_a_stream_that_is_made_again_under_its_name_is_read_from_its_beginning(
    project: Project, kinesis: Kinesis
) -> None:
    name = kinesis.create()
    kinesis.put(name, *map(order, range(10)))
    drained(project, stream(name))
    old = kinesis.content(name)["shardId-000000000000"]
    kinesis.client.delete_stream(StreamName=name)
    time.sleep(1.1)  # shards are told apart by the second in which they were made
    kinesis.client.create_stream(StreamName=name, ShardCount=1)
    kinesis.settled(name)
    kinesis.put(name, *map(order, range(10, 30)))
    drained(project, stream(name))
    new = kinesis.content(name)["shardId-000000000000"]
    batches = chain(project)["shardId-000000000000"]
    assert payload(project, batches) == b"".join(data + b"\n" for _, data in old + new)


def test_one_stream_may_feed_two_datasets(tmp_path: Path, kinesis: Kinesis) -> None:
    project = make_project(tmp_path, {"orders": ORDERS, "returns": ORDERS.replace("orders", "returns")})
    name = kinesis.create()
    kinesis.put(name, *map(order, range(10)))
    for dataset in project.datasets():
        drained(project, stream(name), dataset)
        assert_landed_once(project, kinesis.content(name), dataset)


def test_throttling_and_expired_iterators_only_take_time(
    project: Project, kinesis: Kinesis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MOST_SECONDS", 0.02)
    name = kinesis.create(2)
    kinesis.put(name, *map(order, range(200)))
    chances = random.Random(7)
    raised: Counter[str] = Counter()

    def unwilling(operation: str, request: dict[str, Any], real: Callable[..., Any]) -> Any:
        if operation == "get_records":
            request["Limit"] = 9
        if operation in {"get_records", "get_shard_iterator"} and chances.random() < 0.5:
            codes = ["ProvisionedThroughputExceededException"]
            if operation == "get_records":
                codes.append("ExpiredIteratorException")
            raised[code := chances.choice(codes)] += 1
            raise client_error(code)
        return real(**request)

    source = stream(name, Faulty(kinesis.client, unwilling))
    drained(project, source)
    assert_landed_once(project, kinesis.content(name))
    assert min(raised["ProvisionedThroughputExceededException"], raised["ExpiredIteratorException"]) > 5


def test_an_answer_without_records_is_not_taken_for_the_tip(project: Project, kinesis: Kinesis) -> None:
    name = kinesis.create()
    kinesis.put(name, *map(order, range(20)))
    answers = itertools.count()

    def behind(operation: str, request: dict[str, Any], real: Callable[..., Any]) -> Any:
        if operation == "get_records" and next(answers) < 3:
            return {"Records": [], "NextShardIterator": request["ShardIterator"], "MillisBehindLatest": 5000}
        return real(**request)

    drained(project, stream(name, Faulty(kinesis.client, behind)))
    assert_landed_once(project, kinesis.content(name))


def test_reading_to_the_tip_ends_although_more_keeps_coming(project: Project, kinesis: Kinesis) -> None:
    name = kinesis.create()
    kinesis.put(name, order(0))
    numbers = itertools.count(1)

    def ahead(operation: str, request: dict[str, Any], real: Callable[..., Any]) -> Any:
        if operation == "get_records":
            kinesis.put(name, order(next(numbers)))
        answer = real(**request)
        for one in answer.get("Records", ()):  # each comes an hour after the one before
            hours = json.loads(one["Data"])["order_id"]
            one["ApproximateArrivalTimestamp"] = datetime.now(UTC) + timedelta(hours=hours)
        return answer

    drained(project, stream(name, Faulty(kinesis.client, ahead)))
    assert 2 <= sum(place(one).records for one in chain(project)["shardId-000000000000"]) <= 5


def test_an_outage_in_the_middle_leaves_what_has_landed(project: Project, kinesis: Kinesis) -> None:
    name = kinesis.create()
    kinesis.put(name, *map(order, range(100)))
    answers = itertools.count()

    def broken(operation: str, request: dict[str, Any], real: Callable[..., Any]) -> Any:
        if operation == "get_records":
            request["Limit"] = 30
            if next(answers) == 2:
                raise client_error("InternalFailure")
        return real(**request)

    with pytest.raises(UnavailableError, match="can't be used"):
        drained(project, stream(name, Faulty(kinesis.client, broken)))
    assert sum(place(one).records for one in chain(project)["shardId-000000000000"]) == 56
    drained(project, stream(name))
    assert_landed_once(project, kinesis.content(name))


POISON = [
    b"",
    b"\x00",
    b"not json",
    b"\xff\xfe\xfa",
    b"\r",
    b"{" * 10_000,
    b"\xf3\x89\x9a\xc2 not aggregated" + bytes(16),
    b"\x1f\x8b\x08 not gzip",
    b"\x28\xb5\x2f\xfd not zstd",
    b'{"order_id": "x", "day": "2013-01-01"}',
]


def test_poison_ends_in_quarantine_with_its_bytes(project: Project, kinesis: Kinesis) -> None:
    name = kinesis.create()
    kinesis.put(name, order(1), *POISON, order(2))
    drained(project, stream(name))
    assert_landed_once(project, kinesis.content(name))
    assert drained(project, stream(name)) == []
    result = processed(project)
    assert (result.accepted, result.refused) == (2, ())
    kept = {row["raw"] for row in rows_of(project, "quarantine", "orders")}
    assert kept == {one for one in POISON if one.strip()}
    assert_holds(project)


def test_what_is_aggregated_or_compressed_is_many_records(project: Project, kinesis: Kinesis) -> None:
    aggregator = RecordAggregator()
    for number in range(10):
        aggregator.add_user_record("key", order(number))
    aggregated: bytes = aggregator.clear_and_get().get_contents()[2]
    two = [order(number) + b"\n" + order(number + 1) for number in (10, 12)]
    name = kinesis.create()
    kinesis.put(name, aggregated, gzip.compress(two[0]), zstandard.compress(two[1]), order(14))
    drained(project, stream(name))
    batches = chain(project)["shardId-000000000000"]
    # Ten records of the stream's one, which no batch may cut, then three.
    assert [place(batch).records for batch in batches] == [10, 3]
    assert payload(project, batches) == b"".join(order(number) + b"\n" for number in range(15))
    result = processed(project)
    assert (result.records_in, result.accepted) == (15, 15)
    assert_holds(project)


def test_a_stream_of_empty_records_lands_and_goes_on(project: Project, kinesis: Kinesis) -> None:
    name = kinesis.create()
    kinesis.put(name, *[b""] * 10)
    drained(project, stream(name))
    assert [place(one).records for one in chain(project)["shardId-000000000000"]] == [7, 3]
    assert drained(project, stream(name)) == []
    kinesis.put(name, order(1))
    drained(project, stream(name))
    result = processed(project)
    assert (result.batches, result.records_in, result.accepted, result.refused) == (3, 1, 1, ())
    assert_holds(project)


def test_batches_end_by_bytes_too(tmp_path: Path, kinesis: Kinesis) -> None:
    project = make_project(tmp_path, settings={"stream_max_bytes": 100})
    name = kinesis.create()
    kinesis.put(name, *map(order, range(1000, 1020)), b"x" * 1000)
    drained(project, stream(name))
    size = len(order(1000)) + 1
    assert [one.bytes for one in chain(project)["shardId-000000000000"]] == [2 * size] * 10 + [1001]


def test_a_checkpoint_is_saved_only_when_its_batch_has_landed(
    project: Project, kinesis: Kinesis, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = kinesis.create()
    source = stream(name)
    kinesis.put(name, *map(order, range(20)))
    real: Callable[..., landing.Landed] = landing.land_records
    calls = itertools.count()

    def failing(*arguments: Any, **options: Any) -> landing.Landed:
        if next(calls) == 1:
            raise DpipeError("the disk is full")
        return real(*arguments, **options)

    monkeypatch.setattr(landing, "land_records", failing)
    with pytest.raises(DpipeError, match="full"):
        drained(project, source)
    (lease,) = leases.listed(open_state(project), leases.Feed("orders", source.arn))
    (batch,) = chain(project)["shardId-000000000000"]
    assert lease.checkpoint == place(batch).last


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("position"),
        lambda document: document["position"].pop("last"),
        lambda document: document["position"].update(last="-1"),
        lambda document: document["position"].update(records="7"),
        lambda document: document["position"].update(more=1),
        lambda document: document.update(kind="file"),
    ],
)
def test_a_damaged_position_is_named_and_nothing_lands_over_it(
    project: Project, kinesis: Kinesis, change: Callable[[dict[str, Any]], object]
) -> None:
    name = kinesis.create()
    kinesis.put(name, *map(order, range(10)))
    drained(project, stream(name))
    batch = chain(project)["shardId-000000000000"][0]
    path = project.landing / "orders" / batch.batch_id / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    forget_state(project)
    with pytest.raises(DpipeError, match=f"`{batch.batch_id}` of `orders` is damaged"):
        drained(project, stream(name))
    assert len(landing.batch_ids(project, "orders")) == 2


def test_the_doctor_says_whether_a_stream_answers(tmp_path: Path, kinesis: Kinesis) -> None:
    name = kinesis.create(2)
    streams = {"orders": f"kinesis://{name}", "returns": "kinesis://nowhere"}
    project = make_project(tmp_path, settings={"streams": streams})
    found = {check.name: check for check in examine(lambda: project)}
    assert found["stream of orders"].status == "ok"
    assert found["stream of orders"].detail.endswith(f"stream/{name}, 2 shards")
    assert found["stream of returns"].status == "broken"
    assert "is not there" in found["stream of returns"].detail


def test_the_command_takes_a_stream_and_says_what_landed(project: Project, kinesis: Kinesis) -> None:
    name = kinesis.create(2)
    kinesis.put(name, *map(order, range(20)))
    done = run_dpipe(project, "ingest", "orders", "--from", f"kinesis://{name}?region=us-east-1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert sum(one["manifest"]["position"]["records"] for one in found["batches"]) == 20
    assert {one["already"] for one in found["batches"]} == {False}
    assert_landed_once(project, kinesis.content(name))
    (stage,) = runs.stages(project, found["run_id"])
    assert (stage["detail"]["records"], stage["detail"]["landed"]) == (20, len(found["batches"]))
    kinesis.put(name, order(20))
    done = run_dpipe(project, "ingest", "orders", "--from", f"kinesis://{name}")
    assert done.returncode == 0
    assert [line.split()[-1] for line in done.stdout.splitlines() if "shardId" in line] == ["landed"]
    assert run_dpipe(project, "ingest", "orders", "--from", f"kinesis://{name}").stdout == ""


def test_shards_are_listed_with_what_landed_of_them(project: Project, kinesis: Kinesis) -> None:
    name = kinesis.create()
    kinesis.put(name, order(1))
    kinesis.split(name, "shardId-000000000000")
    drained(project, stream(name))
    found = json.loads(run_dpipe(project, "streams", "list", "orders", "--json").stdout)
    assert [(one["shard"][-1], one["state"], one["owner"]) for one in found] == [
        ("0", "finished", None),
        ("1", "free", None),
        ("2", "free", None),
    ]
    assert found[0]["checkpoint"] == kinesis.content(name)["shardId-000000000000"][0][0]
    engine, feed = open_state(project), leases.Feed("orders", stream(name).arn)
    assert leases.take(engine, feed, leases.listed(engine, feed)[1], "somebody", 60)
    said = run_dpipe(project, "streams", "list").stdout
    assert [line.split()[3] for line in said.splitlines() if "shardId" in line] == [
        "finished",
        "consumed",
        "free",
    ]
    assert "somebody" in said
    assert json.loads(run_dpipe(project, "streams", "list", "returns", "--json").stdout) == []


def test_a_stream_that_is_not_there_is_a_wrong_setting(project: Project, kinesis: Kinesis) -> None:
    done = run_dpipe(project, "ingest", "orders", "--from", "kinesis://no-such-stream")
    assert done.returncode == 2
    assert "`kinesis://no-such-stream` is not there: Stream no-such-stream" in done.stderr
    assert "hint: check its name, the region" in done.stderr


def test_an_endpoint_that_is_down_is_an_outage(project: Project, kinesis: Kinesis) -> None:
    down = {"AWS_ENDPOINT_URL_KINESIS": "http://127.0.0.1:9"}
    done = run_dpipe(project, "ingest", "orders", "--from", "kinesis://orders", environment=down)
    assert done.returncode == 3
    assert "`kinesis://orders` can't be used: Could not connect" in done.stderr
    assert "hint: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ingest", "--from", "kinesis://orders"], "into one dataset"),
        (["ingest", "orders", "a.csv", "--from", "kinesis://orders"], "into one dataset"),
        (["ingest", "orders", "--from", "kafka://orders"], "`kafka://orders` names no stream"),
        (["ingest", "nothing", "--from", "kinesis://orders"], "`nothing`"),
    ],
)
def test_wrong_usage_is_said(project: Project, arguments: list[str], said: str) -> None:
    done = run_dpipe(project, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "hint: " in done.stderr


def test_places_of_streams() -> None:
    assert stream_place("kinesis://Orders.v1") == StreamPlace("Orders.v1")
    assert stream_place("kinesis://o?region=eu-west-1") == StreamPlace("o", "eu-west-1")
    assert str(StreamPlace("o", "eu-west-1")) == "kinesis://o?region=eu-west-1"
    for wrong in (
        "kinesis://",
        "kinesis://a/b",
        "kinesis://a?region=",
        "kinesis://a?zone=1",
        "s3://a",
        "a b",
        "://[",
    ):
        with pytest.raises(ConfigError, match="names no stream"):
            stream_place(wrong)
