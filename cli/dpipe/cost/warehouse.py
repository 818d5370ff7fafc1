"""For how long a warehouse is billed: by the second until it suspends, and a minute at least whenever it resumes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

LEAST_SECONDS = 60.0


@dataclass(frozen=True)
class Use:
    """Statements of a stage that kept a warehouse of a size busy for so long from its beginning on."""

    size: str
    started_at: datetime
    seconds: float


def billed(uses: Sequence[Use], suspends_after: float) -> list[float]:
    """The seconds that each of the uses is billed, as if they were all that there is on one warehouse a size.

    A use pays until the next one begins, if that comes before the warehouse suspends, which is so many seconds after
    its last work; else until it does, and for what its minute lacks.
    """
    found = [0.0] * len(uses)
    order = sorted(range(len(uses)), key=lambda at: (uses[at].size, uses[at].started_at))
    for _, of_size in groupby(order, key=lambda at: uses[at].size):
        working = [(at, uses[at]) for at in of_size if uses[at].seconds > 0]
        if working:
            _bill(working, suspends_after, found)
    return found


def _bill(uses: Sequence[tuple[int, Use]], suspends_after: float, found: list[float]) -> None:
    resumed = busy = ends = uses[0][1].started_at
    for place, (at, use) in enumerate(uses):
        if use.started_at > ends:
            resumed = busy = use.started_at
        # It may still be at what began before.
        busy = max(busy, use.started_at + timedelta(seconds=use.seconds))
        ends = max(busy + timedelta(seconds=suspends_after), resumed + timedelta(seconds=LEAST_SECONDS))
        following = uses[place + 1][1].started_at if place + 1 < len(uses) else ends
        found[at] = (min(following, ends) - use.started_at).total_seconds()
