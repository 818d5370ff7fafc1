"""How much waits and how much room there is: what the server refuses more work by."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from fastapi import HTTPException

from dpipe.stages.pending import Pending

if TYPE_CHECKING:
    from dpipe.api.metrics import Metrics
    from dpipe.settings import Project

UNAVAILABLE = 503
# Looking costs a listing of what has landed.
LOOK_SECONDS = 5.0
RETRY_AFTER_SECONDS = 30


@dataclass
class Load:
    """The backlog of each dataset as of a few seconds ago."""

    project: Project
    metrics: Metrics
    _backlog: dict[str, int] = field(default_factory=dict)
    _looked_at: float = float("-inf")
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self._pending = Pending(self.project)

    def check_room(self) -> None:
        """Raise a 503 with `Retry-After` when too many batches wait, or the disk has too little room."""
        settings = self.project.settings
        free, waiting = self.free_bytes(), sum(self.backlog().values())
        if free < settings.min_free_mb << 20:
            raise _refused(f"the disk has {free >> 20:,} MB left, less than {settings.min_free_mb:,}")
        if waiting >= settings.max_backlog_batches:
            raise _refused(f"{waiting:,} batches wait to be processed, which is as many as may")

    def backlog(self) -> dict[str, int]:
        """How many batches of each dataset have landed, and nothing has become of them yet."""
        if time.monotonic() - self._looked_at < LOOK_SECONDS or not self._lock.acquire(blocking=False):
            return self._backlog
        try:
            self._backlog = {name: len(self._pending.of(name)) for name in self.project.datasets()}
            self._looked_at = time.monotonic()
            self.metrics.load(self._backlog, self.free_bytes())
        finally:
            self._lock.release()
        return self._backlog

    def free_bytes(self) -> int:
        """Room on the disk that submissions come to first."""
        return shutil.disk_usage(self.project.data_dir).free


def _refused(detail: str) -> HTTPException:
    return HTTPException(UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
