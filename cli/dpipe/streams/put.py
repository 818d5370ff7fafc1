"""Putting records into a stream: as many a request as it takes, and those that it doesn't take again, alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpipe.errors import UnavailableError, UsageError
from dpipe.outages import pause
from dpipe.streams.kinesis import ThrottledError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from dpipe.streams.kinesis import Stream

# What every stream takes: one can be set to take records of 10 MiB, and requests grew to that.
MOST_RECORDS = 500
MOST_RECORD_BYTES = 1 << 20
MOST_REQUEST_BYTES = 5 << 20
MOST_KEY_CHARACTERS = 256
FIRST_SECONDS, MOST_SECONDS = 0.1, 5.0


@dataclass(frozen=True)
class Outgoing:
    """A record to be put; the hash of its key decides on the shard."""

    key: str
    data: bytes

    @property
    def size(self) -> int:
        """What Kinesis counts: data and key, in bytes."""
        return len(self.data) + len(self.key.encode())


@dataclass(frozen=True)
class Stored:
    """Where a record is."""

    shard: str
    sequence: str


def put(stream: Stream, records: Sequence[Outgoing], *, patience: float = 60.0) -> list[Stored]:
    """Put records into a stream, durably; where each is, in the order given.

    At least once: a request whose answer is lost is sent again. One that is put again comes after those behind it.
    Raises `UsageError` for a record that no stream takes, before any is put, and `UnavailableError` when some aren't
    taken for `patience` seconds.
    """
    for record in records:
        _check(record)
    stored: dict[int, Stored] = {}
    end, tries = time.monotonic() + patience, 0
    waiting = list(range(len(records)))
    while waiting:
        problem: object = None
        for request in _requests(waiting, records):
            found, failure = _put(stream, [records[index] for index in request])
            problem = problem or failure
            stored |= {index: one for index, one in zip(request, found, strict=True) if one is not None}
        waiting = [index for index in waiting if index not in stored]
        if not waiting:
            break
        seconds = pause(tries, FIRST_SECONDS, MOST_SECONDS)
        if time.monotonic() + seconds > end:
            raise UnavailableError(
                f"`{stream.place}` took {len(stored):,} of {len(records):,} records: {problem}",
                hint="add shards, or send the others later",
            )
        tries += 1
        time.sleep(seconds)
    return [stored[index] for index in range(len(records))]


def _check(record: Outgoing) -> None:
    if not 0 < len(record.key) <= MOST_KEY_CHARACTERS or record.size > MOST_RECORD_BYTES:
        raise UsageError(
            f"a record of {record.size:,} bytes with a key of {len(record.key)} characters is none for a stream",
            hint=f"with its key, of 1 to {MOST_KEY_CHARACTERS} characters, it may have {MOST_RECORD_BYTES:,} bytes",
        )


def _requests(indices: Iterable[int], records: Sequence[Outgoing]) -> Iterator[list[int]]:
    """The records in groups that a request may have."""
    group: list[int] = []
    size = 0
    for index in indices:
        own = records[index].size
        if group and (len(group) == MOST_RECORDS or size + own > MOST_REQUEST_BYTES):
            yield group
            group, size = [], 0
        group.append(index)
        size += own
    if group:
        yield group


def _put(stream: Stream, records: Sequence[Outgoing]) -> tuple[list[Stored | None], object]:
    """What became of each record of one request, None for those that weren't taken, and why the first wasn't."""
    wanted = [{"Data": record.data, "PartitionKey": record.key} for record in records]
    try:
        answer: dict[str, Any] = stream.asked(
            lambda: stream.client.put_records(StreamName=stream.place.name, Records=wanted)
        )
    except ThrottledError as error:
        return [None] * len(records), error.message
    found = [
        None if one.get("ErrorCode") else Stored(one["ShardId"], one["SequenceNumber"])
        for one in answer["Records"]
    ]
    failures = [
        f"{one['ErrorCode']}: {one.get('ErrorMessage')}" for one in answer["Records"] if one.get("ErrorCode")
    ]
    return found, failures[0] if failures else None
