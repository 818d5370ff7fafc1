"""Telling threads that read shards to come to an end."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# A signal's handler sets a flag, and wakes no thread.
LOOK_SECONDS = 0.2


class Halt:
    """Whether to end, because somebody said so here, or because one of the `others` is true."""

    def __init__(self, *others: Callable[[], bool]) -> None:
        self._event = threading.Event()
        self._others = others

    def request(self) -> None:
        """Have whoever waits come to an end."""
        self._event.set()

    def requested(self) -> bool:
        """Whether nothing new is to be read."""
        return self._event.is_set() or any(other() for other in self._others)

    def wait(self, seconds: float) -> None:
        """Sleep, unless there is reason to end."""
        end = time.monotonic() + seconds
        while not self.requested() and (left := end - time.monotonic()) > 0:
            self._event.wait(min(left, LOOK_SECONDS))
