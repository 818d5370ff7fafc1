"""The ingestion API of a project, served in a thread of the test."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from dpipe.api import body
from dpipe.api.app import create_app
from dpipe.api.protocol import BoundedProtocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from dpipe.settings import Project


@contextmanager
def served(project: Project, port: int = 0) -> Iterator[str]:
    """Serve on a port, a free one by default, for as long as the block lasts; the server's address."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        config = uvicorn.Config(
            create_app(project), log_level="warning", http=BoundedProtocol, ws="none", access_log=False
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def that_stops(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    """A body that goes on only once the server of this process, short of patience meanwhile, has given it up."""
    given_up, too_slow = threading.Event(), body._too_slow

    def told() -> Exception:
        given_up.set()
        return too_slow()

    with monkeypatch.context() as patched:
        patched.setattr(body, "PATIENCE_SECONDS", 0.3)
        patched.setattr(body, "_too_slow", told)
        yield content
        assert given_up.wait(60)
    yield content
