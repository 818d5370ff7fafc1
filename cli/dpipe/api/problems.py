"""Errors as `application/problem+json` (RFC 9457), whatever raised them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from dpipe.errors import DpipeError, UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

RETRY_AFTER_SECONDS = 5


def install(app: FastAPI) -> None:
    """Have `app` answer every error with a problem document."""
    app.add_exception_handler(HTTPException, _from_http)
    app.add_exception_handler(RequestValidationError, _from_validation)
    app.add_exception_handler(DpipeError, _from_dpipe)
    app.add_exception_handler(ClientDisconnect, _from_disconnect)
    app.add_exception_handler(Exception, _from_bug)


def problem(
    status: int, detail: str, *, hint: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A problem document of this status; `hint` says what to do next."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    if hint:
        document["hint"] = hint
    return JSONResponse(document, status, headers=headers, media_type="application/problem+json")


def _from_http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette calls a handler with its own kind only
    return problem(error.status_code, error.detail, headers=error.headers)


def _from_validation(_request: Request, error: Exception) -> JSONResponse:
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))


def _from_dpipe(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DpipeError)  # noqa: S101 - the same
    if isinstance(error, UnavailableError):
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, error.message, hint=error.hint, headers=headers)
    status = HTTPStatus.BAD_REQUEST if isinstance(error, UsageError) else HTTPStatus.INTERNAL_SERVER_ERROR
    return problem(status, error.message, hint=error.hint)


def _from_disconnect(_request: Request, _error: Exception) -> JSONResponse:
    return problem(HTTPStatus.BAD_REQUEST, "the connection ended before the body did; nothing was kept")


def _from_bug(_request: Request, _error: Exception) -> JSONResponse:
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the server met a fault of its own; its log tells more")
