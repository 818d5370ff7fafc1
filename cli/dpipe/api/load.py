"""How much waits and how much room there is: what the server refuses more work by."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from anyio import sleep, to_thread
from fastapi import HTTPException

from dpipe import output
from dpipe.stages.pending import Pending

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from dpipe.api.metrics import Metrics
    from dpipe.landing import Manifest
    from dpipe.settings import Project

UNAVAILABLE = 503
# Looking costs a listing of what has landed.
LOOK_SECONDS = 5.0
# So many times as long as a look takes, at least, no other one is taken.
REST = 20
FREE_SECONDS = 0.5
RETRY_AFTER_SECONDS = 30


@dataclass
class Load:
    """The backlog of each dataset as of a few seconds ago, and what has landed here since."""

    project: Project
    metrics: Metrics
    _backlog: dict[str, int] = field(default_factory=dict)
    _since: int = 0
    _free: int = 0
    _free_until: float = 0.0
    _looking: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self._pending = Pending(self.project)

    async def watch(self, *, task_status: TaskStatus[None]) -> None:
        """Look every few seconds, until it is cancelled; no request waits for that. Says so after the first look."""
        seconds = await self._try_to_look()
        task_status.started()
        while True:
            await sleep(max(LOOK_SECONDS, REST * seconds))
            seconds = await self._try_to_look()

    async def _try_to_look(self) -> float:
        """Look in a thread; the seconds that it took."""
        started = time.monotonic()
        try:
            await to_thread.run_sync(self.look)
        except Exception as error:  # whoever submits next is told by what fails then
            output.warn(f"the backlog can't be looked at: {error}")
        return time.monotonic() - started

    def check_room(self) -> None:
        """Raise a 503 with `Retry-After` when too many batches wait, or the disk has too little room."""
        settings = self.project.settings
        free, waiting = self.free_bytes(), sum(self._backlog.values()) + self._since
        if free < settings.min_free_mb << 20:
            raise _refused(f"the disk has {free >> 20:,} MB left, less than {settings.min_free_mb:,}")
        if waiting >= settings.max_backlog_batches:
            raise _refused(f"{waiting:,} batches wait to be processed, which is as many as may")

    def look(self) -> None:
        """Count the batches of each dataset that have landed, and of which nothing has become yet."""
        with self._looking:
            before = self._since
            self._backlog = {name: len(self._pending.of(name)) for name in self.project.datasets()}
            self._since -= before
        self.metrics.load(self._backlog, self.free_bytes())

    def is_over(self, dataset: str, job_id: str) -> bool:
        """Whether a submission was committed or dropped as of the last look; takes one if there was none yet."""
        if dataset not in self._backlog:
            self.look()
        return job_id in self._pending.done.get(dataset, ())

    def landed(self, manifest: Manifest) -> None:
        """Count a submission that is durable."""
        self._since += 1
        self.metrics.landed(manifest.dataset, manifest.bytes)

    def free_bytes(self) -> int:
        """Room on the disk that submissions come to first, as of half a second ago at most."""
        now = time.monotonic()
        if now >= self._free_until:
            self._free = shutil.disk_usage(self.project.data_dir).free
            self._free_until = now + FREE_SECONDS
        return self._free


def _refused(detail: str) -> HTTPException:
    return HTTPException(UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
