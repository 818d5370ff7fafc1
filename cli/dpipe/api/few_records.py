"""The route for a few records, which come often: plain ASGI.

FastAPI's own share of a request takes several times as long as all that has to be done here. The route is described,
checked and answered as the one for batches is.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field, TypeAdapter, ValidationError
from starlette.routing import Route

from dpipe.api.auth import admitted
from dpipe.api.body import SMALL_BYTES, check_announced_size
from dpipe.api.media import UNSUPPORTED, body_of, media_of
from dpipe.api.submissions import DATASET_NAME, IDEMPOTENCY_KEY, LONGEST_WAIT_SECONDS, VALIDATED
from dpipe.api.take import Submitted, answer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from dpipe.api.service import Service

T = TypeVar("T")

PATH = "/v1/datasets/{dataset}/records"
AS_BATCHES = "/v1/datasets/{dataset}/batches"
DATASET: TypeAdapter[str] = TypeAdapter(Annotated[str, Field(pattern=DATASET_NAME)])
WAIT: TypeAdapter[float] = TypeAdapter(Annotated[float, Field(ge=0, le=LONGEST_WAIT_SECONDS)])
NAMED: TypeAdapter[str | None] = TypeAdapter(Annotated[str | None, Field(pattern=IDEMPOTENCY_KEY)])


def route(service: Service) -> Route:
    """The route."""
    return Route(PATH, _Records(service), methods=["POST"])


class _Records:
    """Lands a body of 1 MiB at most, in one file with what others send meanwhile; else it is as a batch."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self
        request = Request(scope, receive)
        key = await admitted(request, request.headers.get("authorization"))
        dataset = _checked(DATASET, "path", "dataset", request.path_params["dataset"])
        wait = _checked(WAIT, "query", "wait", request.query_params.get("wait", 0))
        name = _checked(NAMED, "header", "idempotency-key", request.headers.get("idempotency-key"))
        media = media_of(request.headers)
        if media.content_type not in VALIDATED:
            raise HTTPException(UNSUPPORTED, f"records come as one of {', '.join(VALIDATED)}")
        submitted = Submitted(self._service, dataset, media, key, name)
        check_announced_size(request, SMALL_BYTES)
        response = await answer(self._service, await submitted.land_small(request), wait)
        await response(scope, receive, send)

    @property
    def path(self) -> str:
        """What the access log and the metrics call it."""
        return PATH


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
