"""Serving the API with uvicorn."""

from __future__ import annotations

import ipaddress
import signal
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from dpipe import output
from dpipe.api.app import create_app
from dpipe.api.protocol import BoundedProtocol
from dpipe.errors import UsageError
from dpipe.state import keys

if TYPE_CHECKING:
    from dpipe.settings import Project


# What is under way at the end has so long to be done.
DRAIN_SECONDS = 30


@dataclass(frozen=True)
class Tls:
    """The files of a certificate, with those that it goes back to, and of its key."""

    certificate: Path
    key: Path


def serve(project: Project, tls: Tls | None = None) -> None:
    """Listen on the project's `api_host` and `api_port` until a signal ends it; requests under way are answered.

    Raises `UsageError` when the address can't be had, or the certificate isn't one.
    """
    with _listen(project.settings.api_host, project.settings.api_port) as listener:
        host, port = listener.getsockname()[:2]
        if tls is None and not ipaddress.ip_address(host).is_loopback:
            output.warn(
                f"keys and records cross the network in plain text: give {host} a certificate or a proxy"
            )
        if not any(key.is_valid(datetime.now(UTC)) for key in keys.listed(project)):
            output.warn("nobody has a key yet; make one with `dpipe keys create NAME --scope write:DATASET`")
        scheme = "http" if tls is None else "https"
        output.note(f"listening on {scheme}://{f'[{host}]' if ':' in host else host}:{port}")
        config = uvicorn.Config(
            create_app(project),
            http=BoundedProtocol,
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
        )
        try:
            config.load()
        except OSError as error:  # an `SSLError` is one
            raise UsageError(
                f"the certificate can't be used: {error}", hint="name PEM files of a certificate and its key"
            ) from error
        # uvicorn drains, and then raises the signal again for whoever had it before: here it is the end, and code 0.
        signal.signal(signal.SIGTERM, lambda *_: None)
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """Bind before the server starts: uvicorn ends the process with code 1, which means bad data here."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"can't listen on `{host}:{port}`: {error.strerror}", hint="choose another `--port` or `--host`"
        ) from error
