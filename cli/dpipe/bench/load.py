"""A client that keeps many connections busy: plain HTTP/1.1, so that the server is what is measured."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


@dataclass(frozen=True)
class Target:
    """Where requests go, and what they carry beside the body."""

    port: int
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    named: bool = False
    """Whether each request has an `Idempotency-Key` of its own."""


@dataclass(frozen=True)
class Sent:
    """Requests that were answered with a 2xx, what else came, wall seconds and every request's seconds, sorted."""

    answered: int
    failed: list[str]
    seconds: float
    latencies: list[float]

    def latency(self, share: float) -> float:
        """The seconds within which this share of the requests was answered."""
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def send(target: Target, body: bytes, requests: int, connections: int, prefix: str) -> Sent:
    """Post the body so many times over so many connections; names of requests begin with the prefix."""
    return asyncio.run(_send(target, body, requests, connections, prefix))


async def _send(target: Target, body: bytes, requests: int, connections: int, prefix: str) -> Sent:
    numbers = iter(range(requests))
    latencies: list[float] = []
    failed: list[str] = []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        try:
            for number in numbers:
                started = time.perf_counter()
                writer.write(_request(target, body, f"{prefix}-{number}"))
                status = await _answer(reader)
                latencies.append(time.perf_counter() - started)
                if not status.startswith("2"):
                    failed.append(status)
        finally:
            writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(connections)))
    seconds = time.perf_counter() - started
    return Sent(len(latencies) - len(failed), failed, seconds, sorted(latencies))


def _request(target: Target, body: bytes, name: str) -> bytes:
    named = {"Idempotency-Key": name} if target.named else {}
    headers = {"Host": "127.0.0.1", "Content-Type": "application/x-ndjson", "Content-Length": str(len(body))}
    lines = [f"{key}: {value}" for key, value in (headers | dict(target.headers) | named).items()]
    return "\r\n".join([f"POST {target.path} HTTP/1.1", *lines, "", ""]).encode() + body


async def _answer(reader: asyncio.StreamReader) -> str:
    """The status line's code and words."""
    head = await reader.readuntil(HEAD_END)
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(LENGTH)]
    await reader.readexactly(int(lengths[0][len(LENGTH) :]) if lengths else 0)
    return head.partition(b"\r\n")[0].decode("latin-1").partition(" ")[2]
