"""Amounts and what they cost."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

GB, TB = 1 << 30, 1 << 40
HOUR = 3600
DAYS_A_MONTH = 365 / 12
HOURS_A_MONTH = 24 * DAYS_A_MONTH


@dataclass(frozen=True)
class Cost:
    """Money by what it is for."""

    compute: float = 0.0
    storage: float = 0.0
    requests: float = 0.0
    warehouse: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.compute + self.storage + self.requests + self.warehouse

    def to_dict(self) -> dict[str, float]:
        """By name, with the total."""
        return {**vars(self), "total": self.total}

    def grown(self, times: float, fixed: float) -> Cost:
        """What it comes to with so many times the records, of whose work a `fixed` share stays as it is."""
        work = fixed + (1 - fixed) * times
        return Cost(self.compute * work, self.storage * times, self.requests * times, self.warehouse * work)


@dataclass(frozen=True)
class Amounts:
    """What was used. Bytes that nobody counted are none; `warehouse_seconds` are those that are billed."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    records: float = 0.0
    bytes_read: float = 0.0
    bytes_written: float = 0.0
    bytes_stored: float = 0.0
    bytes_scanned: float = 0.0
    s3_writes: float = 0.0
    s3_reads: float = 0.0
    warehouse_seconds: float = 0.0
    credits: float = 0.0

    def share(self, part: float) -> Amounts:
        """A part of each."""
        return Amounts(*(value * part for value in vars(self).values()))

    def to_dict(self) -> dict[str, float]:
        """By name; what is counted in ones as whole numbers."""
        timed = {"seconds", "cpu_seconds", "warehouse_seconds", "credits"}
        return {name: value if name in timed else round(value) for name, value in vars(self).items()}


def total_amounts(of: Iterable[Amounts]) -> Amounts:
    """The sum of each."""
    listed = list(of)
    return Amounts(*(sum(getattr(one, field.name) for one in listed) for field in fields(Amounts)))


def total_cost(of: Iterable[Cost]) -> Cost:
    """The sum of each."""
    listed = list(of)
    return Cost(*(sum(getattr(one, field.name) for one in listed) for field in fields(Cost)))
