"""What tests of streams share: streams in the emulator, what is in them, and what landed of them."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dpipe import landing
from dpipe.streams import Stream, StreamPlace
from dpipe.streams.payload import lines
from support import payload_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dpipe.landing import Manifest
    from dpipe.settings import Project

MIDDLE = 1 << 127
LAST_HASH = (1 << 128) - 1
_numbers = itertools.count()


def order(number: int) -> bytes:
    """An order as a line of NDJSON, with a key that no other number has."""
    return b'{"order_id": %d, "day": "2013-01-%02d", "amount": 1}' % (number, number % 28 + 1)


@dataclass
class Kinesis:
    """Streams in the emulator, by boto3 and not by dpipe."""

    client: Any

    def create(self, shards: int = 1) -> str:
        """A new stream's name."""
        name = f"orders-{next(_numbers)}"
        self.client.create_stream(StreamName=name, ShardCount=shards)
        self.settled(name)
        return name

    def settled(self, name: str) -> None:
        """Wait until the stream isn't changing."""
        end = time.monotonic() + 60
        while self._summary(name)["StreamStatus"] != "ACTIVE":
            assert time.monotonic() < end
            time.sleep(0.02)

    def put(self, name: str, *payloads: bytes, at: int | None = None) -> None:
        """Put records, into the shard that has the hash key `at`, or spread over all."""
        for first in range(0, len(payloads), 500):
            records = []
            for index, data in enumerate(payloads[first : first + 500]):
                key = at if at is not None else (index * 0x9E3779B97F4A7C15F39CC0605CEDC835) & LAST_HASH
                records.append({"Data": data, "PartitionKey": "key", "ExplicitHashKey": str(key)})
            answer = self.client.put_records(StreamName=name, Records=records)
            assert answer["FailedRecordCount"] == 0

    def shards(self, name: str) -> list[dict[str, Any]]:
        """The stream's shards, closed ones too."""
        found: list[dict[str, Any]] = self.client.list_shards(StreamName=name)["Shards"]
        return found

    def split(self, name: str, shard: str) -> None:
        """Split a shard into two of equal ranges, and wait."""
        (found,) = [one for one in self.shards(name) if one["ShardId"] == shard]
        low, high = (int(found["HashKeyRange"][f"{side}HashKey"]) for side in ("Starting", "Ending"))
        self.client.split_shard(
            StreamName=name, ShardToSplit=shard, NewStartingHashKey=str((low + high) // 2 + 1)
        )
        self.settled(name)

    def merge(self, name: str, shard: str, adjacent: str) -> None:
        """Merge two shards whose ranges are adjacent, and wait."""
        self.client.merge_shards(StreamName=name, ShardToMerge=shard, AdjacentShardToMerge=adjacent)
        self.settled(name)

    def content(self, name: str) -> dict[str, list[tuple[str, bytes]]]:
        """Every record by shard: its sequence number and its bytes."""
        return {shard["ShardId"]: self._records(name, shard["ShardId"]) for shard in self.shards(name)}

    def _records(self, name: str, shard: str) -> list[tuple[str, bytes]]:
        where = {"StreamName": name, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
        iterator = self.client.get_shard_iterator(**where)["ShardIterator"]
        found: list[tuple[str, bytes]] = []
        while True:
            answer = self.client.get_records(ShardIterator=iterator)
            found += [(one["SequenceNumber"], one["Data"]) for one in answer["Records"]]
            iterator = answer.get("NextShardIterator")
            if not answer["Records"] or iterator is None:
                return found

    def _summary(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.describe_stream_summary(StreamName=name)[
            "StreamDescriptionSummary"
        ]
        return found


class Faulty:
    """A client whose requests a test changes: `change(operation, request, real)` answers in its place."""

    def __init__(self, client: Any, change: Callable[[str, dict[str, Any], Callable[..., Any]], Any]) -> None:
        self._client = client
        self._change = change

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        real = getattr(self._client, operation)
        return lambda **request: self._change(operation, request, real)


def stream(name: str, client: Any = None) -> Stream:
    """The stream as dpipe sees it."""
    return Stream(StreamPlace(name), client)


def chain(project: Project, dataset: str = "orders") -> dict[str, list[Manifest]]:
    """The batches that landed of each shard, in its order."""
    ids = [name for name in landing.batch_ids(project, dataset) if name.startswith("stream-")]
    found: dict[str, list[Manifest]] = {}
    for manifest in sorted(landing.manifests(project, dataset, ids), key=lambda one: int(place(one).first)):
        found.setdefault(place(manifest).shard, []).append(manifest)
    return found


def place(manifest: Manifest) -> landing.Position:
    """Its position, which it has."""
    assert manifest.position is not None
    return manifest.position


def assert_landed_once(
    project: Project, content: dict[str, list[tuple[str, bytes]]], dataset: str = "orders"
) -> None:
    """What landed of a shard is what is in it: every record, in its order, once, in batches that join without a gap."""
    landed = chain(project, dataset)
    for shard, records in content.items():
        batches = landed.pop(shard, [])
        sequences = [int(sequence) for sequence, _ in records]
        ends = [int(place(batch).last) for batch in batches]
        starts = [int(place(batch).first) for batch in batches]
        assert starts == ([sequences[0]] if records else []) + [
            sequences[sequences.index(end) + 1] for end in ends[:-1]
        ]
        assert ends[-1:] == sequences[-1:]
        taken = [one for _, data in records for one in lines(data)]
        assert payload(project, batches) == b"".join(taken)
        assert sum(place(batch).records for batch in batches) == len(taken)
    assert not landed


def payload(project: Project, batches: Sequence[Manifest]) -> bytes:
    """The bytes of batches, one after the other."""
    return b"".join(payload_path(project, batch).read_bytes() for batch in batches)
