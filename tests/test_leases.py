"""Leases on shards: one worker has each, shares are fair, checkpoints never go back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from dpipe.errors import UnavailableError
from dpipe.stages.consume.order import key_of, readable
from dpipe.stages.worker.shares import wanted
from dpipe.state import leases, open_state
from dpipe.state.leases import Feed, Lease, ShardKey
from dpipe.streams import Shard
from support import make_project

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

FEED = Feed("orders", "arn:aws:kinesis:us-east-1:000000000000:stream/orders")
KEYS = [ShardKey(f"shardId-{number:012}", str(100 + number)) for number in range(6)]
NOW = datetime.now(UTC)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = open_state(make_project(tmp_path))
    leases.synchronised(engine, FEED, KEYS)
    return engine


def by_key(engine: Engine) -> dict[ShardKey, Lease]:
    return {lease.key: lease for lease in leases.listed(engine, FEED)}


def test_of_many_that_want_a_lease_one_gets_it(engine: Engine) -> None:
    for _ in range(5):
        lease = by_key(engine)[KEYS[0]]
        take = partial(leases.take, engine, FEED, lease, seconds=10)
        with ThreadPoolExecutor(8) as pool:
            took = list(pool.map(take, map(str, range(8))))
        assert sum(took) == 1
        assert by_key(engine)[KEYS[0]].owner == str(took.index(True))


def test_only_the_owner_renews_and_gives_back(engine: Engine) -> None:
    for key in KEYS[:2]:
        assert leases.take(engine, FEED, by_key(engine)[key], "one", 0)
    assert not by_key(engine)[KEYS[0]].is_held(datetime.now(UTC))  # it has run out
    assert leases.take(engine, FEED, by_key(engine)[KEYS[0]], "other", 10)
    assert leases.renew(engine, FEED, KEYS, "one", 10) == {KEYS[1]}
    leases.give_back(engine, FEED, KEYS, "one")
    found = by_key(engine)
    assert (found[KEYS[0]].owner, found[KEYS[1]].owner) == ("other", None)
    assert found[KEYS[0]].is_held(datetime.now(UTC))


def test_a_lease_that_was_renewed_meanwhile_is_not_taken(engine: Engine) -> None:
    assert leases.take(engine, FEED, by_key(engine)[KEYS[0]], "one", 0)
    seen = by_key(engine)[KEYS[0]]
    leases.renew(engine, FEED, KEYS, "one", 10)
    assert not leases.take(engine, FEED, seen, "other", 10)


def test_a_checkpoint_never_goes_back(engine: Engine) -> None:
    for checkpoint in ("99", "100", "9", "20"):  # as numbers, which they are
        leases.save(engine, FEED, KEYS[0], checkpoint)
    assert by_key(engine)[KEYS[0]].checkpoint == "100"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at: leases.save(engine, FEED, KEYS[0], str(at)), range(101, 141)))
    assert by_key(engine)[KEYS[0]].checkpoint == "140"
    leases.save(engine, FEED, ShardKey("gone", "1"), "5")
    assert len(by_key(engine)) == len(KEYS)


def test_a_finished_shard_is_nobodys(engine: Engine) -> None:
    leases.take(engine, FEED, by_key(engine)[KEYS[0]], "one", 10)
    leases.finish(engine, FEED, KEYS[0])
    lease = by_key(engine)[KEYS[0]]
    assert (lease.owner, lease.finished) == (None, True)
    assert not leases.take(engine, FEED, lease, "other", 10)
    assert leases.renew(engine, FEED, KEYS[:1], "one", 10) == set()


def test_shards_come_and_go_with_the_stream(engine: Engine) -> None:
    leases.finish(engine, FEED, KEYS[0])
    other = Feed("returns", FEED.stream)
    leases.synchronised(engine, other, KEYS[:1])
    again = ShardKey(KEYS[2].shard, "999")  # of a stream that was made again
    gone = leases.synchronised(engine, FEED, [again, *KEYS[3:]])
    assert [lease.key for lease in gone] == KEYS[1:3]
    assert list(by_key(engine)) == [again, *KEYS[3:]]
    assert [(feed.dataset, lease.key) for feed, lease in leases.every(engine)] == [
        *(("orders", key) for key in by_key(engine)),
        ("returns", KEYS[0]),
    ]


def test_workers_that_note_shards_at_once_note_them_once(tmp_path: Path) -> None:
    engine = open_state(make_project(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: leases.synchronised(engine, FEED, KEYS), range(16)))
    assert list(by_key(engine)) == KEYS


def test_a_database_that_fails_is_an_outage(engine: Engine) -> None:
    path = engine.url.database
    assert path is not None
    with open(path, "r+b") as file:  # noqa: PTH123
        file.write(b"no database" * 1000)
    with pytest.raises(UnavailableError, match="can't be used"):
        leases.listed(engine, FEED)


def held(number: int, owner: str | None, *, seconds: float = 10) -> Lease:
    until = None if owner is None else NOW + timedelta(seconds=seconds)
    return Lease(ShardKey(f"shard {number}", "1"), owner, 1, until, None, finished=False, changed_at=NOW)


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        ([], []),
        ([None] * 4, [0, 1, 2, 3]),  # alone: all
        (["a", None, None, None], [1, 2]),
        (["a", "a", "me", None], [3]),
        (["a", "a", "a", "a"], [0]),  # one at a time
        (["a", "a", "a", "me"], [0]),
        (["a", "a", "me", "me"], []),
        (["a", "b", "b"], [1]),  # from who has more
        (["a"], []),  # more workers than shards
        (["a", "a", "b", "b", "b", "b"], [2]),
        (["me", "me", "me", None], [3]),
    ],
)
def test_shares_are_fair(owners: list[str | None], expected: list[int]) -> None:
    found = wanted([held(number, owner) for number, owner in enumerate(owners)], "me", NOW)
    assert [int(lease.key.shard.split()[1]) for lease in found] == expected


def test_what_has_run_out_is_free(tmp_path: Path) -> None:
    found = wanted([held(0, "dead", seconds=-1), held(1, "dead", seconds=-1), held(2, "me")], "me", NOW)
    assert [lease.key.shard for lease in found] == ["shard 0", "shard 1"]


def test_shares_settle_without_anyone_taking_on_and_on() -> None:
    """Workers look in turn; after some turns nobody takes anything, and the shares differ by one at most."""
    for shards in range(1, 13):
        for workers in range(1, 6):
            owners: list[str | None] = [None] * shards
            for turn in range(100):
                me = str(turn % workers)
                for lease in wanted([held(number, owner) for number, owner in enumerate(owners)], me, NOW):
                    owners[int(lease.key.shard.split()[1])] = me
            before = list(owners)
            for turn in range(workers):
                found = [held(number, owner) for number, owner in enumerate(owners)]
                assert wanted(found, str(turn), NOW) == []
            counts = sorted(before.count(str(worker)) for worker in range(workers))
            assert counts[-1] - counts[0] <= 1


def shard(number: int, *parents: int, closed: bool = False) -> Shard:
    return Shard(f"shard {number}", str(number), closed, tuple(f"shard {parent}" for parent in parents))


def test_a_shard_waits_for_all_its_parents_that_are_there() -> None:
    shards = [
        shard(1, closed=True),
        shard(2, closed=True),
        shard(3, 1, 2),
        shard(4, 0),  # whose parent is gone
        shard(5, 0, 4),
    ]

    def names(*finished: int) -> list[int]:
        done = {key_of(one) for one in shards if int(one.starting) in finished}
        return [int(one.starting) for one in readable(shards, done)]

    assert names() == [1, 2, 4]
    assert names(1) == [2, 4]
    assert names(1, 2) == [3, 4]
    assert names(1, 2, 4) == [3, 5]
