"""The API's description: FastAPI's own, with its problems as they are answered and the records of each dataset."""

from __future__ import annotations

from copy import deepcopy
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from dpipe.api import few_records
from dpipe.contract.json_schema import json_schema
from dpipe.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from dpipe.api.service import Service

PROBLEM = {
    "type": "object",
    "description": "What went wrong (RFC 9457); `hint` says what to do, `errors` what is wrong where.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "hint": {"type": "string"},
        "request_id": {"type": ["string", "null"]},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["in", "name", "detail"],
                "properties": {name: {"type": "string"} for name in ("in", "name", "detail")},
            },
        },
    },
}
ANYWHERE = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
WITH_A_KEY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
WITH_A_BODY = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)
RECORDS = "application/x-ndjson"


def described(app: FastAPI, service: Service) -> Callable[[], dict[str, Any]]:
    """What makes the description, anew for each contract that has changed: nobody needs a key to ask for it."""
    make = app.openapi
    known: dict[str, tuple[str, dict[str, Any]]] = {}

    def openapi() -> dict[str, Any]:
        document = deepcopy(make())
        few_records.describe(document["paths"])
        schemas = document["components"]["schemas"]
        schemas["Problem"] = PROBLEM
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        records = _record_schemas(service, known)
        schemas |= {_component(dataset): schema for dataset, schema in records.items()}
        for path in document["paths"].values():
            for operation in path.values():
                _describe(operation, records)
        return document

    return openapi


def _describe(operation: dict[str, Any], records: dict[str, dict[str, Any]]) -> None:
    statuses = [*ANYWHERE]
    statuses += WITH_A_KEY if "security" in operation else ()
    if "requestBody" in operation:
        statuses += WITH_A_BODY
        content = operation["requestBody"]["content"][RECORDS]
        content["schema"]["description"] = _of_lines(records)
    responses = operation["responses"]
    for status in statuses:
        responses[str(status.value)] = {
            "description": status.phrase,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }


def _of_lines(records: dict[str, dict[str, Any]]) -> str:
    named = "; ".join(f"`{dataset}`: `#/components/schemas/{_component(dataset)}`" for dataset in records)
    return f"One JSON object a line, which for the dataset has the schema {named}"


def _record_schemas(
    service: Service, known: dict[str, tuple[str, dict[str, Any]]]
) -> dict[str, dict[str, Any]]:
    """The schema of each dataset's records, of those whose contract can be carried out; `known` by contract's hash."""
    found = {}
    for dataset in service.project.datasets():
        try:
            contract = service.contract(dataset)
        except ConfigError:
            continue
        if dataset not in known or known[dataset][0] != contract.hash:
            schema = json_schema(contract)
            # Where a document has these it is taken for one of its own.
            part = {key: value for key, value in schema.items() if key not in {"$schema", "$id"}}
            known[dataset] = contract.hash, part
        found[dataset] = known[dataset][1]
    return found


def _component(dataset: str) -> str:
    return f"record.{dataset}"
