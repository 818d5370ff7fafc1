"""A stream of Kinesis: its shards, and what is in them.

Source of the protocol: Amazon Kinesis Data Streams Service API Reference, version 2013-12-02. Endpoint, region and
credentials come by AWS's own chain (`AWS_ENDPOINT_URL_KINESIS`, `AWS_REGION`, `AWS_ACCESS_KEY_ID` and their sisters).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from dpipe import s3
from dpipe.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dpipe.streams.place import StreamPlace

T = TypeVar("T")

MOST_RECORDS = 10_000
THROTTLED = frozenset(
    {"ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException"}
)
EXPIRED = "ExpiredIteratorException"
LATE_SECONDS = 5
MISSING = "ResourceNotFoundException"
CONNECT_SECONDS, READ_SECONDS = 5, 30


class ThrottledError(UnavailableError):
    """More was asked for than a shard or the account may be asked."""


class ExpiredError(Exception):
    """An iterator is older than five minutes."""


@dataclass(frozen=True)
class Shard:
    """A shard: the sequence number that it began with, and the shards that it came from.

    `parents` are those that were split or merged into it; they may be gone from the stream.
    """

    shard_id: str
    starting: str
    is_closed: bool
    parents: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """A record of a shard, its bytes as they were put."""

    sequence: str
    data: bytes
    arrived_at: datetime


@dataclass(frozen=True)
class Answer:
    """What one request brought; `at_tip` when there was nothing further then. `iterator` is None at the shard's end."""

    records: tuple[Record, ...]
    at_tip: bool
    iterator: str | None


class Stream:
    """A stream; safe for threads. `client` is for tests that let requests fail."""

    def __init__(self, place: StreamPlace, client: Any = None) -> None:  # noqa: ANN401 - boto3's are made at run time
        self.place = place
        self._client = client

    @cached_property
    def client(self) -> Any:  # noqa: ANN401
        """boto3's client for the stream's region."""
        return self._client or _client(self.place.region or os.environ.get("AWS_REGION"))

    @cached_property
    def arn(self) -> str:
        """The stream's ARN, which says account, region and name."""
        answer = self.asked(lambda: self.client.describe_stream_summary(StreamName=self.place.name))
        return str(answer["StreamDescriptionSummary"]["StreamARN"])

    def time(self) -> datetime:
        """The time on Kinesis's clock, which arrivals are told by; rather a few seconds late than early."""
        answer = self.asked(lambda: self.client.describe_stream_summary(StreamName=self.place.name))
        said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = parsedate_to_datetime(said) if said else datetime.now(UTC)
        return now + timedelta(seconds=LATE_SECONDS)

    def shards(self) -> list[Shard]:
        """Every shard of which something can still be read, closed ones too. Their order is that of their ids."""
        found: list[Shard] = []
        wanted = {"StreamName": self.place.name}
        while True:
            answer = self.asked(lambda: self.client.list_shards(**wanted))  # noqa: B023 - called at once
            found += [_shard(one) for one in answer["Shards"]]
            if not answer.get("NextToken"):
                return sorted(found, key=lambda shard: shard.shard_id)
            wanted = {"NextToken": answer["NextToken"]}

    def iterator(self, shard_id: str, after: str | None) -> str:
        """An iterator that begins behind the record `after`, or with the oldest that is there."""
        where: dict[str, str] = {"ShardIteratorType": "TRIM_HORIZON"}
        if after is not None:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": after}
        answer = self.asked(
            lambda: self.client.get_shard_iterator(StreamName=self.place.name, ShardId=shard_id, **where)
        )
        return str(answer["ShardIterator"])

    def records(self, iterator: str, limit: int = MOST_RECORDS) -> Answer:
        """What comes next, 10 MiB at most. Raises `ExpiredError`, `ThrottledError`, `UnavailableError`.

        An answer without records doesn't mean that there are none further on.
        """
        answer = self.asked(lambda: self.client.get_records(ShardIterator=iterator, Limit=limit))
        records = tuple(
            Record(one["SequenceNumber"], one["Data"], one["ApproximateArrivalTimestamp"])
            for one in answer["Records"]
        )
        at_tip = not records and not answer.get("MillisBehindLatest")
        return Answer(records, at_tip, answer.get("NextShardIterator"))

    def asked(self, step: Callable[[], T]) -> T:
        """What Kinesis answers. Raises `ConfigError` when there is no such stream, else as `records` does."""
        _ = self.client
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return step()
        except (BotoCoreError, ClientError) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
            if code == EXPIRED:
                raise ExpiredError from error
            if code in THROTTLED:
                raise ThrottledError(
                    f"`{self.place}` is asked for more than it gives: {error}",
                    hint="add shards, or have fewer consumers",
                ) from error
            if code == MISSING:
                raise ConfigError(
                    f"`{self.place}` is not there: {error.response['Error']['Message']}",
                    hint="check its name, the region and the account (`AWS_REGION`, `AWS_PROFILE`, "
                    "`AWS_ENDPOINT_URL_KINESIS`), or create it",
                ) from error
            raise UnavailableError(
                f"`{self.place}` can't be used: {error}",
                hint="check endpoint, region and credentials (`AWS_ENDPOINT_URL_KINESIS`, `AWS_REGION`, "
                "`AWS_ACCESS_KEY_ID` …), then run it again; nothing was lost",
            ) from error


def _shard(one: dict[str, Any]) -> Shard:
    numbers = one["SequenceNumberRange"]
    parents = (one.get("ParentShardId"), one.get("AdjacentParentShardId"))
    return Shard(
        one["ShardId"],
        numbers["StartingSequenceNumber"],
        "EndingSequenceNumber" in numbers,
        tuple(parent for parent in parents if parent),
    )


@cache
def _client(region: str | None) -> Any:  # noqa: ANN401
    return s3.client_of(
        "kinesis",
        attempts=3,
        region=region,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=50,
    )
