"""Following jobs: one, many, as events, and the records that are no rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import anyio
from anyio import to_thread
from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import StreamingResponse

from dpipe import output
from dpipe.api import jobs as told
from dpipe.api.auth import FORBIDDEN, Caller, check
from dpipe.api.jobs import NOT_FOUND, Job
from dpipe.api.records import KeptRecord
from dpipe.api.submissions import IDEMPOTENCY_KEY
from dpipe.api.take import job_id_of, kept_records
from dpipe.state import jobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dpipe.api.service import Service
    from dpipe.state.jobs import JobRow
    from dpipe.state.keys import ApiKey

MOST_LISTED = 100
MOST_RECORDS = 1000
POLL_SECONDS = 0.5
COMMENT_SECONDS = 15.0
LONGEST_SECONDS = 600.0

JOB_ID = r"^job-[0-9a-f]{32}$"
JobId = Annotated[str, Path(pattern=JOB_ID, description="As a submission was answered with.")]


@dataclass(frozen=True)
class JobPage:
    """Jobs, the latest first; `next` is where the page after this one is, null on the last."""

    jobs: tuple[Job, ...]
    next: str | None


@dataclass(frozen=True)
class RecordPage:
    """Records by their number; `next` is where the page after this one is, null on the last."""

    records: tuple[KeptRecord, ...]
    next: str | None


def router(service: Service) -> APIRouter:
    """The routes that tell of jobs."""
    routes = APIRouter(tags=["jobs"])

    @routes.get("/v1/jobs", operation_id="jobs")
    def list_jobs(
        key: Caller,
        dataset: Annotated[str | None, Query(description="Of one dataset only.")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 20,
        before: Annotated[
            str | None, Query(pattern=JOB_ID, description="Jobs that came before this one.")
        ] = None,
        idempotency_key: Annotated[
            str | None,
            Query(
                pattern=IDEMPOTENCY_KEY,
                description="The key's own submissions of this name only.",
            ),
        ] = None,
    ) -> JobPage:
        """List submissions to the datasets that the key may read, the latest first; or its own of a name."""
        if idempotency_key is not None:
            return JobPage(
                tuple(told.told(service.project, _named(service, key, dataset, idempotency_key))), None
            )
        if dataset is not None:
            service.check_dataset(dataset)
        readable = [name for name in service.project.datasets() if key.allows("read", name)]
        wanted = [name for name in readable if dataset in {None, name}]
        if not wanted:
            raise HTTPException(FORBIDDEN, f"the key `{key.name}` has no scope `read:{dataset or '*'}`")
        earlier = _visible(service, before, key) if before else None
        rows = jobs.listed(service.engine, wanted, limit=limit, before=earlier)
        more = f"&dataset={dataset}" if dataset else ""
        following = f"/v1/jobs?limit={limit}&before={rows[-1].job_id}{more}" if len(rows) == limit else None
        return JobPage(tuple(told.told(service.project, rows)), following)

    @routes.get("/v1/jobs/{job_id}", operation_id="job")
    def job(job_id: JobId, key: Caller) -> Job:
        """Say what became of a submission: landed, processing, committed, refused or dropped, with its counts."""
        (found,) = told.told(service.project, [_visible(service, job_id, key)])
        return found

    @routes.get("/v1/jobs/{job_id}/quarantine", operation_id="job_quarantine")
    def job_quarantine(
        job_id: JobId,
        key: Caller,
        after: Annotated[int, Query(ge=0, description="Records after this number only.")] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_RECORDS)] = 100,
    ) -> RecordPage:
        """List a job's rejected and duplicate records, with every rule that they broke, by their number."""
        found = kept_records(service, _visible(service, job_id, key), limit, after)
        following = (
            f"/v1/jobs/{job_id}/quarantine?limit={limit}&after={found[-1].record_no}"
            if len(found) == limit
            else None
        )
        return RecordPage(found, following)

    @routes.get(
        "/v1/jobs/{job_id}/events",
        operation_id="job_events",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def job_events(job_id: JobId, request: Request, key: Caller) -> StreamingResponse:
        """Tell of each state of a job as a server-sent event, until nothing more will become of it by itself."""
        row = await to_thread.run_sync(_visible, service, job_id, key)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            _events(service, row, request), media_type="text/event-stream", headers=headers
        )

    return routes


def _named(service: Service, key: ApiKey, dataset: str | None, idempotency_key: str) -> list[JobRow]:
    """The key's submissions of this name: to a dataset, else to each that it may write."""
    if dataset is not None:
        check(key, "write", dataset)
        service.check_dataset(dataset)
    names = (
        [dataset] if dataset else [name for name in service.project.datasets() if key.allows("write", name)]
    )
    found = (jobs.find(service.engine, f"job-{job_id_of(key, name, idempotency_key)}") for name in names)
    return [row for row in found if row is not None]


def _visible(service: Service, job_id: str, key: ApiKey) -> JobRow:
    """The job, when the key made it or may read its dataset; else a 404, as for one that isn't there."""
    row = told.find(service.project, service.engine, job_id)
    if row.key_id != key.key_id and not key.allows("read", row.dataset):
        raise HTTPException(NOT_FOUND, f"there is no job `{job_id}`")
    return row


async def _events(service: Service, row: JobRow, request: Request) -> AsyncIterator[str]:
    state, said_at, started = None, time.monotonic(), time.monotonic()
    while time.monotonic() - started < LONGEST_SECONDS:
        (job,) = await to_thread.run_sync(told.told, service.project, [row])
        if job.state != state:
            state, said_at = job.state, time.monotonic()
            yield f"event: {state}\ndata: {output.to_json_line(job)}\n\n"
        elif time.monotonic() - said_at > COMMENT_SECONDS:
            said_at = time.monotonic()
            yield ": still\n\n"
        if job.is_final or await request.is_disconnected():
            return
        await anyio.sleep(POLL_SECONDS)
