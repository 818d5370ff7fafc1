"""A batch of a shard while it is being read."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dpipe.landing import Position
from dpipe.streams.payload import lines

if TYPE_CHECKING:
    from dpipe.settings import Settings
    from dpipe.streams import Record

# Of a batch whose records are all empty; the kernel reads no record in it.
NO_RECORD = b"\n"


@dataclass
class Gathered:
    """Records in the shard's order, from the one with the sequence number `first` on; `size` is their payload's."""

    first: str
    last: str = ""
    records: int = 0
    size: int = 0
    begun: float = field(default_factory=time.monotonic)
    payload: list[bytes] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Take in the next record, with every user's record in it: these can't be in two batches."""
        found = lines(record.data)
        self.last = record.sequence
        self.records += len(found)
        self.size += sum(map(len, found))
        self.payload += found

    def is_full(self, settings: Settings) -> bool:
        """Whether no further record comes into it."""
        return self.records >= settings.stream_max_records or self.size >= settings.stream_max_bytes

    def seconds_left(self, settings: Settings) -> float:
        """How long it may wait for further records."""
        return self.begun + settings.stream_max_seconds - time.monotonic()

    def blocks(self) -> list[bytes]:
        """What lands."""
        return self.payload if self.size else [NO_RECORD]

    def position(self, stream: str, shard: str) -> Position:
        """What it holds of the shard."""
        return Position(stream, shard, self.first, self.last, self.records)
