"""Records that the Kinesis Producer Library put together, taken apart.

Source: "KPL Aggregated Record Format" of awslabs/amazon-kinesis-producer: four bytes of magic, a message of Protocol
Buffers (`AggregatedRecord`), and its MD5.
"""

from __future__ import annotations

import hashlib

MAGIC = b"\xf3\x89\x9a\xc2"
DIGEST_BYTES = 16
# One that claims more is taken for damaged.
MOST_RECORDS = 1_000_000

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
VARINT_BYTES = 10
# Fields of `AggregatedRecord`, then those of `Record`.
KEYS, HASH_KEYS, RECORDS = 1, 2, 3
KEY_INDEX, HASH_KEY_INDEX, DATA = 1, 2, 3


class DamagedError(ValueError):
    """Not the message that the format describes."""


def user_records(data: bytes) -> list[bytes] | None:
    """The users' records in an aggregated one, in their order; None for a record that isn't one, or is damaged."""
    if not data.startswith(MAGIC) or len(data) < len(MAGIC) + DIGEST_BYTES:
        return None
    message = data[len(MAGIC) : -DIGEST_BYTES]
    if hashlib.md5(message, usedforsecurity=False).digest() != data[-DIGEST_BYTES:]:
        return None
    try:
        return _records(message)
    except DamagedError:
        return None


def _records(message: bytes) -> list[bytes]:
    keys = hash_keys = 0
    found: list[tuple[int, int | None, bytes]] = []
    at = 0
    while at < len(message):
        field, value, at = _field(message, at)
        if field in (KEYS, HASH_KEYS, RECORDS) and not isinstance(value, bytes):
            raise DamagedError("a field of another type")
        keys += field == KEYS
        hash_keys += field == HASH_KEYS
        if field == RECORDS and isinstance(value, bytes):
            found.append(_record(value))
        if len(found) > MOST_RECORDS:
            raise DamagedError("too many records")
    if not found:
        raise DamagedError("no record")
    for key, hash_key, _ in found:
        if key >= keys or (hash_key is not None and hash_key >= hash_keys):
            raise DamagedError("a key that isn't in the table")
    return [data for _, _, data in found]


def _record(message: bytes) -> tuple[int, int | None, bytes]:
    """Index of the partition key, that of the explicit hash key, and the data."""
    values: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        field, value, at = _field(message, at)
        values[field] = value
    key, hash_key, data = values.get(KEY_INDEX), values.get(HASH_KEY_INDEX), values.get(DATA)
    if not isinstance(key, int) or isinstance(hash_key, bytes) or not isinstance(data, bytes):
        raise DamagedError("a record without its key or its data")
    return key, hash_key, data


def _field(message: bytes, at: int) -> tuple[int, int | bytes, int]:
    """A field's number, its value, and where the next one begins."""
    tag, at = _varint(message, at)
    field, kind = tag >> 3, tag & 7
    if kind == VARINT:
        value, at = _varint(message, at)
        return field, value, at
    if kind == BYTES:
        size, at = _varint(message, at)
    elif kind in (FIXED64, FIXED32):
        size = 8 if kind == FIXED64 else 4
    else:
        raise DamagedError("an unknown wire type")
    if not field or size > len(message) - at:
        raise DamagedError("a field that reaches beyond the message")
    return field, message[at : at + size], at + size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[at : at + VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follow
            return value, at + index + 1
    raise DamagedError("a number without an end")
