"""Landing small submissions together: what comes while a group is on its way is the next one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from anyio import to_thread
from fastapi import HTTPException

from dpipe.api.jobs import claim, landed_job, row_of
from dpipe.landing import Landed, OtherBytesError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from dpipe.api.load import Load
    from dpipe.api.sinks import Sinks
    from dpipe.landing import Manifest
    from dpipe.settings import Project

SEGMENT_BYTES = 32 << 20
WAITING_BYTES = 256 << 20
UNAVAILABLE, RETRY_AFTER_SECONDS = 503, 1


@dataclass
class _Waiting:
    manifest: Manifest
    payload: bytes
    told: list[asyncio.Future[Landed]]


@dataclass
class Packer:
    """Puts submissions into segments; a group of them costs one transaction and one file a dataset."""

    project: Project
    engine: Engine
    load: Load
    sinks: Sinks
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _bytes: int = 0
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def land(self, manifest: Manifest, payload: bytes) -> Landed:
        """Land a submission; back once it is durable.

        Raises `OtherBytesError` when another body came under its id, a 503 when too much waits, and what landing
        raises.
        """
        waiting = self._waiting.get(manifest.batch_id)
        if waiting is not None:
            if waiting.manifest.sha256 != manifest.sha256:
                raise OtherBytesError(manifest)
            again: asyncio.Future[Landed] = asyncio.get_running_loop().create_future()
            waiting.told.append(again)
            return replace(await again, already=True)
        if self._bytes + len(payload) > WAITING_BYTES:
            raise HTTPException(
                UNAVAILABLE,
                "more comes in than can be written",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        future: asyncio.Future[Landed] = asyncio.get_running_loop().create_future()
        self._waiting[manifest.batch_id] = _Waiting(manifest, payload, [future])
        self._bytes += len(payload)
        self._came.set()
        return await future

    async def run(self) -> None:
        """Land what comes, until it is cancelled."""
        while True:
            await self._came.wait()
            group = self._next_group()
            try:
                outcomes = await to_thread.run_sync(self._land, group)
            except Exception as error:  # of the state database; each request of the group answers with it
                outcomes = dict.fromkeys((one.manifest.batch_id for one in group), error)
            for one in group:
                outcome = outcomes[one.manifest.batch_id]
                del self._waiting[one.manifest.batch_id]
                self._bytes -= len(one.payload)
                for told in one.told:
                    if told.cancelled():
                        continue  # its client has hung up
                    if isinstance(outcome, Landed):
                        told.set_result(outcome)
                    else:
                        told.set_exception(outcome)
            if not self._waiting:
                self._came.clear()

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        for one in self._waiting.values():
            size += len(one.payload)
            if group and size > SEGMENT_BYTES:
                break
            group.append(one)
        return group

    def _land(self, group: Sequence[_Waiting]) -> dict[str, Landed | Exception]:
        outcomes: dict[str, Landed | Exception] = {}
        rows = [row_of(one.manifest) for one in group]
        claimed = claim(self.project, self.engine, self.load, rows)
        by_dataset: dict[str, list[tuple[Manifest, bytes]]] = {}
        for one in group:
            manifest, there = one.manifest, claimed.get(one.manifest.batch_id)
            if there is not None:
                if there.sha256 != manifest.sha256:
                    outcomes[manifest.batch_id] = OtherBytesError(manifest)
                    continue
                landed = landed_job(self.project, manifest.dataset, manifest.batch_id)
                if landed is not None:
                    outcomes[manifest.batch_id] = Landed(landed, already=True)
                    continue
                # Whoever noted it died before its bytes were there.
                manifest = replace(manifest, received_at=there.received_at.isoformat(timespec="microseconds"))
            by_dataset.setdefault(manifest.dataset, []).append((manifest, one.payload))
        for dataset, batches in by_dataset.items():
            try:
                for manifest in self.sinks.keep(dataset, batches):
                    outcomes[manifest.batch_id] = Landed(manifest, already=False)
                    self.load.landed(manifest)
            except Exception as error:
                # Their rows stay: they may be durable all the same, and their names must not come to mean other bytes.
                outcomes |= dict.fromkeys((manifest.batch_id for manifest, _ in batches), error)
        return outcomes
