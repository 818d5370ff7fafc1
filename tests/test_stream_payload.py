"""What is in a stream's record: aggregated ones are taken apart, compressed ones decompressed, damaged ones kept."""

from __future__ import annotations

import base64
import gzip
import hashlib
import struct
from typing import TYPE_CHECKING

import pytest
import zstandard
from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import deaggregate_records
from dpipe.streams import kpl
from dpipe.streams.kpl import MAGIC, user_records
from dpipe.streams.payload import lines
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

RECORDS = [b'{"a": 1}', b"", b"\xff\x00", b"x" * 300]


def aggregated(records: Sequence[bytes], *, hash_key: str | None = None) -> bytes:
    """Records as AWS's own library for Python puts them together."""
    aggregator = RecordAggregator()
    for index, data in enumerate(records):
        assert aggregator.add_user_record(f"key {index % 3}", data, hash_key) is None
    content: bytes = aggregator.clear_and_get().get_contents()[2]
    return content


def sealed(message: bytes) -> bytes:
    """Any message as if it were an aggregated record."""
    return MAGIC + message + hashlib.md5(message).digest()


def varint(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


@given(records=st.lists(st.binary(max_size=400), min_size=1, max_size=30), hashed=st.booleans())
def test_what_the_library_puts_together_comes_apart(records: list[bytes], hashed: bool) -> None:
    assert user_records(aggregated(records, hash_key="123" if hashed else None)) == records


@given(data=st.binary(max_size=200), sealing=st.booleans())
def test_any_bytes_come_apart_as_the_library_takes_them_or_stay_whole(data: bytes, sealing: bool) -> None:
    whole = sealed(data) if sealing else MAGIC + data
    ours = user_records(whole)
    if ours is None:
        assert lines(whole) == [whole if whole.endswith(b"\n") else whole + b"\n"]
    else:
        assert ours == theirs(whole)


def theirs(data: bytes) -> list[bytes]:
    record = {
        "kinesis": {
            "data": base64.b64encode(data).decode(),
            "partitionKey": "k",
            "sequenceNumber": "1",
            "kinesisSchemaVersion": "1.0",
            "approximateArrivalTimestamp": 1,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": "1",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "a",
        "awsRegion": "r",
        "eventSourceARN": "a",
    }
    return [base64.b64decode(one["kinesis"]["data"]) for one in deaggregate_records([record])]


def test_an_aggregated_record_that_is_cut_or_changed_anywhere_stays_whole() -> None:
    whole = aggregated(RECORDS)
    for at in range(len(whole)):
        assert user_records(whole[:at]) is None
        assert user_records(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]) is None


DAMAGED = {
    "a key that isn't in the table": field(1, b"k") + field(3, field(1, 1) + field(3, b"x")),
    "a hash key that isn't in the table": field(1, b"k")
    + field(3, field(1, 0) + field(2, 0) + field(3, b"x")),
    "no key": field(1, b"k") + field(3, field(3, b"x")),
    "no data": field(1, b"k") + field(3, field(1, 0)),
    "data that is a number": field(1, b"k") + field(3, field(1, 0) + field(3, 7)),
    "a record that is a number": field(1, b"k") + field(3, 7),
    "a length beyond the end": field(1, b"k") + varint(3 << 3 | 2) + varint(1 << 40),
    "a number without an end": field(1, b"k") + b"\x18" + b"\xff" * 20,
    "a number cut short": field(1, b"k") + b"\x18\xff",
    "an unknown wire type": field(1, b"k") + varint(9 << 3 | 3),
    "no record": field(1, b"k"),
    "nothing at all": b"",
    "a field of the number 0": b"\x02\x00",
}


@pytest.mark.parametrize("message", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_message_that_is_sealed_but_wrong_stays_whole(message: bytes) -> None:
    assert user_records(sealed(message)) is None
    assert b"".join(lines(sealed(message))).rstrip(b"\n") == sealed(message).rstrip(b"\n")


def test_fields_that_came_later_are_passed_over() -> None:
    record = field(1, 0) + field(3, b"x") + field(4, field(1, b"tag")) + b"\x4d" + struct.pack("<f", 1)
    message = field(1, b"k") + field(2, b"1") + b"\x51" + bytes(8) + field(3, record)
    assert user_records(sealed(message)) == [b"x"]


def test_one_that_claims_too_many_records_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kpl, "MOST_RECORDS", 3)
    assert user_records(aggregated(RECORDS[:3])) == RECORDS[:3]
    assert user_records(aggregated(RECORDS)) is None


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_compressed_records_are_decompressed(compress: type[bytes]) -> None:
    two = b'{"a": 1}\n{"a": 2}'
    assert lines(compress(two)) == [two + b"\n"]
    assert lines(compress(two) + compress(b"\n")) == [two + b"\n"]
    assert lines(compress(b"")) == [b""]
    assert lines(aggregated([compress(two), b"x", b""])) == [two + b"\n", b"x\n", b""]
    for damaged in (compress(two)[:-5], compress(two) + b"junk"):
        assert lines(damaged) == [damaged + b"\n"]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_bomb_stays_as_it_is(compress: type[bytes]) -> None:
    bomb = compress(bytes(1 << 20))
    assert lines(bomb, most=(1 << 20) - 1) == [bomb + b"\n"]
    assert len(lines(bomb, most=1 << 20)[0]) == (1 << 20) + 1
    # Of those that are aggregated in one record, as many are decompressed as come to the bound.
    small, large, kept = lines(aggregated([bomb, bomb, bomb]), most=5 << 19)
    assert (len(small), len(large), kept) == ((1 << 20) + 1, (1 << 20) + 1, bomb + b"\n")


def test_lines_end_once() -> None:
    assert lines(b"x") == lines(b"x\n") == [b"x\n"]
    assert lines(b"") == [b""]
    assert lines(b"\n") == [b"\n"]
