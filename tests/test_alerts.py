"""Alerts: a refused batch is told of once, to a real receiver, and nothing that is secret is said."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from support import land, make_project, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dpipe.settings import Project

BAD = "order_id,day,amount\n" + "x,2013-01-01,1\n" * 3
GOOD = "order_id,day,amount\n1,2013-01-01,1\n"


class Receiver(HTTPServer):
    """A webhook that keeps what it is sent."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def urls(self) -> dict[str, str]:
        """The environment that sends alerts here."""
        return {
            "DPIPE_ALERT_URLS": json.dumps([f"json://somebody:hush-hush@127.0.0.1:{self.server_port}/hook"])
        }


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = make_project(tmp_path)
    for name, content in (("bad.csv", BAD), ("good.csv", GOOD)):
        land(project, content, name)
    return project


def test_a_refused_batch_is_told_of_once(project: Project, receiver: Receiver) -> None:
    told = run_dpipe(project, "process", environment=receiver.urls)
    assert told.returncode == 1
    (alert,) = receiver.received
    assert alert["title"] == "dpipe test: 1 batch(es) of `orders` refused"
    assert "bad.csv" in alert["message"]
    assert "rejected" in alert["message"]
    assert "hush-hush" not in told.stdout + told.stderr + json.dumps(alert)
    assert run_dpipe(project, "process", environment=receiver.urls).returncode == 0
    assert len(receiver.received) == 1


def test_an_alert_that_can_not_be_delivered_is_a_warning(project: Project) -> None:
    nowhere = {"DPIPE_ALERT_URLS": '["json://somebody:hush-hush@127.0.0.1:9/hook"]'}
    told = run_dpipe(project, "process", environment=nowhere)
    assert told.returncode == 1
    assert "1 of 1 alert(s) could not be delivered" in told.stderr
    assert "hush-hush" not in told.stderr


@pytest.mark.parametrize("urls", ['["nonsense://hush-hush"]', "hush-hush", '{"a": "hush-hush"}'])
def test_urls_that_can_not_be_used_are_said_so_and_not_shown(project: Project, urls: str) -> None:
    told = run_dpipe(project, "process", environment={"DPIPE_ALERT_URLS": urls})
    assert (told.returncode, "hush-hush" in told.stderr, "alert_urls" in told.stderr.lower()) == (
        2,
        False,
        True,
    )


def test_urls_in_the_file_are_refused(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (tmp_path / "configs" / "dpipe.yaml").write_text(
        "name: test\nalert_urls: ['json://hush']\nprofiles: {local: {}}\n"
    )
    told = run_dpipe(project, "process")
    assert (told.returncode, "`alert_urls`, which is a secret" in told.stderr) == (2, True)
