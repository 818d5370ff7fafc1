"""`dpipe dash` starts the project's pages, says what is missing, and leaves nothing running."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest
from dash_project import UI, dash_command, wait_until_ready
from dpipe.settings import Project, load_project
from servers import free_port
from support import make_project, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_STREAMLIT = """
import sys
sys.modules["streamlit"] = None
from dpipe.app import main
main()
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project in which nothing has run, with the pages."""
    made = make_project(tmp_path)
    made.ui.symlink_to(UI)
    return made


@pytest.fixture
def running(project: Project) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The dashboard of the project under way, and its port."""
    port = free_port()
    with dash_command(project, "--port", str(port)) as process:
        try:
            wait_until_ready(port, process)
            yield process, port
        finally:
            process.terminate()


def test_the_dashboard_listens_on_loopback_at_the_port(running: tuple[subprocess.Popen[str], int]) -> None:
    _, port = running

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_dashboard_and_its_server(
    running: tuple[subprocess.Popen[str], int], how: signal.Signals
) -> None:
    process, port = running

    process.send_signal(how)
    process.communicate(timeout=120)

    assert process.returncode == 128 + how
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_port_that_is_taken_is_an_error_of_usage(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_dpipe(project, "dash", "--port", str(port))

    assert ended.returncode == 2
    assert f"error: can't listen on `127.0.0.1:{port}`" in ended.stderr
    assert "hint: choose another `--port`" in ended.stderr


def test_without_the_extra_it_says_what_to_install(project: Project) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", NO_STREAMLIT, "--project", str(project.root), "dash"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 2
    assert "hint: pip install 'dpipe[ui]'" in ended.stderr


def test_a_project_without_pages_is_an_error_of_usage(tmp_path: Path) -> None:
    ended = run_dpipe(make_project(tmp_path), "dash")

    assert ended.returncode == 2
    assert "the project has no dashboard" in ended.stderr


def test_the_theme_is_part_of_a_new_project(tmp_path: Path) -> None:
    from dpipe.stages.init import init

    made = load_project(init(tmp_path / "shop").folder)

    assert (made.ui / ".streamlit" / "config.toml").is_file()
