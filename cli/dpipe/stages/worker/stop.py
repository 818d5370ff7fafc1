"""Being told to stop: the first signal lets what is under way come to its end, a second one doesn't."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """What is under way ends before it is done; no `Exception`, so that nobody takes it for a fault."""


class Stop:
    """Whether a signal asked this process to stop. Python runs handlers, and so all of this, in the main thread."""

    def __init__(self) -> None:
        self.requested = False
        self._interruptible = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT for as long as the block lasts; the second one raises `KeyboardInterrupt`."""
        before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def is_requested(self) -> bool:
        """Whether nothing new is to be started."""
        return self.requested

    def check(self) -> None:
        """Raise `Stopped` once it is requested."""
        if self.requested:
            raise Stopped

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A block that leaves nothing half done when it is left: a signal raises `Stopped` in it."""
        self._interruptible = True
        try:
            self.check()
            yield
        finally:
            self._interruptible = False

    def sleep(self, seconds: float) -> None:
        """Sleep, unless there is reason to stop."""
        with suppress(Stopped), self.interruptible():
            time.sleep(seconds)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if self._interruptible:
            raise Stopped
