"""Freshness: how long batches took from landing to the published marts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime


@dataclass(frozen=True)
class Freshness:
    """Seconds from `received_at` to the publication, over the batches that it published; by nearest rank."""

    batches: int
    p50: float
    p95: float
    max: float

    def describe(self) -> str:
        """Freshness in a line."""
        return (
            f"freshness: {self.batches:,} batch(es) published, from landing to marts "
            f"p50 {self.p50:.1f} s, p95 {self.p95:.1f} s, max {self.max:.1f} s"
        )


def freshness(received: Iterable[datetime], published_at: datetime) -> Freshness | None:
    """The freshness of batches by when they were received; None without any."""
    ages = sorted((published_at - at).total_seconds() for at in received)
    if not ages:
        return None
    return Freshness(len(ages), _at(ages, 0.5), _at(ages, 0.95), _at(ages, 1))


def _at(ordered: Sequence[float], share: float) -> float:
    return round(ordered[math.ceil(share * len(ordered)) - 1], 3)
