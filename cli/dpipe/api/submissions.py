"""Taking batches: landed as they came, or only looked at."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from anyio import to_thread
from fastapi import APIRouter, Header, HTTPException, Path, Query, Request, Response

from dpipe import landing
from dpipe.api import jobs as told
from dpipe.api.auth import Caller, check
from dpipe.api.body import check_announced_size, chunks_of, small_body, within
from dpipe.api.jobs import Job, Violation
from dpipe.api.media import TYPES, UNSUPPORTED, body_of, media_of
from dpipe.api.records import KeptRecord, kept
from dpipe.contract.columns import NAME
from dpipe.iceberg import open_catalog, quarantine
from dpipe.library import process

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dpipe.api.media import Media
    from dpipe.api.service import Service
    from dpipe.contract import Contract
    from dpipe.state.jobs import JobRow
    from dpipe.state.keys import ApiKey

OK, ACCEPTED, BAD_REQUEST, UNPROCESSABLE = 200, 202, 400, 422
LONGEST_WAIT_SECONDS = 60.0
POLL_SECONDS = 0.2
MOST_SHOWN = 100
VALIDATED_BYTES = 16 << 20
# Its rows are held in memory.
DECOMPRESSED_BYTES = 64 << 20
VALIDATED = [
    name for name, (form, packed, _) in TYPES.items() if form in {"ndjson", "json", "csv"} and not packed
]

IDEMPOTENCY_KEY = r"^[\x21-\x7e]{1,255}$"
DatasetName = Annotated[str, Path(pattern=f"^{NAME.pattern}$", description="A dataset that has a contract.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=IDEMPOTENCY_KEY,
        description="The same one with the same body is the same submission, however often it comes.",
    ),
]
Wait = Annotated[
    float,
    Query(
        ge=0,
        le=LONGEST_WAIT_SECONDS,
        description="Seconds to wait for what becomes of it; a worker must be running.",
    ),
]


@dataclass(frozen=True)
class Submission(Job):
    """A job, and when it was waited for the first hundred records that are no rows."""

    records: tuple[KeptRecord, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What the contract makes of records; `records` are the first hundred that would be no rows."""

    valid: bool
    contract: str
    records_in: int
    accepted: int
    rejected: int
    duplicate: int
    violations: tuple[Violation, ...]
    failed_checks: tuple[str, ...]
    unknown_fields: dict[str, int]
    records: tuple[KeptRecord, ...]


def router(service: Service) -> APIRouter:
    """The routes that take a body."""
    routes = APIRouter(tags=["submissions"])

    @routes.post(
        "/v1/datasets/{dataset}/batches",
        operation_id="submit",
        status_code=ACCEPTED,
        openapi_extra=body_of(TYPES),
        responses={
            OK: {"model": Submission, "description": "It was waited for, and is in the tables or kept out."},
            ACCEPTED: {
                "description": "Its bytes are durable.",
                "headers": {"Location": {"schema": {"type": "string"}}},
                "links": {
                    name: {"operationId": name, "parameters": {"job_id": "$response.body#/job_id"}}
                    for name in ("job", "job_quarantine", "job_events")
                },
            },
        },
    )
    async def submit(
        dataset: DatasetName,
        request: Request,
        response: Response,
        key: Caller,
        wait: Wait = 0,
        idempotency_key: IdempotencyKey = None,
    ) -> Submission:
        """Land the body as one batch; the answer comes once its bytes are safe on disk or in S3."""
        check(key, "write", dataset)
        service.check_dataset(dataset)
        media = media_of(request.headers)
        check_announced_size(request, service.project.settings.max_body_bytes)
        body = await small_body(request)
        chunks = [body] if body is not None else chunks_of(request, service.project.settings.max_body_bytes)
        landed = await to_thread.run_sync(_land, service, dataset, chunks, media, key, idempotency_key)
        # Bytes and manifest first: what is missing of the row, the next start makes up for.
        await service.job_rows.add(told.row_of(landed.manifest))
        response.headers["Location"] = f"/v1/jobs/{landed.manifest.batch_id}"
        if landed.already:
            response.headers["Idempotency-Replayed"] = "true"
        submission = await _waited_for(service, told.row_of(landed.manifest), wait)
        if wait and submission.is_final:
            response.status_code = OK
        return submission

    @routes.post("/v1/datasets/{dataset}:validate", operation_id="validate", openapi_extra=body_of(VALIDATED))
    def validate(dataset: DatasetName, request: Request, key: Caller) -> Verdict:
        """Say what the contract makes of the body's records, and keep nothing. At most 16 MiB."""
        check(key, "write", dataset)
        contract = service.contract(dataset)
        media = media_of(request.headers)
        if media.content_type not in VALIDATED:
            raise HTTPException(
                UNSUPPORTED, "only NDJSON, JSON and CSV are validated, plain, in gzip or in zstd"
            )
        check_announced_size(request, VALIDATED_BYTES)
        chunks = within(chunks_of(request, VALIDATED_BYTES), media.compression, DECOMPRESSED_BYTES)
        content = b"".join(chunks)
        if not content:
            raise HTTPException(BAD_REQUEST, "the body is empty")
        return _verdict(contract, content, media, service)

    return routes


def _land(
    service: Service,
    dataset: str,
    chunks: Iterable[bytes],
    media: Media,
    key: ApiKey,
    idempotency_key: str | None,
) -> landing.Landed:
    service.load.check_room()
    settings = service.project.settings
    try:
        landed = landing.land_stream(
            service.project,
            dataset,
            within(chunks, media.compression, settings.max_decompressed_bytes),
            name=media.name,
            job_id=job_id_of(key, dataset, idempotency_key),
            source=f"{told.SOURCE}{key.key_id}",
            format=media.format,
            compression=media.compression,
        )
    except landing.OtherBytesError as error:
        raise HTTPException(
            UNPROCESSABLE, "another body came with this `Idempotency-Key` before; use one of its own"
        ) from error
    if not landed.already:
        service.metrics.landed(dataset, landed.manifest.bytes)
    return landed


def job_id_of(key: ApiKey, dataset: str, idempotency_key: str | None) -> str:
    """A random id, or the one that a key's submission of this name has: so that it lands once, whatever dies when."""
    if idempotency_key is None:
        return uuid.uuid4().hex
    named = json.dumps([key.key_id, dataset, idempotency_key])
    return hashlib.sha256(named.encode()).hexdigest()[:32]


async def _waited_for(service: Service, row: JobRow, seconds: float) -> Submission:
    """The job once it is final, or as it is after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        submission = await to_thread.run_sync(_submission, service, row, bool(seconds))
        if submission.is_final or time.monotonic() >= deadline:
            return submission
        await anyio.sleep(POLL_SECONDS)


def _submission(service: Service, row: JobRow, asked: bool) -> Submission:
    if not asked:  # it has only just landed
        return Submission(row.job_id, row.dataset, "landed", row.received_at, row.bytes, row.sha256)
    (job,) = told.told(service.project, [row])
    records = kept_records(service, row, MOST_SHOWN) if job.quarantine else ()
    return Submission(**vars(job), records=records)


def kept_records(service: Service, row: JobRow, limit: int, after: int = 0) -> tuple[KeptRecord, ...]:
    """The records of a job that are in quarantine, by their number, from after `after` on."""
    catalog = open_catalog(service.project)
    rows = quarantine.of_batch(catalog, row.dataset, row.job_id, after=after, limit=limit)
    return tuple(kept(one) for one in rows)


def _verdict(contract: Contract, body: bytes, media: Media, service: Service) -> Verdict:
    result = process(
        body,
        contract,
        format=media.format,
        compression=media.compression,
        threads=service.project.settings.threads,
        profile=False,
    )
    import pyarrow as pa

    rows: list[dict[str, Any]] = pa.table(result.quarantine).slice(0, MOST_SHOWN).to_pylist()
    failed = tuple(check.rule for check in result.checks if not check.passed)
    return Verdict(
        valid=not (result.rejected_count or result.duplicate_count or failed),
        contract=contract.hash,
        records_in=result.records_in,
        accepted=result.accepted_count,
        rejected=result.rejected_count,
        duplicate=result.duplicate_count,
        violations=tuple(Violation(one.column, one.rule, one.records) for one in result.violations),
        failed_checks=failed,
        unknown_fields=dict(result.unknown_fields),
        records=tuple(kept(row) for row in rows),
    )
