"""`dpipe serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpipe.context import open_project


def serve(
    ctx: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one [default: 8080].")
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(help="PEM file of a TLS certificate, with its chain; needs --certificate-key."),
    ] = None,
    certificate_key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
) -> None:
    """Serve the ingestion API until interrupted. Whoever asks needs a key of `dpipe keys create`.

    Example: `dpipe serve --port 8081`, then
    `curl --data-binary @flights.csv -H "Authorization: Bearer $KEY" -H 'Content-Type: text/csv'
    http://127.0.0.1:8081/v1/datasets/flights/batches`
    """
    from dpipe.errors import ConfigError, UsageError

    project = open_project(ctx, api_host=host, api_port=port)
    try:
        from dpipe.api.server import Tls
        from dpipe.api.server import serve as run_server
    except ImportError as error:
        if (error.name or "").startswith("dpipe"):
            raise
        raise ConfigError(
            f"the API needs `{error.name}`, which is not installed", hint="pip install 'dpipe[api]'"
        ) from error
    if (certificate is None) != (certificate_key is None):
        raise UsageError(
            "a certificate and its key go together", hint="name both `--certificate` and `--certificate-key`"
        )
    run_server(project, Tls(certificate, certificate_key) if certificate and certificate_key else None)
