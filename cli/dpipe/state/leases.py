"""Leases on the shards of streams: who reads which, until when, and from where.

They save work, and nothing is lost or doubled without them: what has landed says where a shard goes on. Each change is
one conditional update, so that of two workers that want a shard one gets it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from dpipe.errors import UnavailableError
from dpipe.state.schema import stream_leases as table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy import ColumnElement, Connection, Engine

TRIES = 20


@dataclass(frozen=True)
class Feed:
    """A dataset and the stream, by its ARN, that feeds it."""

    dataset: str
    stream: str


@dataclass(frozen=True, order=True)
class ShardKey:
    """A shard. What it began with, `starting`, tells it from one of an earlier stream of the same name."""

    shard: str
    starting: str


@dataclass(frozen=True)
class Lease:
    """What is known of a shard; `owner` is None when nobody has it."""

    key: ShardKey
    owner: str | None
    counter: int
    expires_at: datetime | None
    checkpoint: str | None
    finished: bool
    changed_at: datetime

    def is_held(self, now: datetime) -> bool:
        """Whether somebody reads the shard, as far as one can tell."""
        return self.owner is not None and self.expires_at is not None and now < self.expires_at


def synchronised(engine: Engine, feed: Feed, shards: Collection[ShardKey]) -> list[Lease]:
    """Note shards that are new and forget those that are gone from the stream; those that weren't read to their end."""
    with _connected(engine) as connection:
        known = _listed(connection, feed)
    gone = [lease for lease in known if lease.key not in shards]
    new = set(shards) - {lease.key for lease in known}
    for key in sorted(new):
        try:
            with _connected(engine) as connection:
                row = {
                    "dataset": feed.dataset,
                    "stream": feed.stream,
                    "shard": key.shard,
                    "starting": key.starting,
                }
                connection.execute(
                    insert(table).values(**row, counter=0, finished=False, changed_at=datetime.now(UTC))
                )
        except IntegrityError:
            continue  # another worker was quicker
    if gone:
        with _connected(engine) as connection:
            for lease in gone:
                connection.execute(delete(table).where(*_is(feed, lease.key)))
    return [lease for lease in gone if not lease.finished]


def listed(engine: Engine, feed: Feed) -> list[Lease]:
    """All leases on a stream's shards, by shard."""
    with _connected(engine) as connection:
        return _listed(connection, feed)


def every(engine: Engine) -> list[tuple[Feed, Lease]]:
    """All leases that there are."""
    columns = (table.c.dataset, table.c.stream)
    with _connected(engine) as connection:
        rows = connection.execute(select(*columns).distinct().order_by(*columns)).all()
        feeds = [Feed(row.dataset, row.stream) for row in rows]
        return [(feed, lease) for feed in feeds for lease in _listed(connection, feed)]


def take(engine: Engine, feed: Feed, lease: Lease, owner: str, seconds: float) -> bool:
    """Become the owner of a lease, unless anything about it has changed since it was read; whether that was so."""
    now = datetime.now(UTC)
    change = {"owner": owner, "expires_at": now + timedelta(seconds=seconds), "changed_at": now}
    with _connected(engine) as connection:
        done = connection.execute(
            update(table)
            .where(*_is(feed, lease.key), table.c.counter == lease.counter, table.c.finished.is_(False))
            .values(**change, counter=lease.counter + 1)
        )
        return done.rowcount == 1


def renew(
    engine: Engine, feed: Feed, keys: Collection[ShardKey], owner: str, seconds: float
) -> set[ShardKey]:
    """Keep leases for longer; those that are still this owner's."""
    now, kept = datetime.now(UTC), set()
    with _connected(engine) as connection:
        for key in sorted(keys):  # all workers in one order, so that none waits for another that waits for it
            done = connection.execute(
                update(table)
                .where(*_is(feed, key), table.c.owner == owner, table.c.finished.is_(False))
                .values(counter=table.c.counter + 1, expires_at=now + timedelta(seconds=seconds))
            )
            if done.rowcount == 1:
                kept.add(key)
    return kept


def give_back(engine: Engine, feed: Feed, keys: Collection[ShardKey], owner: str) -> None:
    """Let others have the leases at once; those that are no longer this owner's stay as they are."""
    with _connected(engine) as connection:
        for key in sorted(keys):
            connection.execute(
                update(table)
                .where(*_is(feed, key), table.c.owner == owner)
                .values(
                    owner=None, expires_at=None, counter=table.c.counter + 1, changed_at=datetime.now(UTC)
                )
            )


def save(engine: Engine, feed: Feed, key: ShardKey, checkpoint: str) -> None:
    """Move a checkpoint forward, never back. Whoever has landed may, lease or not: what has landed is true."""
    for _ in range(TRIES):
        with _connected(engine) as connection:
            before = connection.execute(select(table.c.checkpoint).where(*_is(feed, key))).first()
            if before is None or (
                before.checkpoint is not None and int(before.checkpoint) >= int(checkpoint)
            ):
                return
            same = (
                table.c.checkpoint.is_(None)
                if before.checkpoint is None
                else table.c.checkpoint == before.checkpoint
            )
            done = connection.execute(
                update(table)
                .where(*_is(feed, key), same)
                .values(checkpoint=checkpoint, changed_at=datetime.now(UTC))
            )
            if done.rowcount == 1:
                return
    raise UnavailableError(f"the checkpoint of `{key.shard}` changes all the time", hint="try again later")


def finish(engine: Engine, feed: Feed, key: ShardKey) -> None:
    """Note that a closed shard has landed to its end, so that the shards which came of it may be read."""
    with _connected(engine) as connection:
        connection.execute(
            update(table)
            .where(*_is(feed, key))
            .values(
                finished=True,
                owner=None,
                expires_at=None,
                counter=table.c.counter + 1,
                changed_at=datetime.now(UTC),
            )
        )


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    """A transaction. Raises `UnavailableError` when the database fails, `IntegrityError` for a row that is there."""
    try:
        with engine.begin() as connection:
            yield connection
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        raise UnavailableError(
            f"the state database `{engine.url.render_as_string(hide_password=True)}` can't be used: {error}",
            hint="check that it is reachable, that its folder can be written and that the disk isn't full",
        ) from error


def _listed(connection: Connection, feed: Feed) -> list[Lease]:
    query = select(table).where(table.c.dataset == feed.dataset, table.c.stream == feed.stream)
    rows = connection.execute(query.order_by(table.c.shard, table.c.starting)).mappings()
    names = ("owner", "counter", "expires_at", "checkpoint", "finished", "changed_at")
    return [
        Lease(ShardKey(row["shard"], row["starting"]), **{name: row[name] for name in names}) for row in rows
    ]


def _is(feed: Feed, key: ShardKey) -> tuple[ColumnElement[bool], ...]:
    return (
        table.c.dataset == feed.dataset,
        table.c.stream == feed.stream,
        table.c.shard == key.shard,
        table.c.starting == key.starting,
    )
