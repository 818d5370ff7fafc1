"""The routes that take a body of any size: landed as one batch, or only looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header, HTTPException, Path, Query, Request, Response

from dpipe.api.auth import Caller, check
from dpipe.api.body import announced_size, check_announced_size, chunks_of, is_small, within
from dpipe.api.jobs import Violation
from dpipe.api.media import TYPES, UNSUPPORTED, body_of, media_of
from dpipe.api.records import KeptRecord, kept
from dpipe.api.take import ACCEPTED, MOST_SHOWN, OK, Submission, Submitted, answer
from dpipe.contract.columns import NAME
from dpipe.library import process

if TYPE_CHECKING:
    from dpipe.api.media import Media
    from dpipe.api.service import Service
    from dpipe.contract import Contract

BAD_REQUEST = 400
LONGEST_WAIT_SECONDS = 60.0
VALIDATED_BYTES = 16 << 20
# Its rows are held in memory.
DECOMPRESSED_BYTES = 64 << 20
VALIDATED = [
    name for name, (form, packed, _) in TYPES.items() if form in {"ndjson", "json", "csv"} and not packed
]

IDEMPOTENCY_KEY = r"^[\x21-\x7e]{1,255}$"
DATASET_NAME = f"^{NAME.pattern}$"
DatasetName = Annotated[str, Path(pattern=DATASET_NAME, description="A dataset that has a contract.")]
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
    """The routes."""
    routes = APIRouter(tags=["submissions"])

    @routes.post(
        "/v1/datasets/{dataset}/batches",
        operation_id="submit",
        status_code=ACCEPTED,
        openapi_extra=body_of(TYPES),
        response_model=Submission,
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
        key: Caller,
        wait: Wait = 0,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Land the body as one batch; the answer comes once its bytes are safe on disk or in S3."""
        submitted = Submitted(service, dataset, media_of(request.headers), key, idempotency_key)
        check_announced_size(request, service.project.settings.max_body_bytes)
        if is_small(request):
            landed = await submitted.land_small(request)
        else:
            chunks = chunks_of(request, service.project.settings.max_body_bytes)
            landed = await to_thread.run_sync(submitted.land, chunks, announced_size(request))
        return await answer(service, landed, wait)

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
