"""`dpipe dash`: the project's Streamlit pages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dpipe import output
from dpipe.context import open_project

if TYPE_CHECKING:
    from dpipe.settings import Project

GRACE_SECONDS = 10


def dash(
    ctx: typer.Context,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port [default: 8501].")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Show the project's pages (`ui/`) in the browser until interrupted: runs, checks, quarantine and analytics.

    Example: `dpipe dash --port 8502`
    """
    project = open_project(ctx, dash_port=port)
    _look_ahead(project, host)
    if host not in {"127.0.0.1", "::1", "localhost"}:
        output.warn(
            f"whoever reaches `{host}:{project.settings.dash_port}` sees everything: there is no login"
        )
    code = _serve(project, host)
    if code:
        from dpipe.errors import DpipeError

        raise DpipeError(f"Streamlit ended with code {code}", hint="what it said is above")


def _look_ahead(project: Project, host: str) -> None:
    """Raise `UsageError` for what Streamlit would fail at in its own words, or with a code that means bad data."""
    import socket
    from importlib.util import find_spec

    from dpipe.errors import UsageError

    if find_spec("streamlit") is None or find_spec("altair") is None:
        raise UsageError(
            "the dashboard needs Streamlit, which is not installed", hint="pip install 'dpipe[ui]'"
        )
    if not (project.ui / "app.py").is_file():
        raise UsageError(
            f"the project has no dashboard: `{project.ui / 'app.py'}` is missing",
            hint="`dpipe init FOLDER` writes a project that has one; copy its `ui/`",
        )
    port = project.settings.dash_port
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise UsageError(
            f"can't listen on `{host}:{port}`: {error.strerror}", hint="choose another `--port` or `--host`"
        ) from error


def _serve(project: Project, host: str) -> int:
    """Run Streamlit as a child until it ends or a signal ends us; nothing is left running."""
    settings = project.settings
    options = {
        "server.port": settings.dash_port,
        "server.address": host,
        "server.headless": "true",
        "browser.gatherUsageStats": "false",
    }
    command = [sys.executable, "-m", "streamlit", "run", str(project.ui / "app.py")]
    command += [f"--{name}={value}" for name, value in options.items()]
    environment = {**os.environ, "DPIPE_PROJECT": str(project.root), "DPIPE_PROFILE": settings.profile}
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    output.note(
        f"dashboard on http://{f'[{host}]' if ':' in host else host}:{settings.dash_port}, Ctrl-C ends it"
    )
    # What Streamlit says is progress, not the answer.
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL if output.options.quiet else sys.stderr
    ) as child:
        try:
            return child.wait()
        finally:
            child.terminate()
            try:
                child.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
