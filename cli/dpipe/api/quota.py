"""Bytes that a key may submit a day: reserved while a body is on its way, and counted once it has landed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from fastapi import HTTPException

from dpipe.api.auth import TOO_MANY
from dpipe.api.body import TOO_LARGE
from dpipe.state import quotas

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from sqlalchemy import Engine

    from dpipe.state.keys import ApiKey

# Of a body that doesn't say its length so many are reserved at a time: each costs a transaction.
BLOCK_BYTES = 8 << 20


@contextmanager
def reserved(engine: Engine, key: ApiKey, announced: int | None) -> Iterator[Reservation]:
    """Room for a body in what its key may submit today; what isn't kept at the end of the block is given back.

    `announced` is its length, None when that isn't known. Raises a 429 with `Retry-After` when there is too little
    left, here or while the body comes, and a 413 when a whole day is too short for it.
    """
    reservation = Reservation.of(engine, key)
    try:
        if announced:
            reservation.extend(announced)
        yield reservation
    finally:
        reservation.close()


@dataclass
class Reservation:
    """What is counted of one body so far; nothing for a key without a quota."""

    engine: Engine
    key: ApiKey
    day: date
    taken: int = 0
    seen: int = 0
    kept: int = 0

    @staticmethod
    def of(engine: Engine, key: ApiKey) -> Reservation:
        """Nothing yet, of today."""
        return Reservation(engine, key, datetime.now(UTC).date())

    @property
    def is_open(self) -> bool:
        """Whether something is to be given back."""
        return self.taken > self.kept

    def counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks as they are, each once there is room for it."""
        for chunk in chunks:
            self.seen += len(chunk)
            if self.seen > self.taken:
                self.extend(self.seen - self.taken, BLOCK_BYTES)
            yield chunk

    def keep(self, size: int) -> None:
        """So many bytes have landed, and count for the day."""
        self.kept = size

    def extend(self, size: int, rather: int = 0) -> None:
        """Reserve so many bytes more, or `rather` more of them when there is room."""
        most = self.key.bytes_per_day
        if most is None:
            return
        if self.taken + size > most:
            raise HTTPException(
                TOO_LARGE, f"the body has more than the {most:,} bytes that the key may submit a day"
            )
        for wanted in dict.fromkeys((max(size, rather), size)):
            if quotas.reserve(self.engine, self.key.key_id, wanted, self.day):
                self.taken += wanted
                return
        raise HTTPException(
            TOO_MANY,
            f"the key may submit {most:,} bytes a day, and has too few of them left; the day ends at 00:00 UTC",
            headers={"Retry-After": str(_seconds_left())},
        )

    def close(self) -> None:
        """Give back what is reserved and not kept."""
        if self.is_open:
            quotas.release(self.engine, self.key.key_id, self.taken - self.kept, self.day)


def _seconds_left() -> int:
    """Until the day ends, one at least."""
    now = datetime.now(UTC)
    tomorrow = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
    return int((tomorrow - now).total_seconds()) + 1
