"""Requests that mean harm, and a tool that makes some up: each gets a clean answer, and the server lives on."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from api_server import served
from dpipe import landing
from dpipe.state import keys
from support import make_project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpipe.settings import Project

BATCHES = "/v1/datasets/orders/batches"
RECORDS = "/v1/datasets/orders/records"
BOTH = pytest.mark.parametrize("route", [BATCHES, RECORDS])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("api") / "a project")


@pytest.fixture(scope="module")
def key(project: Project) -> str:
    return keys.create(project, "a test", ["admin:*"])[1]


@pytest.fixture(scope="module")
def url(project: Project, key: str) -> Iterator[str]:
    with served(project) as address:
        yield address


def spoken(url: str, *parts: bytes) -> bytes:
    """The raw answer to raw bytes; empty when the server only hangs up."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it had read enough, and answered
        found = b""
        try:
            while piece := connection.recv(65536):
                found += piece
        except ConnectionResetError:
            pass
        return found


def head(key: str, *more: str, method: str = "POST", path: str = BATCHES) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {key}",
        "Connection: close",
        *more,
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def is_refusal(answer: bytes) -> bool:
    """A 4xx, or nothing: what a server says before it has read everything may be lost with the connection."""
    return not answer or answer.startswith(b"HTTP/1.1 4")


@pytest.fixture(autouse=True)
def lives(url: str) -> Iterator[None]:
    yield
    assert httpx.get(f"{url}/healthz", timeout=60).status_code == 200


def test_a_million_headers_are_refused_in_bounded_memory(url: str, key: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    headers = b"".join(b"X-%d: y\r\n" % number for number in range(1_000_000))
    answer = spoken(url, head(key, "Content-Length: 1")[:-2], headers, b"\r\nx")
    assert is_refusal(answer)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


@pytest.mark.parametrize(
    "more",
    [
        ("Content-Length: 10",),
        ("Content-Length: 10", "Content-Type: text/csv"),
        ("Transfer-Encoding: chunked", "Content-Type: text/csv"),
    ],
)
@BOTH
def test_a_body_that_is_shorter_than_it_says_leaves_nothing(
    url: str, key: str, project: Project, more: tuple[str, ...], route: str
) -> None:
    before = landing.batch_ids(project, "orders")
    spoken(url, head(key, *more, path=route), b"abc")
    assert landing.batch_ids(project, "orders") == before


@pytest.mark.parametrize("length", ["-1", "1e9", "0x10", "99999999999999999999999", "1, 2", "\uff11", "abc"])
@BOTH
def test_a_length_that_is_none_is_refused(url: str, key: str, length: str, route: str) -> None:
    named = f"Content-Length: {length.encode().decode('latin-1')}"
    raw = head(key, "Content-Type: text/csv", named, path=route)
    assert is_refusal(spoken(url, raw, b"abc"))


@pytest.mark.parametrize("last", [b"", b"X: ", b"X: y\r\nY: "])
def test_a_header_without_an_end_is_refused_in_bounded_memory(url: str, key: str, last: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = spoken(url, head(key, "Content-Length: 1")[:-2], last + b"y" * (64 << 20))
    assert is_refusal(answer)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_trailers_without_an_end_are_refused_in_bounded_memory(url: str, key: str, project: Project) -> None:
    before, landed = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, landing.batch_ids(project, "orders")
    chunked = head(key, "Transfer-Encoding: chunked", "Content-Type: text/csv")
    assert is_refusal(spoken(url, chunked, b"3\r\nabc\r\n0\r\nX: " + b"y" * (64 << 20)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10
    assert landing.batch_ids(project, "orders") == landed


def test_two_lengths_are_refused(url: str, key: str) -> None:
    assert is_refusal(spoken(url, head(key, "Content-Length: 3", "Content-Length: 4"), b"abcd"))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/datasets/../../etc/passwd/batches",
        "/v1/datasets/%2e%2e%2f%2e%2e/batches",
        "/v1/datasets/orders%00/batches",
        "/v1/datasets/orders%2f..%2forders/batches",
        "/v1/datasets/.landing-x/batches",
        "/v1/datasets/ORDERS/batches",
        "/v1/datasets//batches",
        "/v1/datasets/" + "a" * 5000 + "/batches",
        "/v1/datasets/orders.odcs.yaml/contract",
        "//v1/jobs",
        "/v1/jobs/job-../../x",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(url: str, key: str, project: Project, path: str) -> None:
    for method in ("POST", "GET"):
        raw = head(key, "Content-Type: text/csv", "Content-Length: 3", method=method, path=path)
        assert is_refusal(spoken(url, raw, b"abc"))
    assert landing.datasets(project) in ([], ["orders"])


@pytest.mark.parametrize(
    "kind", ["text/csv; charset=utf-7", "text/csv; charset=", "text/csv;;;", "text/csv; x=" + "y" * 5000]
)
def test_a_charset_changes_no_byte(url: str, key: str, project: Project, kind: str) -> None:
    body = b"order_id,day,amount\n1,2013-01-01,1\n"
    headers = {"Authorization": f"Bearer {key}", "Content-Type": kind}
    answer = httpx.post(url + BATCHES, content=body, headers=headers, timeout=60)
    if answer.status_code == 202:
        (manifest,) = landing.manifests(project, "orders", [answer.json()["job_id"]])
        with landing.payload_file(project, manifest) as path:
            assert path.read_bytes() == body
    else:
        assert answer.status_code == 415


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 256, "a\tb"])
@BOTH
def test_an_idempotency_key_that_is_none_is_refused(url: str, key: str, name: str, route: str) -> None:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "text/csv", "Idempotency-Key": name.encode()}
    answer = httpx.post(url + route, content=b"abc", headers=headers, timeout=60)  # type: ignore[arg-type]
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["name"] == "idempotency-key"


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "x", "1e308"])
@BOTH
def test_a_wait_that_is_none_is_refused(url: str, key: str, wait: str, route: str) -> None:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "text/csv"}
    answer = httpx.post(f"{url}{route}?wait={wait}", content=b"abc", headers=headers, timeout=60)
    assert answer.status_code == 422


HOOKS = """
import uuid

import schemathesis

PLAIN = ("application/x-ndjson", "application/jsonl", "text/csv", "application/zip", "application/vnd.apache.parquet")


@schemathesis.serializer(*PLAIN, "application/octet-stream")
def as_bytes(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def filter_body(ctx, body):
    # As bytes everything is text, and what is wrong with it is the verdict's to say.
    return isinstance(body, (str, bytes, list))


@schemathesis.hook
def before_call(ctx, case, kwargs):
    # Nobody processes here, so that who waits waits in vain; and another body under one name is another request.
    if isinstance((case.query or {}).get("wait"), (int, float)):
        case.query["wait"] = min(case.query["wait"], 0.1)
    if case.headers and "idempotency-key" in case.headers:
        case.headers["idempotency-key"] = uuid.uuid4().hex
"""


def test_made_up_requests_are_answered_as_the_schema_says(url: str, key: str, tmp_path: Path) -> None:
    """schemathesis: coverage, fuzzing and sequences by the links, with data that the schema allows and forbids."""
    (tmp_path / "api_hooks.py").write_text(HOOKS)
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {key}"),
        *("--seed", "20131126", "--max-examples", "10", "--request-timeout", "30", "--no-color"),
        # Which tells of a job until it is done.
        *("--exclude-operation-id", "job_events"),
    ]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "api_hooks", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert "Tested: 12" in done.stdout
