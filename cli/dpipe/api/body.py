"""A request's body as the plain iterator that landing reads in its own thread, held to its limits."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any

import anyio
import zstandard
from anyio import from_thread
from fastapi import HTTPException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fastapi import Request

TIMEOUT, TOO_LARGE = 408, 413
# A client that sends nothing for so long holds a thread for nothing.
PATIENCE_SECONDS = 30.0
PIECE_BYTES = 1 << 20
SMALL_BYTES = 1 << 20
GZIP = 16 + zlib.MAX_WBITS


def check_announced_size(request: Request, limit: int) -> None:
    """Raise a 413 before the first byte when `Content-Length` already says too much."""
    if (announced_size(request) or 0) > limit:
        raise _too_large(limit)


def announced_size(request: Request) -> int | None:
    """What `Content-Length` says, None when it says nothing."""
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdigit() else None


def is_small(request: Request) -> bool:
    """Whether the body announces to be small enough to be held in memory."""
    announced = announced_size(request)
    return announced is not None and announced <= SMALL_BYTES


async def whole_body(request: Request, limit: int) -> bytes:
    """The body; raises a 413 once more than `limit` bytes came, and a 408 when it isn't there in half a minute."""
    chunks, received = [], 0
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for chunk in request.stream():
                received += len(chunk)
                if received > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
    except TimeoutError as error:
        raise _too_slow() from error
    return b"".join(chunks)


def chunks_of(request: Request, limit: int) -> Iterator[bytes]:
    """The body's chunks, asked for from a worker thread; raises a 413 once more than `limit` bytes came.

    `Content-Length` may lie or be missing, so the bytes are counted. Raises a 408 when nothing comes for half a
    minute; a client that hangs up raises Starlette's `ClientDisconnect`.
    """
    stream = request.stream()

    async def next_chunk() -> bytes | None:
        with anyio.fail_after(PATIENCE_SECONDS):
            return await anext(stream, None)

    received = 0
    while (chunk := _in_time(next_chunk)) is not None:
        received += len(chunk)
        if received > limit:
            raise _too_large(limit)
        yield chunk


def within(chunks: Iterable[bytes], compression: str | None, limit: int) -> Iterator[bytes]:
    """The chunks as they are; raises a 413 once they decompress to more than `limit` bytes.

    Bytes that can't be decompressed go through: what comes of them is the contract's business.
    """
    count = {"gzip": _gzip, "zstd": _zstd}.get(compression or "")
    meter = _Meter(limit)
    counting = count(meter) if count else None
    for chunk in chunks:
        if counting is not None:
            try:
                counting(chunk)
            except (zlib.error, zstandard.ZstdError):
                counting = None
        yield chunk


class _Meter:
    """A sink that only counts."""

    def __init__(self, limit: int) -> None:
        self._left = self._limit = limit

    def write(self, data: bytes | memoryview) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise decompresses_to_more(self._limit)
        return len(data)


def _gzip(meter: _Meter) -> Callable[[bytes], None]:
    member = zlib.decompressobj(GZIP)

    def count(chunk: bytes) -> None:
        nonlocal member
        while chunk:
            meter.write(member.decompress(chunk, PIECE_BYTES))
            chunk = member.unconsumed_tail
            if member.eof:
                chunk, member = member.unused_data, zlib.decompressobj(GZIP)

    return count


def _zstd(meter: _Meter) -> Callable[[bytes], None]:
    sink: Any = meter
    writer = zstandard.ZstdDecompressor().stream_writer(sink, closefd=False)

    def count(chunk: bytes) -> None:
        writer.write(chunk)

    return count


def _in_time(step: Callable[..., object]) -> bytes | None:
    try:
        chunk: bytes | None = from_thread.run(step)  # type: ignore[arg-type]
    except TimeoutError as error:
        raise _too_slow() from error
    return chunk


def decompresses_to_more(limit: int) -> HTTPException:
    """A 413 for a body that is small only as long as it is compressed."""
    return HTTPException(TOO_LARGE, f"the body decompresses to more than {limit:,} bytes; send it in parts")


def _too_slow() -> HTTPException:
    return HTTPException(TIMEOUT, f"nothing came for {PATIENCE_SECONDS:.0f} s")


def _too_large(limit: int) -> HTTPException:
    return HTTPException(TOO_LARGE, f"the body has more than {limit:,} bytes; send it in parts")
