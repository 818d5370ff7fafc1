"""Reading a stream up to its tip as of now, and landing what was read."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING

from dpipe import output
from dpipe.contract import contract_path
from dpipe.stages.consume.chains import Chains
from dpipe.stages.consume.halt import Halt
from dpipe.stages.consume.order import key_of, readable
from dpipe.stages.consume.shard import ShardConsumer
from dpipe.stages.ingest import record
from dpipe.state import leases, open_state
from dpipe.streams import Stream, stream_place

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from dpipe.landing import Landed
    from dpipe.settings import Project
    from dpipe.state import Run
    from dpipe.state.leases import Feed, Lease, ShardKey
    from dpipe.streams import Shard

MOST_AT_ONCE = 8


def ingest_stream(project: Project, dataset: str, uri: str, run: Run) -> list[Landed]:
    """Land what a stream has up to now, from the checkpoints on; the batches in the order in which they landed.

    Raises `UsageError` for an unknown dataset, `ConfigError` for a stream that isn't there, `UnavailableError` for an
    outage; what has landed until then stays landed.
    """
    contract_path(project, dataset)
    stream = Stream(stream_place(uri))
    landed: list[Landed] = []
    done, lock = [0, 0], Lock()
    started_at, start = datetime.now(UTC), time.perf_counter()
    with output.progress(f"ingest {dataset}") as update:

        def count(batch: Landed) -> None:
            with lock:  # several shards are read at once
                landed.append(batch)
                done[0] += batch.manifest.position.records if batch.manifest.position else 0
                done[1] += batch.manifest.bytes
                update(*done)

        drain(project, dataset, stream, halt=Halt(), on_landed=count)
    record(
        run,
        dataset,
        landed,
        started_at=started_at,
        seconds=time.perf_counter() - start,
        stream=stream.arn,
        records=sum(
            batch.manifest.position.records
            for batch in landed
            if batch.manifest.position and not batch.already
        ),
    )
    return landed


def drain(
    project: Project,
    dataset: str,
    stream: Stream,
    *,
    halt: Halt,
    on_landed: Callable[[Landed], None] = lambda _: None,
) -> None:
    """Land what the stream's shards have up to now, several at once, each after those that it came from.

    It needs no lease: beside a worker that reads the same shards it walks along the same chain of batches.
    """
    engine, chains = open_state(project), Chains(project, dataset)
    feed = leases.Feed(dataset, stream.arn)
    until, shards = stream.time(), stream.shards()
    for gone in leases.synchronised(engine, feed, [key_of(shard) for shard in shards]):
        warn_of_loss(stream, gone)
    tried: set[ShardKey] = set()
    while not halt.requested():
        known = {lease.key: lease for lease in leases.listed(engine, feed)}
        finished = {key for key, lease in known.items() if lease.finished}
        now = [shard for shard in readable(shards, finished) if key_of(shard) not in tried]
        if not now:
            return
        tried |= {key_of(shard) for shard in now}

        def read(shard: Shard) -> None:
            checkpoint = known[key_of(shard)].checkpoint if key_of(shard) in known else None  # noqa: B023
            consumer = consumer_of(
                chains, engine, feed, stream, shard, checkpoint, halt=halt, on_landed=on_landed
            )
            # A closed shard has an end, and those that came of it are to be read, too.
            if consumer.run(None if shard.is_closed else until):
                leases.finish(engine, feed, key_of(shard))

        with ThreadPoolExecutor(min(MOST_AT_ONCE, len(now))) as pool:
            try:
                for _ in pool.map(read, now):
                    pass
            except BaseException:
                halt.request()
                raise


def consumer_of(
    chains: Chains,
    engine: Engine,
    feed: Feed,
    stream: Stream,
    shard: Shard,
    checkpoint: str | None,
    *,
    halt: Halt,
    on_landed: Callable[[Landed], None] = lambda _: None,
) -> ShardConsumer:
    """A consumer that saves its checkpoints in the state database."""
    return ShardConsumer(
        chains,
        stream,
        shard,
        checkpoint=checkpoint,
        save=lambda last: leases.save(engine, feed, key_of(shard), last),
        halt=halt,
        on_landed=on_landed,
    )


def warn_of_loss(stream: Stream, lease: Lease) -> None:
    """Say that a shard went before it was read to its end: its last records may be lost."""
    output.warn(
        f"`{lease.key.shard}` of `{stream.place}` is gone before it was known to be read to its end: records that were "
        "not read within the stream's retention are lost"
    )
