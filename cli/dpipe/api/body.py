"""A request's body as the plain iterator that landing reads in its own thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import from_thread
from fastapi import HTTPException

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import Request

TOO_LARGE = 413


def check_announced_size(request: Request, limit: int) -> None:
    """Raise a 413 before the first byte when `Content-Length` already says too much."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)


def chunks_of(request: Request, limit: int) -> Iterator[bytes]:
    """The body's chunks, asked for from a worker thread; raises a 413 once more than `limit` bytes came.

    `Content-Length` may lie or be missing, so the bytes are counted. A client that hangs up raises
    Starlette's `ClientDisconnect`.
    """
    stream = request.stream()
    received = 0
    while (chunk := from_thread.run(anext, stream, None)) is not None:
        received += len(chunk)
        if received > limit:
            raise _too_large(limit)
        yield chunk


def _too_large(limit: int) -> HTTPException:
    return HTTPException(TOO_LARGE, f"the body has more than {limit:,} bytes; send it in parts")
