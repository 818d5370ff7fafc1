"""Whether the server lives, whether it can take work, and what it has counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import text

from dpipe import __version__
from dpipe.api.auth import Caller, check
from dpipe.iceberg import open_catalog

if TYPE_CHECKING:
    from dpipe.api.service import Service


@dataclass(frozen=True)
class Health:
    """That the server answers, and which one it is."""

    status: str
    version: str


def router(service: Service) -> APIRouter:
    """The routes for those who run the server."""
    routes = APIRouter(tags=["operation"])

    @routes.get("/healthz", operation_id="health")
    async def health() -> Health:
        """Say that the server answers. No key is needed."""
        return Health("ok", __version__)

    @routes.get("/readyz", operation_id="ready")
    def ready() -> Health:
        """Say whether the server can take work: state, catalog and room. No key is needed."""
        with service.engine.connect() as connection:
            connection.execute(text("select 1"))
        open_catalog(service.project)
        service.load.check_room()
        service.packer.sinks.check()
        return Health("ready", __version__)

    @routes.get("/metrics", operation_id="metrics", response_class=Response)
    def metrics(key: Caller) -> Response:
        """Give the server's figures to Prometheus; the key needs the scope `read:*`."""
        check(key, "read")
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return routes
