"""The route for a few records, which come often: plain ASGI in front of FastAPI.

FastAPI's own share of a request takes longer than all that has to be done here. The route is described, checked and
answered as the one for batches is.
"""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field, TypeAdapter, ValidationError

from dpipe.api import problems
from dpipe.api.auth import admitted
from dpipe.api.body import SMALL_BYTES, check_announced_size
from dpipe.api.media import UNSUPPORTED, body_of, media_of
from dpipe.api.submissions import DATASET_NAME, IDEMPOTENCY_KEY, LONGEST_WAIT_SECONDS, VALIDATED
from dpipe.api.take import Submitted, answer

if TYPE_CHECKING:
    from fastapi import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from dpipe.api.service import Service

T = TypeVar("T")

NOT_ALLOWED = 405
PATH = "/v1/datasets/{dataset}/records"
ROUTE = re.compile(r"/v1/datasets/(?P<dataset>[^/]+)/records")
AS_BATCHES = "/v1/datasets/{dataset}/batches"
DATASET: TypeAdapter[str] = TypeAdapter(Annotated[str, Field(pattern=DATASET_NAME)])
WAIT: TypeAdapter[float] = TypeAdapter(Annotated[float, Field(ge=0, le=LONGEST_WAIT_SECONDS)])
NAMED: TypeAdapter[str | None] = TypeAdapter(Annotated[str | None, Field(pattern=IDEMPOTENCY_KEY)])


class FewRecords:
    """ASGI middleware: lands bodies of 1 MiB at most, in one file with what others send meanwhile; else as a batch."""

    path = PATH
    """What the access log and the metrics call it."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is for this route, and pass everything else on."""
        match = ROUTE.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if match is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = self
        request = Request(scope, receive)
        try:
            response = await self._land(request, match["dataset"])
        except Exception as error:
            response = problems.response_to(request, error)
        await response(scope, receive, send)

    async def _land(self, request: Request, dataset: str) -> Response:
        if request.method != "POST":
            raise HTTPException(NOT_ALLOWED, "only POST is for this", headers={"Allow": "POST"})
        key = await admitted(request, self._service.keyring, request.headers.get("authorization"))
        dataset = _checked(DATASET, "path", "dataset", dataset)
        given = request.query_params.get("wait", 0) if request.scope["query_string"] else 0
        wait = _checked(WAIT, "query", "wait", given)
        name = _checked(NAMED, "header", "idempotency-key", request.headers.get("idempotency-key"))
        media = media_of(request.headers)
        if media.content_type not in VALIDATED:
            raise HTTPException(UNSUPPORTED, f"records come as one of {', '.join(VALIDATED)}")
        submitted = Submitted(self._service, dataset, media, key, name)
        check_announced_size(request, SMALL_BYTES)
        return await answer(self._service, await submitted.land_small(request), wait)


def _checked(rule: TypeAdapter[T], place: str, name: str, value: object) -> T:
    """A parameter as its type; raises what FastAPI raises for one that breaks its rule."""
    try:
        return rule.validate_python(value)
    except ValidationError as error:
        raise RequestValidationError([one | {"loc": (place, name)} for one in error.errors()]) from error


def describe(paths: dict[str, Any]) -> None:
    """Add the route to OpenAPI's paths."""
    operation = deepcopy(paths[AS_BATCHES]["post"])
    operation |= body_of(VALIDATED)
    operation["operationId"] = "submit_records"
    operation["summary"] = "Submit Records"
    operation["description"] = (
        "Land a few records, 1 MiB at most, in one file with what others send meanwhile; the answer comes once their "
        "bytes are safe on disk or in S3."
    )
    paths[PATH] = {"post": operation}
