"""Streams that a worker consumes beside its rounds: a thread for each stream, and one for each shard that it leases."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dpipe import output
from dpipe.contract import contract_path
from dpipe.outages import told
from dpipe.stages.consume.chains import Chains
from dpipe.stages.consume.drain import consumer_of, drain, warn_of_loss
from dpipe.stages.consume.halt import Halt
from dpipe.stages.consume.order import key_of, readable
from dpipe.stages.worker.shares import wanted
from dpipe.stages.worker.troubles import Troubles
from dpipe.state import leases, open_state
from dpipe.streams import Stream, stream_place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from sqlalchemy import Engine

    from dpipe.errors import DpipeError
    from dpipe.settings import Project
    from dpipe.state.leases import Feed, ShardKey
    from dpipe.streams import Shard

SHARDS_SECONDS = 10.0
LOOK_SECONDS = 1.0


def feeds(project: Project, names: Sequence[str]) -> dict[str, str]:
    """The streams of these datasets, or of all. Raises `UsageError` for one whose dataset has no contract."""
    found = {name: uri for name, uri in project.settings.streams.items() if not names or name in names}
    for name, uri in found.items():
        contract_path(project, name)
        stream_place(uri)
    return found


def drain_all(project: Project, names: Sequence[str], stopped: Callable[[], bool]) -> list[DpipeError]:
    """Land what the datasets' streams have up to now; what went wrong."""
    problems = []
    for name, uri in feeds(project, names).items():
        try:
            drain(project, name, Stream(stream_place(uri)), halt=Halt(stopped))
        except Exception as error:
            problems.append(told(error))
    return problems


class Consuming:
    """Threads that land the datasets' streams for as long as a block lasts; without any stream, none."""

    def __init__(self, project: Project, names: Sequence[str], stopped: Callable[[], bool]) -> None:
        self._halt = Halt(stopped)
        owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._threads = []
        for name, uri in feeds(project, names).items():
            feeding = Feeding(project, name, Stream(stream_place(uri)), owner, self._halt)
            self._threads.append(threading.Thread(target=feeding.run, name=f"stream of {name}", daemon=True))
            output.note(f"dpipe worker: `{name}` is fed by `{uri}`")

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Land what was read and give the leases back; not after a second signal, when they run out by themselves."""
        self._halt.request()
        if kind is None:
            for thread in self._threads:
                thread.join()


@dataclass
class Reading:
    """A shard that is being read in a thread of its own."""

    halt: Halt
    thread: threading.Thread = field(init=False)


class Feeding:
    """A dataset's stream: keeps this worker's leases, and has their shards read."""

    def __init__(self, project: Project, dataset: str, stream: Stream, owner: str, halt: Halt) -> None:
        self.project = project
        self.dataset = dataset
        self.stream = stream
        self.owner = owner
        self.halt = halt
        self._seconds = project.settings.stream_lease_seconds
        self._chains = Chains(project, dataset)
        self._engine: Engine | None = None
        self._reading: dict[ShardKey, Reading] = {}
        self._shards: list[Shard] = []
        self._listed_at = self._renewed_at = float("-inf")
        self._troubles = Troubles()

    def run(self) -> None:
        """Keep at it until told to stop. Nothing that fails ends it."""
        while not self.halt.requested():
            if self._troubles.is_due(self._name()):
                self._tried(self._name(), self._turn)
            self.halt.wait(min(LOOK_SECONDS, self._seconds / 4))
        for reading in self._reading.values():
            reading.thread.join()
        if self._shards:
            self._tried(self._name(), self._leave)

    def _turn(self) -> None:
        """Look at the shards and the leases once: renew, take, read."""
        engine, feed = self._open(), leases.Feed(self.dataset, self.stream.arn)
        now = time.monotonic()
        self._reading = {key: one for key, one in self._reading.items() if one.thread.is_alive()}
        if now > self._listed_at + SHARDS_SECONDS:
            self._shards = self.stream.shards()
            for gone in leases.synchronised(engine, feed, [key_of(shard) for shard in self._shards]):
                warn_of_loss(self.stream, gone)
            self._listed_at = now
        found = {lease.key: lease for lease in leases.listed(engine, feed)}
        finished = {key for key, lease in found.items() if lease.finished}
        shards = {key_of(shard): shard for shard in readable(self._shards, finished)}
        mine = {key for key in shards if key in found and found[key].owner == self.owner}
        if mine and now > self._renewed_at + self._seconds / 3:
            mine = leases.renew(engine, feed, mine, self.owner, self._seconds)
            self._renewed_at = now
        for key in self._reading.keys() - mine:
            self._reading[key].halt.request()  # another worker reads it now
        known = [found[key] for key in shards if key in found]
        for lease in wanted(known, self.owner, datetime.now(UTC)):
            if lease.key in mine or leases.take(engine, feed, lease, self.owner, self._seconds):
                mine.add(lease.key)
        for key in mine - self._reading.keys():
            if self._troubles.is_due(self._name(shards[key])):
                self._begin(engine, feed, shards[key], found[key].checkpoint)

    def _begin(self, engine: Engine, feed: Feed, shard: Shard, checkpoint: str | None) -> None:
        reading = Reading(Halt(self.halt.requested))

        def read() -> None:
            consumer = consumer_of(
                self._chains, engine, feed, self.stream, shard, checkpoint, halt=reading.halt
            )
            if consumer.run():
                leases.finish(engine, feed, key_of(shard))
                self._listed_at = float("-inf")  # those that came of it are to be read now

        reading.thread = threading.Thread(
            target=self._tried, args=(self._name(shard), read), name=shard.shard_id, daemon=True
        )
        self._reading[key_of(shard)] = reading
        reading.thread.start()

    def _leave(self) -> None:
        keys = [key_of(shard) for shard in self._shards]  # those that were to be tried again, too
        leases.give_back(self._open(), leases.Feed(self.dataset, self.stream.arn), keys, self.owner)

    def _open(self) -> Engine:
        if self._engine is None:
            self._engine = open_state(self.project)
        return self._engine

    def _name(self, shard: Shard | None = None) -> str:
        place = str(self.stream.place)
        return f"`{shard.shard_id}` of `{place}`" if shard else f"`{place}`"

    def _tried(self, name: str, step: Callable[[], None]) -> None:
        """Do a step. What fails is said, the same words not twice in a row, and due again after a pause."""
        try:
            step()
        except Exception as error:
            self._troubles.failed(name, error)
        else:
            self._troubles.worked(name)
