"""Serving the API with uvicorn."""

from __future__ import annotations

import copy
import ipaddress
import socket
from typing import TYPE_CHECKING

import uvicorn
import uvicorn.config

from dpipe import output
from dpipe.api.app import create_app
from dpipe.errors import UsageError

if TYPE_CHECKING:
    from dpipe.settings import Project


def serve(project: Project) -> None:
    """Listen on the project's `api_host` and `api_port` until a signal ends it.

    Raises `UsageError` when the address can't be had.
    """
    with _listen(project.settings.api_host, project.settings.api_port) as listener:
        host, port = listener.getsockname()[:2]
        if not ipaddress.ip_address(host).is_loopback:
            output.warn(f"whoever reaches {host}:{port} can submit: the API asks for no key yet")
        output.note(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")
        level = "warning" if output.options.quiet else "info"
        config = uvicorn.Config(create_app(project), log_config=_log_config(), log_level=level)
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


def _log_config() -> dict[str, object]:
    """uvicorn's own, with requests logged on stderr like the rest."""
    config = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    config["handlers"]["access"]["stream"] = "ext://sys.stderr"
    return config
