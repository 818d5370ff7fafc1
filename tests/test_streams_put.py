"""Records are put into a stream in as few requests as it takes, and what wasn't taken is put again, alone."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from dpipe.errors import ConfigError, UnavailableError, UsageError
from dpipe.streams import Outgoing, Stored, put
from stream_support import Faulty, Kinesis, stream

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20


class Counted(Faulty):
    """Keeps what each request had, and has Kinesis refuse some: as it says it, record by record."""

    def __init__(
        self, client: Any, refuses: Callable[[int, int], bool] = lambda request, index: False
    ) -> None:
        super().__init__(client, self._put)
        self.requests: list[list[dict[str, Any]]] = []
        self._refuses = refuses

    def _put(self, operation: str, request: dict[str, Any], real: Callable[..., Any]) -> Any:
        if operation != "put_records":
            return real(**request)
        number, records = len(self.requests), request["Records"]
        self.requests.append(records)
        refused = {index for index in range(len(records)) if self._refuses(number, index)}
        taken = [record for index, record in enumerate(records) if index not in refused]
        results = iter(real(StreamName=request["StreamName"], Records=taken)["Records"] if taken else ())
        failure = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"}
        found = [failure if index in refused else next(results) for index in range(len(records))]
        return {"FailedRecordCount": len(refused), "Records": found}


def stored(kinesis: Kinesis, name: str) -> list[bytes]:
    return [data for records in kinesis.content(name).values() for _, data in records]


def test_each_record_is_where_put_says(kinesis: Kinesis) -> None:
    name = kinesis.create(3)
    records = [Outgoing(f"key {number}", b"%d" % number) for number in range(1200)]
    client = Counted(kinesis.client)
    places = put(stream(name, client), records)
    assert [len(request) for request in client.requests] == [500, 500, 200]
    there = {
        Stored(shard, sequence): data
        for shard, content in kinesis.content(name).items()
        for sequence, data in content
    }
    assert [there[place] for place in places] == [record.data for record in records]
    assert len({place.shard for place in places}) == 3
    assert put(stream(name), []) == []


@pytest.mark.parametrize(
    ("sizes", "requests"),
    [
        ([MIB] * 6, [5, 1]),
        ([MIB - 1] * 5 + [5, 1], [6, 1]),
        ([3 * MIB // 4] * 14, [6, 6, 2]),
        ([1] * 501, [500, 1]),
        ([MIB, *[1] * 499, MIB], [500, 1]),
    ],
)
def test_requests_are_as_large_as_they_may_be(
    kinesis: Kinesis, sizes: list[int], requests: list[int]
) -> None:
    """Sizes are those that Kinesis counts, with the key."""
    records = [Outgoing("é" if size > 1 else "k", b"x" * (size - (2 if size > 1 else 1))) for size in sizes]
    assert [record.size for record in records] == sizes
    name = kinesis.create()
    client = Counted(kinesis.client)
    put(stream(name, client), records)
    assert [len(request) for request in client.requests] == requests
    assert stored(kinesis, name) == [record.data for record in records]


@pytest.mark.parametrize(
    "record",
    [Outgoing("k", b"x" * MIB), Outgoing("é", b"x" * (MIB - 1)), Outgoing("", b""), Outgoing("k" * 257, b"")],
)
def test_what_no_stream_takes_is_refused_before_anything_is_put(kinesis: Kinesis, record: Outgoing) -> None:
    client = Counted(kinesis.client)
    with pytest.raises(UsageError, match="none for a stream"):
        put(stream(kinesis.create(), client), [Outgoing("k", b"x"), record])
    assert client.requests == []


def test_what_was_not_taken_is_put_again_alone(kinesis: Kinesis) -> None:
    name = kinesis.create()
    chances = random.Random(3)
    client = Counted(kinesis.client, lambda request, _: chances.random() < 0.6 / (request + 1))
    records = [Outgoing("k", b"%d" % number) for number in range(700)]
    places = put(stream(name, client), records)
    assert len(client.requests) > 3
    assert sum(map(len, client.requests)) < 1500
    assert sorted(stored(kinesis, name)) == sorted(record.data for record in records)
    there = {sequence: data for content in kinesis.content(name).values() for sequence, data in content}
    assert [there[place.sequence] for place in places] == [record.data for record in records]


def test_a_request_that_is_refused_as_a_whole_is_put_again(kinesis: Kinesis) -> None:
    name = kinesis.create()
    requests = itertools.count()

    def busy(operation: str, request: dict[str, Any], real: Callable[..., Any]) -> Any:
        if operation == "put_records" and next(requests) < 2:
            error = {"Code": "ProvisionedThroughputExceededException", "Message": "Rate exceeded"}
            raise ClientError({"Error": error}, "PutRecords")
        return real(**request)

    put(stream(name, Faulty(kinesis.client, busy)), [Outgoing("k", b"x")])
    assert stored(kinesis, name) == [b"x"]


def test_patience_ends(kinesis: Kinesis) -> None:
    name = kinesis.create()
    client = Counted(kinesis.client, lambda request, index: index == (0 if request else 1))
    with pytest.raises(UnavailableError, match=r"took 2 of 3 records: Provisioned.*: Rate exceeded"):
        put(stream(name, client), [Outgoing("k", b"%d" % number) for number in range(3)], patience=0.5)
    assert stored(kinesis, name) == [b"0", b"2"]


def test_a_stream_that_is_not_there_is_said(kinesis: Kinesis) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        put(stream("no-such-stream"), [Outgoing("k", b"x")])
