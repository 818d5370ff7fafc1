"""What has landed of a dataset's streams: for each shard, how far."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dpipe import landing
from dpipe.landing.store import read_manifest

if TYPE_CHECKING:
    from dpipe.landing import Position, Segment
    from dpipe.settings import Project
    from dpipe.streams import Shard, Stream

PREFIX = "stream-"
READ_AT_ONCE = 16


class Chains:
    """The dataset's chains of batches. Landed batches never change, so that each one's manifest is read once."""

    def __init__(self, project: Project, dataset: str) -> None:
        self.project = project
        self.dataset = dataset
        self._positions: dict[str, Position] = {}
        self._lock = threading.Lock()

    def end(self, stream: Stream, shard: Shard) -> str | None:
        """The last sequence number that has landed of a shard; None when nothing has.

        Reads the manifest of every batch out of a stream that it doesn't know yet. What landed of an earlier stream
        of the same name is left out. Raises `DpipeError` for a damaged manifest.
        """
        with self._lock:
            self._read()
            ends = [
                place.last
                for place in self._positions.values()
                if (place.stream, place.shard) == (stream.arn, shard.shard_id)
            ]
        return max((end for end in ends if int(end) >= int(shard.starting)), key=int, default=None)

    def end_of(self, stream: Stream, shard: Shard, first: str) -> str | None:
        """The last sequence number of the batch that begins with `first`; None when none has landed that does."""
        batch_id = landing.stream_batch_id(stream.arn, shard.shard_id, first)
        there = landing.landed(self.project, self.dataset, batch_id)
        return there.position.last if there is not None and there.position is not None else None

    def landed_of(self, segment: Segment) -> dict[str, str]:
        """The SHA-256 of those of the segment's batches that have landed, as they are there."""
        ids = {one.batch_id for one in segment.manifests}
        known = ids & landing.batch_ids(self.project, self.dataset)
        return {one.batch_id: one.sha256 for one in landing.manifests(self.project, self.dataset, known)}

    def _read(self) -> None:
        names = {name for name in landing.batch_ids(self.project, self.dataset) if name.startswith(PREFIX)}

        def position(batch_id: str) -> tuple[str, Position | None]:
            return batch_id, read_manifest(self.project, self.dataset, batch_id).position

        with ThreadPoolExecutor(READ_AT_ONCE) as pool:
            found = pool.map(position, names - self._positions.keys())
            self._positions |= {batch_id: place for batch_id, place in found if place is not None}
