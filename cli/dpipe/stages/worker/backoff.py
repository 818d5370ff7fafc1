"""When something that failed is tried again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from dpipe.outages import pause

FIRST_SECONDS = 1.0
MOST_SECONDS = 60.0


@dataclass
class Backoff:
    """Things by their names: each failure in a row doubles the pause, up to a minute.

    Pauses are jittered, so that workers which failed together don't come back together.
    """

    failures: dict[str, int] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)

    def is_due(self, name: str) -> bool:
        """Whether it didn't fail, or its pause is over."""
        return time.monotonic() >= self.due.get(name, 0)

    def failed(self, name: str) -> float:
        """Count a failure; the seconds until it is due again."""
        before = self.failures.get(name, 0)
        self.failures[name] = before + 1
        seconds = pause(before, FIRST_SECONDS, MOST_SECONDS)
        self.due[name] = time.monotonic() + seconds
        return seconds

    def worked(self, name: str) -> None:
        """Forget its failures."""
        self.due.pop(name, None)
        self.failures.pop(name, None)
