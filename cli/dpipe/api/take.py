"""Taking a submission: landed as it came, by itself or in a segment with others, and answered."""

from __future__ import annotations

import hashlib
import io
import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread
from fastapi import HTTPException, Request, Response
from pydantic import TypeAdapter

from dpipe import landing
from dpipe.api import jobs as told
from dpipe.api.archives import check_archive
from dpipe.api.auth import check
from dpipe.api.body import SMALL_BYTES, whole_body, within
from dpipe.api.jobs import Job
from dpipe.api.quota import Reservation, reserved
from dpipe.api.records import KeptRecord, kept
from dpipe.iceberg import open_catalog, quarantine

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dpipe.api.media import Media
    from dpipe.api.service import Service
    from dpipe.landing import Manifest
    from dpipe.outcomes import State
    from dpipe.state.jobs import JobRow
    from dpipe.state.keys import ApiKey

OK, ACCEPTED, UNPROCESSABLE = 200, 202, 422
POLL_SECONDS = 0.2
MOST_SHOWN = 100


@dataclass(frozen=True)
class Submission(Job):
    """A job, and when it was waited for the first hundred records that are no rows."""

    records: tuple[KeptRecord, ...] = ()


class _LandedBeforeError(Exception):
    """A submission has landed before with these bytes."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()
        self.manifest = manifest


SUBMISSION = TypeAdapter(Submission)


class Submitted:
    """What a request wants to land, but for the bytes. Raises a 403, 404 or 503 for what may not land now."""

    def __init__(
        self, service: Service, dataset: str, media: Media, key: ApiKey, idempotency_key: str | None
    ) -> None:
        check(key, "write", dataset)
        service.check_dataset(dataset)
        service.load.check_room()
        self.service, self.media, self.key = service, media, key
        self.draft = landing.submission(
            dataset,
            name=media.name,
            job_id=job_id_of(key, dataset, idempotency_key),
            source=f"{told.SOURCE}{key.key_id}",
            format=media.format,
            compression=media.compression,
        )

    async def land_small(self, request: Request) -> landing.Landed:
        """Land a body of 1 MiB at most together with what others send meanwhile."""
        body = await whole_body(request, SMALL_BYTES)
        if self.key.bytes_per_day is None:
            return await self._land_small(body)
        reservation = Reservation.of(self.service.engine, self.key)
        try:
            await to_thread.run_sync(reservation.extend, len(body))
            landed = await self._land_small(body)
            if not landed.already:
                reservation.keep(len(body))
        finally:
            if reservation.is_open:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(reservation.close)
        return landed

    async def _land_small(self, body: bytes) -> landing.Landed:
        if self.media.compression is not None:
            await to_thread.run_sync(self._check_limits, body)
        try:
            return await self.service.packer.land(landing.with_payload(self.draft, body), body)
        except landing.OtherBytesError as error:
            raise _other_body() from error

    def land(self, chunks: Iterable[bytes], announced: int | None) -> landing.Landed:
        """Land a body by itself, which is never held whole; `announced` is its length, None when it isn't known."""
        with reserved(self.service.engine, self.key, announced) as reservation:
            landed = self._land(reservation.counted(chunks))
            if not landed.already:
                reservation.keep(landed.manifest.bytes)
        return landed

    def _land(self, chunks: Iterable[bytes]) -> landing.Landed:
        service, project = self.service, self.service.project

        def claim(manifest: Manifest, path: Path) -> None:
            if self.media.compression == "zip":
                with path.open("rb") as file:
                    check_archive(file, self._most_bytes)
            row = told.row_of(manifest)
            there = told.claim(project, service.engine, service.load, [row]).get(row.job_id)
            if there is None:
                return
            if there.sha256 != row.sha256:
                raise landing.OtherBytesError(manifest)
            landed = told.landed_job(project, row.dataset, row.job_id)
            if landed is not None:
                raise _LandedBeforeError(landed)

        try:
            landed = landing.land_stream(
                project, self.draft, within(chunks, self.media.compression, self._most_bytes), claim=claim
            )
        except landing.OtherBytesError as error:
            raise _other_body() from error
        except _LandedBeforeError as error:
            return landing.Landed(error.manifest, already=True)
        if not landed.already:
            service.load.landed(landed.manifest)
        return landed

    @property
    def _most_bytes(self) -> int:
        return self.service.project.settings.max_decompressed_bytes

    def _check_limits(self, body: bytes) -> None:
        if self.media.compression == "zip":
            check_archive(io.BytesIO(body), self._most_bytes)
        for _ in within([body], self.media.compression, self._most_bytes):
            pass


def job_id_of(key: ApiKey, dataset: str, idempotency_key: str | None) -> str:
    """A random id, or the one that a key's submission of this name has: so that it lands once, whatever dies when."""
    if idempotency_key is None:
        return uuid.uuid4().hex
    named = json.dumps([key.key_id, dataset, idempotency_key])
    return hashlib.sha256(named.encode()).hexdigest()[:32]


async def answer(service: Service, landed: landing.Landed, wait: float) -> Response:
    """The answer to a submission, after so many seconds if nothing becomes of it before."""
    row = told.row_of(landed.manifest)
    if wait or landed.already:
        submission = await _waited_for(service, row, wait)
    else:
        state: State = "accepted" if service.packer.sinks.is_for_stream(landed.manifest) else "landed"
        submission = Submission(row.job_id, row.dataset, state, row.received_at, row.bytes, row.sha256)
    headers = {"Location": f"/v1/jobs/{row.job_id}"}
    if landed.already:
        headers["Idempotency-Replayed"] = "true"
    status = OK if wait and submission.is_final else ACCEPTED
    return Response(SUBMISSION.dump_json(submission), status, headers, media_type="application/json")


async def _waited_for(service: Service, row: JobRow, seconds: float) -> Submission:
    """The job once it is final, or as it is after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        submission = await to_thread.run_sync(_submission, service, row)
        if submission.is_final or time.monotonic() >= deadline:
            return submission
        await anyio.sleep(POLL_SECONDS)


def _submission(service: Service, row: JobRow) -> Submission:
    (job,) = told.told(service.project, [row])
    records = kept_records(service, row, MOST_SHOWN) if job.quarantine else ()
    return Submission(**vars(job), records=records)


def kept_records(service: Service, row: JobRow, limit: int, after: int = 0) -> tuple[KeptRecord, ...]:
    """The records of a job that are in quarantine, by their number, from after `after` on."""
    catalog = open_catalog(service.project)
    rows = quarantine.of_batch(catalog, row.dataset, row.job_id, after=after, limit=limit)
    return tuple(kept(one) for one in rows)


def _other_body() -> HTTPException:
    return HTTPException(
        UNPROCESSABLE, "another body came with this `Idempotency-Key` before; use one of its own"
    )
