"""Reading a shard on and on: as often as it may be asked, with iterators that are renewed."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from dpipe.streams.kinesis import Answer, ExpiredError, ThrottledError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dpipe.streams.kinesis import Shard, Stream

# Kinesis takes five requests a second for each shard, from all who read it.
PAUSE_SECONDS = 0.25
MOST_SECONDS = 10.0
NOTHING = Answer((), at_tip=False, iterator="")


class ShardReader:
    """A shard, read from behind the sequence number `after`, or from the oldest record that is there.

    `wait` sleeps for so many seconds, or less when there is reason to stop.
    """

    def __init__(
        self, stream: Stream, shard: Shard, after: str | None, wait: Callable[[float], object] = time.sleep
    ) -> None:
        self.stream = stream
        self.shard = shard
        self._wait = wait
        self._after = after
        self._iterator: str | None = None
        self._due = 0.0
        self._throttled = 0

    def seek(self, after: str) -> None:
        """Go on behind this sequence number."""
        self._after, self._iterator = after, None

    def next(self, patience: float = MOST_SECONDS) -> Answer:
        """What comes next, after a pause of `patience` seconds at most; nothing while Kinesis wants less to be asked.

        Raises `UnavailableError` for an outage, `ConfigError` when the stream is gone.
        """
        pause = self._due - time.monotonic()
        if pause > 0:
            self._wait(min(pause, patience))
            if pause > patience:
                return NOTHING
        try:
            if self._iterator is None:
                self._iterator = self.stream.iterator(self.shard.shard_id, self._after)
            answer = self.stream.records(self._iterator)
        except ExpiredError:
            self._iterator = None
            self._due = time.monotonic() + PAUSE_SECONDS
            return NOTHING
        except ThrottledError:
            self._throttled += 1
            most = min(MOST_SECONDS, PAUSE_SECONDS * 2.0 ** min(self._throttled, 10))
            self._due = time.monotonic() + most * random.uniform(0.5, 1)  # noqa: S311 - so that readers part
            return NOTHING
        self._throttled = 0
        self._due = time.monotonic() + PAUSE_SECONDS
        if answer.records:
            self._after = answer.records[-1].sequence
        self._iterator = answer.iterator
        return answer
