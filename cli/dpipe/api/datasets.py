"""The datasets of the project and what their contracts ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from dpipe.api.auth import Caller, check
from dpipe.api.submissions import DatasetName
from dpipe.contract import contract_path
from dpipe.contract.json_schema import json_schema

if TYPE_CHECKING:
    from dpipe.api.service import Service
    from dpipe.state.keys import ApiKey


class SchemaResponse(JSONResponse):
    """A JSON Schema."""

    media_type = "application/schema+json"


@dataclass(frozen=True)
class Dataset:
    """A dataset, its contract's version and hash, and where contract and schema are."""

    name: str
    version: str
    contract_hash: str
    description: str
    write_mode: str
    contract: str
    schema: str


def router(service: Service) -> APIRouter:
    """The routes that tell of datasets."""
    routes = APIRouter(tags=["datasets"])

    @routes.get("/v1/datasets", operation_id="datasets")
    def datasets(key: Caller) -> tuple[Dataset, ...]:
        """List the datasets that the key may read or write."""
        return tuple(_dataset(service, name) for name in service.project.datasets() if _may_see(key, name))

    @routes.get(
        "/v1/datasets/{dataset}/contract",
        operation_id="contract",
        responses={200: {"content": {"application/yaml": {"schema": {"type": "object"}}}}},
        response_class=Response,
    )
    def contract(dataset: DatasetName, key: Caller) -> Response:
        """Give the dataset's contract, as it was written."""
        _check_seen(key, dataset)
        found = service.contract(dataset)
        text = contract_path(service.project, dataset).read_bytes()
        return Response(text, media_type="application/yaml", headers={"ETag": f'"{found.hash}"'})

    @routes.get("/v1/datasets/{dataset}/schema", operation_id="schema", response_class=SchemaResponse)
    def schema(dataset: DatasetName, key: Caller) -> Response:
        """Give the JSON Schema of one record, as the contract has it."""
        _check_seen(key, dataset)
        found = service.contract(dataset)
        return SchemaResponse(json_schema(found), headers={"ETag": f'"{found.hash}"'})

    return routes


def _may_see(key: ApiKey, dataset: str) -> bool:
    return key.allows("read", dataset) or key.allows("write", dataset)


def _check_seen(key: ApiKey, dataset: str) -> None:
    if not _may_see(key, dataset):
        check(key, "read", dataset)


def _dataset(service: Service, name: str) -> Dataset:
    contract = service.contract(name)
    return Dataset(
        name=name,
        version=contract.version,
        contract_hash=contract.hash,
        description=contract.description,
        write_mode=contract.plan.write_mode,
        contract=f"/v1/datasets/{name}/contract",
        schema=f"/v1/datasets/{name}/schema",
    )
