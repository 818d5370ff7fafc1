"""Errors as `application/problem+json` (RFC 9457), whatever raised them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from dpipe.errors import DpipeError, UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI

RETRY_AFTER_SECONDS = 5


def install(app: FastAPI) -> None:
    """Have `app` answer every error with a problem document."""
    for kind, answer in ANSWERS.items():
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(Exception, _from_bug)


def response_to(request: Request, error: Exception) -> JSONResponse:
    """The answer to a request that raised this, as FastAPI's routes give it; a fault of our own goes to the log."""
    for kind, answer in ANSWERS.items():
        if isinstance(error, kind):
            return answer(request, error)
    sys.excepthook(type(error), error, error.__traceback__)
    return _from_bug(request, error)


def problem(
    request: Request,
    status: int,
    detail: str,
    *,
    hint: str | None = None,
    errors: Sequence[dict[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem document of this status; `hint` says what to do next, `errors` what is wrong where."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": getattr(request.state, "request_id", None),
    }
    if hint:
        document["hint"] = hint
    if errors:
        document["errors"] = list(errors)
    return JSONResponse(document, status, headers=headers, media_type="application/problem+json")


def _from_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette calls a handler with its own kind only
    return problem(request, error.status_code, error.detail, headers=error.headers)


def _from_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the same
    errors = [
        {"in": str(one["loc"][0]), "name": ".".join(map(str, one["loc"][1:])), "detail": one["msg"]}
        for one in error.errors()
    ]
    said = "; ".join(f"{one['in']} parameter `{one['name']}`: {one['detail']}" for one in errors)
    return problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, said, errors=errors)


def _from_dpipe(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DpipeError)  # noqa: S101 - the same
    if isinstance(error, UnavailableError):
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        return problem(
            request, HTTPStatus.SERVICE_UNAVAILABLE, error.message, hint=error.hint, headers=headers
        )
    status = HTTPStatus.BAD_REQUEST if isinstance(error, UsageError) else HTTPStatus.INTERNAL_SERVER_ERROR
    return problem(request, status, error.message, hint=error.hint)


def _from_disconnect(request: Request, _error: Exception) -> JSONResponse:
    return problem(
        request, HTTPStatus.BAD_REQUEST, "the connection ended before the body did; nothing was kept"
    )


def _from_bug(request: Request, _error: Exception) -> JSONResponse:
    return problem(
        request, HTTPStatus.INTERNAL_SERVER_ERROR, "the server met a fault of its own; its log tells more"
    )


ANSWERS: dict[type[Exception], Callable[[Request, Exception], JSONResponse]] = {
    HTTPException: _from_http,
    RequestValidationError: _from_validation,
    DpipeError: _from_dpipe,
    ClientDisconnect: _from_disconnect,
}
