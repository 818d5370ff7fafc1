"""What a record of a stream holds, as lines of NDJSON: taken apart, decompressed, each with a newline at its end.

Nothing is judged here. What can't be taken apart or decompressed stays the bytes that it is, for the kernel to reject
and the quarantine to keep.
"""

from __future__ import annotations

from dpipe.streams.kpl import user_records

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
NEWLINE = b"\n"
# What one record, or all that are aggregated in it, may come to.
MOST_BYTES = 64 << 20


def lines(data: bytes, most: int = MOST_BYTES) -> list[bytes]:
    """A record's payload, one item for each user's record; an empty one has no bytes, every other ends in a newline."""
    taken_apart = user_records(data)
    if taken_apart is None:
        return [_line(_plain(data, most))]
    found = []
    for one in taken_apart:
        plain = _plain(one, most)
        if plain is not one:
            most -= len(plain)
        found.append(_line(plain))
    return found


def _line(data: bytes) -> bytes:
    return data if not data or data.endswith(NEWLINE) else data + NEWLINE


def _plain(data: bytes, most: int) -> bytes:
    """The bytes without their compression; as they are when they have none, are damaged or come to more than `most`."""
    form = "gzip" if data.startswith(GZIP) else "zstd" if data.startswith(ZSTD) else None
    if form is None:
        return data
    import pyarrow as pa

    try:
        with pa.CompressedInputStream(pa.BufferReader(data), form) as stream:
            plain: bytes = stream.read(most + 1)
    except OSError:
        return data
    return plain if len(plain) <= most else data
