"""The API before a stream: what it acknowledged is in Kinesis, and lands once, whoever consumes it."""

from __future__ import annotations

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from api_server import served
from dpipe import landing
from dpipe.api import sinks
from dpipe.landing.segments import MARK, TRAILER
from dpipe.settings import load_project
from dpipe.state import keys
from support import assert_holds, make_project, rows_of, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dpipe.settings import Project
    from servers import Kinesalite
    from stream_support import Kinesis

RECORDS = "/v1/datasets/orders/records"
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def name(kinesis: Kinesis) -> str:
    return kinesis.create(shards=2)


@pytest.fixture
def project(tmp_path: Path, name: str) -> Project:
    return project_of(tmp_path, name)


def project_of(folder: Path, name: str) -> Project:
    settings = {
        "streams": {"orders": f"kinesis://{name}"},
        "submit_to": "stream",
        "max_rejected_share": 1.0,
        "stream_lease_seconds": 1.5,
    }
    return make_project(folder / "a project", settings=settings)


@pytest.fixture
def client(project: Project) -> Iterator[httpx.Client]:
    with served(project) as url:
        yield from client_of(project, url)


def client_of(project: Project, url: str) -> Iterator[httpx.Client]:
    _, text = keys.create(project, "a test", ["admin:*"])
    with httpx.Client(
        base_url=url, headers=NDJSON | {"Authorization": f"Bearer {text}"}, timeout=60
    ) as client:
        yield client


def order(number: int) -> bytes:
    return b'{"order_id": %d, "day": "2013-01-01", "amount": 1}\n' % number


def work(project: Project) -> None:
    done = run_dpipe(project, "worker", "--once")
    assert done.returncode == 0, done.stderr


def test_what_was_acknowledged_lands_by_the_stream(
    client: httpx.Client, project: Project, kinesis: Kinesis, name: str
) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: client.post(RECORDS, content=order(number)), range(1, 101)))
    assert {(one.status_code, one.json()["state"]) for one in answers} == {(202, "accepted")}
    assert not landing.batch_ids(project, "orders")
    in_stream = sum(len(of_shard) for of_shard in kinesis.content(name).values())
    assert 1 <= in_stream < 100
    job = answers[0].json()["job_id"]
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "accepted"

    work(project)
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "committed"
    assert landing.batch_ids(project, "orders") == {one.json()["job_id"] for one in answers}
    assert sorted(row["order_id"] for row in rows_of(project, "raw", "orders")) == list(range(1, 101))
    assert_holds(project)


def test_the_same_name_is_the_same_submission_before_and_after_it_landed(
    client: httpx.Client, project: Project
) -> None:
    def submit(content: bytes) -> httpx.Response:
        return client.post(RECORDS, content=content, headers={"Idempotency-Key": "one"})

    first, again = submit(order(1)), submit(order(1))
    assert submit(order(2)).status_code == 422
    work(project)
    after = submit(order(1))
    assert submit(order(2)).status_code == 422
    assert len({answer.json()["job_id"] for answer in (first, again, after)}) == 1
    assert (after.headers["idempotency-replayed"], after.json()["state"]) == ("true", "committed")
    work(project)
    assert [row["order_id"] for row in rows_of(project, "raw", "orders")] == [1]


def test_records_of_others_come_by_the_same_stream(
    client: httpx.Client, project: Project, kinesis: Kinesis, name: str
) -> None:
    for number in range(1, 11):
        client.post(RECORDS, content=order(number)).raise_for_status()
        kinesis.put(name, order(100 + number))
    work(project)
    found = [row["order_id"] for row in rows_of(project, "raw", "orders")]
    assert sorted(found) == [*range(1, 11), *range(101, 111)]
    assert_holds(project)


def test_a_lost_state_database_brings_nothing_twice(
    client: httpx.Client, project: Project, kinesis: Kinesis, name: str
) -> None:
    for number in range(1, 6):
        client.post(RECORDS, content=order(number)).raise_for_status()
        kinesis.put(name, order(100 + number))
    client.post(RECORDS, content=order(6)).raise_for_status()
    work(project)
    client.close()
    for path in project.data_dir.glob("state.db*"):
        path.unlink()
    done = run_dpipe(project, "ingest", "orders", "--from", f"kinesis://{name}", "--json")
    found = json.loads(done.stdout)["batches"]
    # What the API put there has no place in the chain, by which the rest is passed over.
    assert {(one["manifest"]["kind"], one["already"]) for one in found} == {("job", True)}
    work(project)
    assert sorted(row["order_id"] for row in rows_of(project, "raw", "orders")) == [
        *range(1, 7),
        *range(101, 106),
    ]
    assert_holds(project)


def test_a_large_body_lands_by_itself(client: httpx.Client, project: Project) -> None:
    large = b"".join(order(number) for number in range(1, 20_001))
    medium = large[: sinks.LARGEST_BYTES + 1]
    for content in (large, medium):
        answer = client.post("/v1/datasets/orders/batches", content=content)
        assert answer.json()["state"] == "landed"
        assert answer.json()["job_id"] in landing.batch_ids(project, "orders")


def forged(content: bytes, **changes: Any) -> bytes:
    """A segment with one submission, whose manifest says something else."""
    draft = landing.submission("orders", name="x.ndjson", job_id=uuid.uuid4().hex, format="ndjson")
    segment = landing.packed([(landing.with_payload(draft, content), content)])
    (manifest,) = segment.manifests
    index = json.dumps([manifest.document() | changes]).encode()
    return content + index + TRAILER.pack(len(index), MARK)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "../orders"},
        {"dataset": "others"},
        {"batch_id": "job-../../x"},
        {"batch_id": f"file-{'0' * 32}"},
        {"kind": "file"},
        {"name": "../x"},
        {"name": "x\0y"},
        {"name": "manifest.json/.."},
        {"segment": "segment-/../../x"},
        {"segment": None},
        {"segment": 1},
        {"offset": 1},
        {"offset": -1},
        {"bytes": -1},
        {"bytes": 1 << 40},
        {"sha256": "0" * 64},
        {"format": "a program"},
        {"compression": 7},
        {"received_at": "2013-01-01T00:00:00"},
        {"received_at": "yesterday"},
        {"origin": "job-x", "record_nos": [1]},
        {"position": {"stream": "x", "shard": "y", "first": "1", "last": "2", "records": 1}},
    ],
)
def test_a_forged_segment_is_no_segment(changes: dict[str, Any]) -> None:
    assert landing.unpacked(forged(order(1)), "orders") is not None
    assert landing.unpacked(forged(order(1), **changes), "orders") is None


@pytest.mark.parametrize(
    "content", [MARK, TRAILER.pack(1 << 60, MARK), TRAILER.pack(0, MARK), b"[]" + TRAILER.pack(2, MARK)]
)
def test_bytes_with_a_mark_alone_are_no_segment(content: bytes) -> None:
    assert landing.unpacked(content, "orders") is None
    nested = b"[" * 100_000
    assert landing.unpacked(nested + TRAILER.pack(len(nested), MARK), "orders") is None


def test_what_only_looks_like_a_segment_ends_in_quarantine_with_its_bytes(
    client: httpx.Client, project: Project, kinesis: Kinesis, name: str
) -> None:
    answer = client.post(RECORDS, content=order(1))
    work(project)
    job = answer.json()["job_id"]
    contradiction = forged(order(2), batch_id=job)
    for poison in (contradiction, forged(order(3), sha256="0" * 64)):
        kinesis.put(name, poison)
    kinesis.put(name, order(4))
    work(project)
    accepted = sorted(row["order_id"] for row in rows_of(project, "raw", "orders"))
    # The line before the index is a record like any other's.
    assert accepted == [1, 2, 3, 4]
    kept = rows_of(project, "quarantine", "orders")
    assert len(kept) == 2
    assert all(MARK in row["raw"] for row in kept)
    (manifest,) = landing.manifests(project, "orders", [job])
    assert manifest.sha256 == sha256(order(1)).hexdigest()
    assert_holds(project)


def test_a_stream_that_does_not_answer_is_a_503_and_the_same_name_lands_once_later(
    tmp_path: Path, own_kinesalite: tuple[Kinesalite, Kinesis], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "PATIENCE_SECONDS", 0.2)
    server, streams = own_kinesalite
    project = project_of(tmp_path, streams.create())
    named = {"Idempotency-Key": "one"}
    with served(project) as url:
        for client in client_of(project, url):
            server.kill()
            refused = client.post(RECORDS, content=order(1), headers=named)
            assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
            assert client.get("/readyz").status_code == 503
            # It may have come through: the name stays its own.
            assert client.post(RECORDS, content=order(2), headers=named).status_code == 422
            server.start()
            deadline = time.monotonic() + 30
            while client.get("/readyz").status_code != 200:
                assert time.monotonic() < deadline
            assert client.post(RECORDS, content=order(1), headers=named).status_code == 202
    work(project)
    assert [row["order_id"] for row in rows_of(project, "raw", "orders")] == [1]


def test_a_dataset_without_a_stream_lands_as_before(tmp_path: Path) -> None:
    made = make_project(tmp_path / "a project")
    project = load_project(made.root, overrides={"submit_to": "stream"})
    with served(project) as url:
        for client in client_of(project, url):
            assert client.post(RECORDS, content=order(1)).json()["state"] == "landed"


def test_a_segment_lands_once(project: Project) -> None:
    draft = landing.submission("orders", name="x.ndjson", job_id=uuid.uuid4().hex, format="ndjson")
    segment = landing.packed([(landing.with_payload(draft, order(1)), order(1))])
    again = landing.unpacked(segment.content, "orders")
    assert again == replace(segment, content=segment.content)
    assert again is not None
    assert [landing.land_packed(project, one) for one in (segment, again)] == [True, True]
    other = landing.unpacked(forged(order(2), segment=segment.name), "orders")
    assert other is not None
    assert not landing.land_packed(project, other)
    (path,) = (project.landing / "orders").iterdir()
    assert path.read_bytes() == segment.content


def test_a_segment_under_the_name_of_another_ends_in_quarantine(
    client: httpx.Client, project: Project, kinesis: Kinesis, name: str
) -> None:
    client.post(RECORDS, content=order(1)).raise_for_status()
    work(project)
    (landed,) = landing.manifests(project, "orders")
    kinesis.put(name, forged(order(2), segment=landed.segment))
    work(project)
    assert sorted(row["order_id"] for row in rows_of(project, "raw", "orders")) == [1, 2]
    (kept,) = rows_of(project, "quarantine", "orders")
    assert MARK in kept["raw"]
    assert_holds(project)
