"""The ingestion API, asked over HTTP by a real client of a real server."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from api_server import served
from dpipe import landing
from dpipe.landing import find
from dpipe.settings import Project, load_project
from dpipe.state import keys, refused
from support import payload_path, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
CSV = {"Content-Type": "text/csv"}
BODY = b"carrier,name\n9E,Endeavor Air Inc.\n"
LIMIT = 100_000


@pytest.fixture
def project(tmp_path: Path) -> Project:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    return load_project(tmp_path, overrides={"max_body_bytes": LIMIT})


@pytest.fixture
def client(project: Project) -> Iterator[httpx.Client]:
    _, text = keys.create(project, "a test", ["write:airlines", "read:airlines"])
    headers = {"Authorization": f"Bearer {text}"}
    with served(project) as url, httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        yield client


def submit(client: httpx.Client, body: Any = BODY, headers: dict[str, str] = CSV) -> httpx.Response:
    return client.post("/v1/datasets/airlines/batches", content=body, headers=headers)


def landed(project: Project) -> list[str]:
    """Every name in landing, hidden ones too; `os.walk` passes over a folder that goes while it looks."""
    return [name for _, folders, files in os.walk(project.landing) for name in (*folders, *files)]


def assert_problem(response: httpx.Response, status: int, words: str) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert words in problem["detail"]


def test_health_says_ok(client: httpx.Client) -> None:
    assert client.get("/healthz").json()["status"] == "ok"


def test_a_batch_is_landed_byte_for_byte_before_the_answer(client: httpx.Client, project: Project) -> None:
    response = submit(client)

    assert response.status_code == 202
    answer = response.json()
    assert response.headers["location"] == f"/v1/jobs/{answer['job_id']}"
    manifest = find(project, answer["job_id"])
    with landing.payload_file(project, manifest) as path:
        assert path.read_bytes() == BODY
    assert (manifest.dataset, manifest.kind, manifest.format) == ("airlines", "job", "csv")
    assert answer["sha256"] == manifest.sha256 == hashlib.sha256(BODY).hexdigest()
    assert answer["bytes"] == len(BODY)


def test_two_equal_bodies_are_two_batches(client: httpx.Client) -> None:
    assert submit(client).json()["job_id"] != submit(client).json()["job_id"]


def test_a_body_in_chunks_is_landed(client: httpx.Client, project: Project) -> None:
    job = submit(client, (b"x" * 1000 for _ in range(50))).json()["job_id"]

    assert payload_path(project, find(project, job)).read_bytes() == b"x" * 50_000


def test_the_encoding_goes_into_the_manifest(client: httpx.Client, project: Project) -> None:
    headers = {"Content-Type": "application/x-ndjson; charset=utf-8", "Content-Encoding": "gzip"}
    manifest = find(project, submit(client, headers=headers).json()["job_id"])

    assert (manifest.format, manifest.compression, manifest.name) == (
        "ndjson",
        "gzip",
        "submission.ndjson.gz",
    )


def test_a_job_that_has_only_landed_says_so(client: httpx.Client) -> None:
    answer = client.get(submit(client).headers["location"]).json()

    assert answer["state"] == "landed"
    assert answer["records_in"] is None


def test_a_processed_job_gives_its_counts(client: httpx.Client, project: Project) -> None:
    job = submit(client, BODY + b"too,many,fields\n").json()["job_id"]
    assert (
        run_dpipe(project, "process", "airlines", environment={"DPIPE_MAX_REJECTED_SHARE": "1"}).returncode
        == 0
    )

    answer = client.get(f"/v1/jobs/{job}").json()

    assert answer["state"] == "committed"
    assert [answer[name] for name in ("records_in", "accepted", "rejected", "duplicate")] == [2, 1, 1, 0]
    assert answer["snapshot_id"]
    assert answer["committed_at"]


def test_a_refused_job_gives_its_reasons(client: httpx.Client, project: Project) -> None:
    job = submit(client).json()["job_id"]
    counts = {"records_in": 5, "accepted": 1, "rejected": 4, "duplicate": 0}
    refused.remember(project, "airlines", job, ["80% of the records are rejected"], counts)

    answer = client.get(f"/v1/jobs/{job}").json()

    assert answer["state"] == "refused"
    assert answer["reasons"] == ["80% of the records are rejected"]
    assert {name: answer[name] for name in counts} == counts


def test_an_unknown_dataset_is_a_404_that_names_the_known(client: httpx.Client, project: Project) -> None:
    _, text = keys.create(project, "all", ["write:*"])
    headers = CSV | {"Authorization": f"Bearer {text}"}
    assert_problem(client.post("/v1/datasets/nope/batches", content=BODY, headers=headers), 404, "airlines")


@pytest.mark.parametrize(
    ("job", "status"), [("job-" + "0" * 32, 404), ("file-" + "0" * 32, 422), ("..", 404), ("job-", 422)]
)
def test_an_unknown_job_is_told_so(client: httpx.Client, job: str, status: int) -> None:
    assert_problem(client.get(f"/v1/jobs/{job}"), status, "")


def test_an_unknown_path_is_a_problem_document(client: httpx.Client) -> None:
    assert_problem(client.get("/nope"), 404, "")


def test_a_wrong_method_names_the_right_one(client: httpx.Client) -> None:
    response = client.get("/v1/datasets/airlines/batches")

    assert_problem(response, 405, "")
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/csv", "Content-Encoding": "br"},
        {"Content-Type": "application/zip", "Content-Encoding": "gzip"},
    ],
)
def test_what_can_not_be_read_is_a_415_and_leaves_nothing(
    client: httpx.Client, project: Project, headers: dict[str, str]
) -> None:
    assert_problem(submit(client, headers=headers), 415, "can't be read")
    assert not landed(project)


def test_an_empty_body_is_a_400_and_leaves_nothing(client: httpx.Client, project: Project) -> None:
    assert_problem(submit(client, b""), 400, "empty")
    assert not landed(project)


def test_an_announced_body_over_the_limit_is_a_413(client: httpx.Client, project: Project) -> None:
    assert_problem(submit(client, b"x" * (LIMIT + 1)), 413, "100,000")
    assert not landed(project)


def test_a_streamed_body_over_the_limit_is_a_413_and_leaves_nothing(
    client: httpx.Client, project: Project
) -> None:
    assert_problem(submit(client, (b"x" * 1000 for _ in range(101))), 413, "100,000")
    assert landed(project) == ["airlines"]


def test_a_client_that_hangs_up_leaves_nothing(client: httpx.Client, project: Project) -> None:
    address = (client.base_url.host, client.base_url.port)
    with socket.create_connection(address) as connection:  # type: ignore[arg-type]
        connection.sendall(
            b"POST /v1/datasets/airlines/batches HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
            + f"Authorization: {client.headers['authorization']}\r\n".encode()
            + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
        )
        wait_until(lambda: any(name.startswith(".landing-") for name in landed(project)))

    wait_until(lambda: landed(project) == ["airlines"])


def test_the_schema_names_every_content_type(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]

    body = paths["/v1/datasets/{dataset}/batches"]["post"]["requestBody"]
    assert "application/vnd.apache.parquet" in body["content"]
    assert set(paths["/v1/datasets/{dataset}/batches"]["post"]["responses"]["202"]["links"]) == {
        "job",
        "job_events",
        "job_quarantine",
    }


def wait_until(condition: Any) -> None:
    pause = threading.Event()
    for _ in range(1200):
        if condition():
            return
        pause.wait(0.05)
    pytest.fail("waited for a minute")
