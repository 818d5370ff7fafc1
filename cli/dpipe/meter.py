"""What this process has used: processor time, bytes read through the operating system, requests to S3.

The figures are the whole process's: its threads, and the children that it has waited for. Taken in laps, one after the
other, they add up to what it used since it was started; which thread used it they can't tell.
"""

from __future__ import annotations

import resource
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Request = Literal["write", "read"]

# Linux counts what goes through read calls, out of its cache or not; elsewhere nothing does.
IO = Path("/proc/self/io")


@dataclass(frozen=True)
class Used:
    """Processor seconds, user's and system's; bytes read, None where nobody counts them; requests to S3.

    `s3_writes` are those that AWS charges as PUT, COPY, POST or LIST, `s3_reads` those charged as GET; deletions are
    free, and not counted.
    """

    cpu_seconds: float = 0.0
    bytes_scanned: int | None = 0
    s3_writes: int = 0
    s3_reads: int = 0

    def __add__(self, other: Used) -> Used:
        return Used(
            self.cpu_seconds + other.cpu_seconds,
            _sum(self.bytes_scanned, other.bytes_scanned),
            self.s3_writes + other.s3_writes,
            self.s3_reads + other.s3_reads,
        )

    def since(self, earlier: Used) -> Used:
        """What was used between two readings."""
        return self + Used(
            -earlier.cpu_seconds,
            _negative(earlier.bytes_scanned),
            -earlier.s3_writes,
            -earlier.s3_reads,
        )


class Meter:
    """Laps of one process; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[Request] = Counter()
        self._last = Used()
        self._runs = 0
        self._overlapped = False

    def request(self, kind: Request) -> None:
        """Count a request to S3."""
        with self._lock:
            self._requests[kind] += 1

    @contextmanager
    def run(self) -> Iterator[None]:
        """Know for the length of the block that a run is under way."""
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)

    def lap(self) -> tuple[Used, bool]:
        """What was used since the last lap, and whether several runs were under way meanwhile."""
        with self._lock:
            now = self._reading()
            used, overlapped = now.since(self._last), self._overlapped
            self._last, self._overlapped = now, self._runs > 1
        return used, overlapped

    def _change(self, by: int) -> None:
        with self._lock:
            self._runs += by
            self._overlapped = self._overlapped or self._runs > 1

    def _reading(self) -> Used:
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
        return Used(cpu, _scanned(), self._requests["write"], self._requests["read"])


METER = Meter()


def _scanned() -> int | None:
    try:
        lines = IO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return int(dict(line.split(": ", 1) for line in lines)["rchar"])


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _negative(number: int | None) -> int | None:
    return None if number is None else -number
