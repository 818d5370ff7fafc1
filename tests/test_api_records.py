"""The route for a few records: answered as the one for batches is, and packed."""

from __future__ import annotations

import gzip
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from api_server import served
from dpipe import landing
from dpipe.landing import segments
from dpipe.settings import Project, load_project
from dpipe.state import jobs, keys, open_state
from dpipe.state.jobs import JobRow
from support import make_project, processed, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BATCHES = "/v1/datasets/orders/batches"
RECORDS = "/v1/datasets/orders/records"
LINES = b'{"order_id": 1, "day": "2013-01-01", "amount": 1}\n{"order_id": 2, "day": "x", "amount": 1}\n'
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "a project", settings={"max_rejected_share": 1.0})


@pytest.fixture
def client(project: Project) -> Iterator[httpx.Client]:
    with served(project) as url, client_of(project, url) as client:
        yield client


def client_of(project: Project, url: str, *scopes: str) -> httpx.Client:
    _, text = keys.create(project, "a test", scopes or ["admin:*"])
    return httpx.Client(base_url=url, headers=NDJSON | {"Authorization": f"Bearer {text}"}, timeout=60)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    made = make_project(tmp_path_factory.mktemp("shared") / "a project")
    project = load_project(made.root, overrides={"max_decompressed_bytes": 1 << 20})
    with served(project) as url, client_of(project, url) as client:
        yield client


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        ({}, 202),
        ({"content": b""}, 400),
        ({"content": b"\xff\x00"}, 202),
        ({"headers": {"Content-Encoding": "gzip"}, "content": gzip.compress(LINES)}, 202),
        ({"headers": {"Content-Encoding": "gzip"}, "content": gzip.compress(b"x" * (2 << 20))}, 413),
        ({"headers": {"Content-Encoding": "br"}}, 415),
        ({"headers": {"Content-Type": "text/html"}}, 415),
        ({"headers": {"Content-Type": "text/csv"}, "content": b"order_id,day,amount\n1,2013-01-01,1\n"}, 202),
        ({"headers": {"Content-Type": "application/json"}, "content": b"[]"}, 202),
        ({"headers": {"Authorization": ""}}, 401),
        ({"headers": {"Authorization": "Bearer dpk_nobody"}}, 401),
        ({"headers": {"Authorization": "Basic eDp5"}}, 401),
        ({"headers": {"Idempotency-Key": "a b"}}, 422),
        ({"headers": {"Idempotency-Key": "x" * 256}}, 422),
        ({"params": {"wait": "-1"}}, 422),
        ({"params": {"wait": "nan"}}, 422),
        ({"params": {"wait": ""}}, 422),
        ({"params": {"wait": "0.1"}}, 202),
        ({"dataset": "nothing"}, 404),
        ({"dataset": "ORDERS"}, 422),
        ({"dataset": "%2e%2e"}, 422),
    ],
)
def test_it_answers_as_the_route_for_batches_does(
    shared: httpx.Client, request_of: dict[str, Any], status: int
) -> None:
    asked: dict[str, Any] = {"content": LINES, "headers": {}, "dataset": "orders"} | request_of
    dataset = asked.pop("dataset")
    answers = [shared.post(route.replace("orders", dataset), **asked) for route in (BATCHES, RECORDS)]
    assert [answer.status_code for answer in answers] == [status, status]
    one, other = (_without_what_differs(answer) for answer in answers)
    assert one == other


def _without_what_differs(answer: httpx.Response) -> tuple[dict[str, Any], set[str]]:
    content = answer.json()
    own = ("request_id", "job_id", "received_at")
    return {name: value for name, value in content.items() if name not in own}, set(answer.headers)


def test_no_scope_is_a_403_and_other_methods_a_405(client: httpx.Client, project: Project) -> None:
    with client_of(project, str(client.base_url), "read:orders") as reader:
        assert reader.post(RECORDS, content=LINES).status_code == 403
    for method in ("GET", "PUT", "DELETE"):
        answer = client.request(method, RECORDS)
        assert (answer.status_code, answer.headers["content-type"]) == (405, "application/problem+json")


@pytest.mark.parametrize("is_announced", [True, False])
def test_more_than_a_megabyte_is_a_413(client: httpx.Client, project: Project, is_announced: bool) -> None:
    content = b"x" * ((1 << 20) + 1)
    answer = client.post(RECORDS, content=content if is_announced else iter([content]))
    assert (answer.status_code, "1,048,576" in answer.json()["detail"]) == (413, True)
    assert not landing.batch_ids(project, "orders")


def test_a_binary_format_is_for_batches(client: httpx.Client) -> None:
    answer = client.post(RECORDS, content=b"PAR1", headers={"Content-Type": "application/vnd.apache.parquet"})
    assert answer.status_code == 415
    assert "application/x-ndjson" in answer.json()["detail"]


def test_an_unannounced_body_is_packed_too(client: httpx.Client, project: Project) -> None:
    job = client.post(RECORDS, content=iter([LINES[:50], LINES[50:]])).json()["job_id"]
    (manifest,) = landing.manifests(project, "orders", [job])
    assert manifest.segment
    with landing.payload_file(project, manifest) as path:
        assert path.read_bytes() == LINES


def test_what_comes_at_once_shares_segments(client: httpx.Client, project: Project) -> None:
    lines = [b'{"order_id": %d, "day": "2013-01-01", "amount": 1}\n' % number for number in range(1, 201)]
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda content: client.post(RECORDS, content=content), lines))
    assert {answer.status_code for answer in answers} == {202}
    assert len(landing.batch_ids(project, "orders")) == 200
    files = list((project.landing / "orders").iterdir())
    assert all(segments.SEGMENT.fullmatch(file.name) for file in files)
    assert len(files) < 150
    processed(project)
    assert sorted(row["order_id"] for row in rows_of(project, "raw", "orders")) == list(range(1, 201))


def test_a_name_is_one_submission_over_both_routes(client: httpx.Client, project: Project) -> None:
    named = {"Idempotency-Key": "one"}
    first = client.post(RECORDS, content=LINES, headers=named)
    second = client.post(BATCHES, content=LINES, headers=named)
    third = client.post(BATCHES, content=iter([LINES]), headers=named)  # not announced, so by itself
    assert {answer.status_code for answer in (first, second, third)} == {202}
    assert second.headers["idempotency-replayed"] == "true"
    assert len({answer.json()["job_id"] for answer in (first, second, third)}) == 1
    assert len(landing.batch_ids(project, "orders")) == 1
    other = client.post(BATCHES, content=iter([LINES, b"{}\n"]), headers=named)
    assert other.status_code == 422
    assert "Idempotency-Key" in other.json()["detail"]
    processed(project)
    assert len(rows_of(project, "raw", "orders")) == 1


def test_of_several_bodies_under_one_name_at_once_one_lands(client: httpx.Client, project: Project) -> None:
    bodies = [LINES + b'{"order_id": %d}\n' % number for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        named = {"Idempotency-Key": "one"}
        answers = list(pool.map(lambda content: client.post(RECORDS, content=content, headers=named), bodies))
    assert sorted(answer.status_code for answer in answers) == [202] + 15 * [422]
    (landed,) = landing.manifests(project, "orders")
    (told,) = (answer.json()["sha256"] for answer in answers if answer.status_code == 202)
    assert landed.sha256 == told


def test_two_servers_agree_on_what_a_name_stands_for(project: Project) -> None:
    with served(project) as one, served(project) as other, client_of(project, one) as client:
        bodies = [LINES + b'{"order_id": %d}\n' % number for number in range(16)]

        def send(number: int) -> httpx.Response:
            named = {"Idempotency-Key": f"of-{number // 2}"}
            return client.post((one, other)[number % 2] + RECORDS, content=bodies[number], headers=named)

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(send, range(16)))
    assert sorted(answer.status_code for answer in answers) == 8 * [202] + 8 * [422]
    landed = {one.batch_id: one.sha256 for one in landing.manifests(project, "orders")}
    accepted = [answer.json() for answer in answers if answer.status_code == 202]
    assert landed == {one["job_id"]: one["sha256"] for one in accepted}


def test_a_submission_that_was_noted_and_did_not_land(client: httpx.Client, project: Project) -> None:
    """As when the server dies between the two."""
    from dpipe.api.take import job_id_of

    (key,) = keys.listed(project)
    noted = datetime.now(UTC) - timedelta(minutes=1)
    job_id = f"job-{job_id_of(key, 'orders', 'one')}"
    row = JobRow(job_id, "orders", key.key_id, noted, len(LINES), sha256(LINES).hexdigest())
    jobs.claim(open_state(project), [row])
    assert client.get(f"/v1/jobs/{job_id}").json()["state"] == "accepted"

    named = {"Idempotency-Key": "one"}
    assert client.post(RECORDS, content=LINES + b"{}\n", headers=named).status_code == 422
    answer = client.post(RECORDS, content=LINES, headers=named)
    assert (answer.status_code, answer.json()["job_id"]) == (202, job_id)
    assert "idempotency-replayed" not in answer.headers
    (landed,) = landing.manifests(project, "orders")
    assert datetime.fromisoformat(landed.received_at) == noted
    assert client.get(f"/v1/jobs/{job_id}").json()["state"] == "landed"


def test_a_start_forgets_what_never_landed_and_finds_what_did(project: Project) -> None:
    engine = open_state(project)
    old, new = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC)
    rows = {
        name: JobRow(f"job-{uuid.uuid4().hex}", "orders", "", at, 1, "")
        for name, at in (("old", old), ("new", new))
    }
    jobs.claim(engine, list(rows.values()))
    draft = landing.submission("orders", name="x", job_id=uuid.uuid4().hex, format="ndjson")
    (landed,) = landing.land_segment(project, [(landing.with_payload(draft, LINES), LINES)])
    with served(project) as url, client_of(project, url) as client:
        listed = client.get("/v1/jobs").json()["jobs"]
    assert {job["job_id"]: job["state"] for job in listed} == {
        rows["new"].job_id: "accepted",
        landed.batch_id: "landed",
    }


def test_a_group_that_can_not_be_written_is_told(client: httpx.Client, project: Project) -> None:
    folder = project.landing / "orders"
    folder.parent.mkdir(exist_ok=True)
    folder.write_bytes(b"in the way")
    answer = client.post(RECORDS, content=LINES)
    assert (answer.status_code, "can't be" in answer.json()["detail"]) == (500, True)
    folder.unlink()
    assert client.post(RECORDS, content=LINES).status_code == 202
    # It was noted, and whether something of it is there is not known after an error: only a start forgets it.
    assert [job["state"] for job in client.get("/v1/jobs").json()["jobs"]] == ["landed", "accepted"]
    assert len(landing.batch_ids(project, "orders")) == 1
