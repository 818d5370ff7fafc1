"""`dpipe serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from dpipe.context import open_project


def serve(
    ctx: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one [default: 8080].")
    ] = None,
) -> None:
    """Serve the ingestion API until interrupted.

    Example: `dpipe serve --port 8081`, then
    `curl --data-binary @flights.csv -H 'Content-Type: text/csv' http://127.0.0.1:8081/v1/datasets/flights/batches`
    """
    from dpipe.errors import ConfigError

    project = open_project(ctx, api_host=host, api_port=port)
    try:
        from dpipe.api.server import serve as run_server
    except ImportError as error:
        raise ConfigError(
            f"the API needs `{error.name}`, which is not installed", hint="pip install 'dpipe[api]'"
        ) from error
    run_server(project)
