"""One shard of a stream, landed batch after batch.

Batches of a shard are a chain: each begins behind the last record of the one before, and its id is made of where it
begins. So whoever reads from the end of any of them meets the same next one: it has landed, or lands now, once. A lease
says who should read, a checkpoint where to begin without walking along the chain. Neither is needed for a record to
come once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dpipe import landing
from dpipe.stages.consume.batch import Gathered
from dpipe.streams import ShardReader
from dpipe.streams.kinesis import ThrottledError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dpipe.landing import Landed
    from dpipe.stages.consume.chains import Chains
    from dpipe.stages.consume.halt import Halt
    from dpipe.streams import Answer, Record, Shard, Stream

# Kinesis keeps records for a day at least; older ones may go while a shard is read.
MAY_GO = timedelta(hours=12)
LOOKS_FOR_OLDEST = 5


class ShardConsumer:
    """Lands a shard from its checkpoint on; without one, from behind what has landed of it, or from its oldest record.

    `save` is called with the last sequence number of each batch once it is durable, `on_landed` with each batch that
    was read.
    """

    def __init__(
        self,
        chains: Chains,
        stream: Stream,
        shard: Shard,
        *,
        checkpoint: str | None,
        save: Callable[[str], None],
        halt: Halt,
        on_landed: Callable[[Landed], None] = lambda _: None,
    ) -> None:
        self.chains = chains
        self.stream = stream
        self.shard = shard
        self._save = save
        self._on_landed = on_landed
        self._halt = halt
        self._settings = chains.project.settings
        self._end = checkpoint or chains.end(stream, shard)
        self._reader = ShardReader(stream, shard, self._end, halt.wait)
        self._batch: Gathered | None = None

    def run(self, until: datetime | None = None) -> bool:
        """Land what comes until told to stop, and then what has been read; whether the shard has come to its end.

        With `until`, Kinesis's time, also end at the tip, or at a record that arrived later. Raises `UnavailableError`
        for an outage and `DpipeError` when landing can't be written; then a new consumer may go on.
        """
        while not self._halt.requested():
            answer = self._reader.next(self._patience())
            if not self._take(answer):
                continue  # the reader was put elsewhere, and what is left of the answer is another batch's
            if answer.iterator is None:
                if self._land():
                    return True
            elif until is not None and (answer.at_tip or _is_beyond(answer, until)):
                if self._land():
                    return False
            elif self._patience() <= 0:
                self._land()
        self._land()
        return False

    def _patience(self) -> float:
        if self._batch is None:
            return float("inf")
        return max(0.0, self._batch.seconds_left(self._settings))

    def _take(self, answer: Answer) -> bool:
        """Take an answer's records into batches, landing those that are full; False when the reader went elsewhere."""
        for index, record in enumerate(answer.records):
            if self._has_landed(record):
                continue
            if self._lands_segment(record):
                continue
            if self._batch is None:
                if index == 0 and self._skips_a_gap(record):
                    return False
                there = self.chains.end_of(self.stream, self.shard, record.sequence)
                if there is not None:
                    self._go_on_behind(there)
                    continue
                self._batch = Gathered(record.sequence)
            self._batch.add(record)
            if self._batch.is_full(self._settings) and not self._land():
                return False
        return True

    def _lands_segment(self, record: Record) -> bool:
        """Land a segment that the API put into the stream, once, whoever reads it; False for any other record.

        It is known by a name of its own, and no part of the shard's chain.
        """
        segment = landing.unpacked(record.data, self.chains.dataset)
        if segment is None:
            return False
        there = self.chains.landed_of(segment)
        is_contradicted = any(there.get(one.batch_id, one.sha256) != one.sha256 for one in segment.manifests)
        if is_contradicted or not landing.land_packed(self.chains.project, segment):
            return False
        for manifest in segment.manifests:
            self._on_landed(landing.Landed(manifest, already=manifest.batch_id in there))
        if self._batch is None:
            self._go_on_behind(record.sequence)
        return True

    def _has_landed(self, record: Record) -> bool:
        return self._end is not None and int(record.sequence) <= int(self._end)

    def _land(self) -> bool:
        """Land the batch that was read, if there is one; False when another one that ends elsewhere had landed."""
        batch, self._batch = self._batch, None
        if batch is None:
            return True
        landed = landing.land_records(
            self.chains.project,
            self.chains.dataset,
            batch.blocks(),
            batch.position(self.stream.arn, self.shard.shard_id),
            source=f"kinesis://{self.stream.place.name}/{self.shard.shard_id}",
        )
        last = landed.manifest.position.last if landed.manifest.position else batch.last
        self._go_on_behind(last)
        self._on_landed(landed)
        if last == batch.last:
            return True
        self._reader.seek(last)
        return False

    def _go_on_behind(self, last: str) -> None:
        self._end = last
        self._save(last)

    def _skips_a_gap(self, record: Record) -> bool:
        """Go on behind a batch that this record, whose predecessors are gone from the stream, is in the middle of.

        A batch's id is found by its first record only, so that one which has lost its beginning has to be looked for.
        """
        if self._end is None or record.arrived_at > datetime.now(UTC) - MAY_GO or self._is_whole():
            return False
        end = self.chains.end(self.stream, self.shard)
        if end is None or int(end) < int(record.sequence):
            return False
        self._go_on_behind(end)
        self._reader.seek(end)
        return True

    def _is_whole(self) -> bool:
        """Whether the stream still has the last record that landed, or an older one, and so all that came since."""
        iterator: str | None = self.stream.iterator(self.shard.shard_id, None)
        for _ in range(LOOKS_FOR_OLDEST):
            if iterator is None:
                break
            try:
                answer = self.stream.records(iterator, limit=1)
            except ThrottledError:
                self._halt.wait(1.0)
                continue
            if answer.records:
                return self._end is not None and int(answer.records[0].sequence) <= int(self._end)
            iterator = answer.iterator
        return False


def _is_beyond(answer: Answer, until: datetime) -> bool:
    return bool(answer.records) and answer.records[-1].arrived_at > until
