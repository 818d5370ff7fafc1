"""Submissions and what becomes of them, asked of a real server."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import struct
import subprocess
import threading
import time
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import zstandard
from api_server import served, that_stops
from dpipe import landing
from dpipe.api import body, load
from dpipe.settings import Project, load_project
from dpipe.stages.refusals import drop
from dpipe.state import keys, refused, runs
from sqlalchemy import text as sql
from support import assert_holds, make_project, processed, rows_of, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = "order_id,day,amount\n"
GOOD = f"{HEADER}1,2013-01-01,1\n2,2013-01-01,2\n"
BAD = f"{HEADER}3,2013-01-01,3\n4,2013-01-01,-4\n1,2013-01-01,9\nx,2013-13-01,1\n"
ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs" / "api.md"
CSV = {"Content-Type": "text/csv"}
BATCHES = "/v1/datasets/orders/batches"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "a project", settings={"max_rejected_share": 1.0})


@pytest.fixture
def client(project: Project) -> Iterator[httpx.Client]:
    yield from connected(project)


def connected(project: Project) -> Iterator[httpx.Client]:
    _, text = keys.create(project, "a test", ["admin:*"])
    headers = {"Authorization": f"Bearer {text}"}
    with served(project) as url, httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        yield client


def submit(client: httpx.Client, content: str = GOOD, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(BATCHES, content=content.encode(), headers=CSV | named)


def test_the_same_key_and_body_is_the_same_submission(client: httpx.Client, project: Project) -> None:
    first, again = (submit(client, Idempotency_Key="2013-01-01/7") for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.headers["location"] == again.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(landing.batch_ids(project, "orders")) == 1


def test_the_same_key_at_once_lands_once(client: httpx.Client, project: Project) -> None:
    answers: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda: answers.append(submit(client, Idempotency_Key="one")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert len(landing.batch_ids(project, "orders")) == 1


def test_another_body_under_the_same_key_is_a_422(client: httpx.Client, project: Project) -> None:
    submit(client, Idempotency_Key="one")
    answer = submit(client, BAD, Idempotency_Key="one")
    assert answer.status_code == 422
    assert "another body" in answer.json()["detail"]
    assert len(landing.batch_ids(project, "orders")) == 1


def test_a_name_is_of_one_api_key(client: httpx.Client, project: Project) -> None:
    _, other = keys.create(project, "other", ["write:orders"])
    first = submit(client, Idempotency_Key="one").json()["job_id"]
    second = submit(client, BAD, Idempotency_Key="one", Authorization=f"Bearer {other}").json()["job_id"]
    assert first != second


def test_it_is_still_the_same_after_the_server_was_started_anew(project: Project) -> None:
    _, text = keys.create(project, "a test", ["admin:*"])
    jobs = []
    for _ in range(2):
        with served(project) as url:
            headers = CSV | {"Authorization": f"Bearer {text}", "Idempotency-Key": "one"}
            answer = httpx.post(url + BATCHES, content=GOOD, headers=headers, timeout=60)
            jobs.append(answer.json()["job_id"])
    assert jobs[0] == jobs[1]


def test_a_submission_that_is_waited_for_says_what_was_wrong(client: httpx.Client, project: Project) -> None:
    submit(client)
    processed(project)

    def work() -> None:
        while not landing.batch_ids(project, "orders") - {one.batch_id for one in landed}:
            time.sleep(0.05)
        processed(project)

    landed = landing.manifests(project, "orders")
    worker = threading.Thread(target=work)
    worker.start()
    answer = client.post(f"{BATCHES}?wait=50", content=BAD.encode(), headers=CSV)
    worker.join()
    assert answer.status_code == 200
    found = answer.json()
    assert [found[name] for name in ("state", "records_in", "accepted", "rejected", "duplicate")] == [
        "committed",
        4,
        1,
        2,
        1,
    ]
    assert found["seconds_to_commit"] > 0
    records = {one["record_no"]: one for one in found["records"]}
    assert [one["pointer"] for one in records[2]["violations"]] == ["/amount"]
    assert {one["pointer"] for one in records[4]["violations"]} == {"/order_id", "/day"}
    assert (records[3]["duplicate_kind"], records[3]["winner_record_no"]) == ("conflicting", 1)
    assert records[2]["raw"] == "4,2013-01-01,-4"
    assert_holds(project)


def test_who_waits_in_vain_gets_a_202(client: httpx.Client) -> None:
    answer = client.post(f"{BATCHES}?wait=0.3", content=GOOD.encode(), headers=CSV)
    assert (answer.status_code, answer.json()["state"]) == (202, "landed")


def test_jobs_are_listed_page_by_page(client: httpx.Client) -> None:
    made = [submit(client, Idempotency_Key=str(number)).json()["job_id"] for number in range(5)]
    found, page = [], "/v1/jobs?limit=2"
    while page:
        answer = client.get(page).json()
        found += [job["job_id"] for job in answer["jobs"]]
        page = answer["next"]
    assert found == made[::-1]
    assert client.get("/v1/jobs?dataset=nope").status_code == 404


def test_what_is_kept_out_is_listed_page_by_page(client: httpx.Client, project: Project) -> None:
    rejected = HEADER + "".join(f"{number},2013-01-01,-1\n" for number in range(1, 8))
    job = submit(client, rejected).json()["job_id"]
    processed(project)
    found, page = [], f"/v1/jobs/{job}/quarantine?limit=3"
    while page:
        answer = client.get(page).json()
        found += [record["record_no"] for record in answer["records"]]
        page = answer["next"]
    assert found == list(range(1, 8))


def test_each_state_is_an_event(client: httpx.Client, project: Project) -> None:
    job = submit(client).json()["job_id"]
    events = []
    with client.stream("GET", f"/v1/jobs/{job}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("event: "):
                events.append(line.removeprefix("event: "))
                if events == ["landed"]:
                    processed(project)
    # Whether a look comes in the moment in which it is processed is chance.
    assert [event for event in events if event != "processing"] == ["landed", "committed"]


def test_states_agree_with_the_command(client: httpx.Client, project: Project) -> None:
    jobs = [submit(client, GOOD.replace("2013", str(2013 + number))).json()["job_id"] for number in range(4)]
    refused.remember(project, "orders", jobs[1], ["too odd"], {"records_in": 2})
    refused.remember(project, "orders", jobs[2], ["too odd"], {"records_in": 2})
    with runs.recorded(project, "drop") as run:
        drop(project, jobs[2], reason="not ours", run=run)
    processed(project)
    late = submit(client, BAD).json()["job_id"]
    told = {job["job_id"]: job["state"] for job in client.get("/v1/jobs").json()["jobs"]}
    assert told == dict(
        zip([*jobs, late], ["committed", "refused", "dropped", "committed", "landed"], strict=True)
    )
    listed = json.loads(run_dpipe(project, "batches", "list", "--json").stdout)
    assert {batch["batch_id"]: batch["state"] for batch in listed} == told


def test_a_job_without_its_row_is_found_and_gets_one_at_the_next_start(project: Project) -> None:
    for restarted in (False, True):
        for client in connected(project):
            if not restarted:
                job = submit(client).json()["job_id"]
                from dpipe.state import open_state

                with open_state(project).begin() as connection:
                    connection.execute(sql("delete from jobs"))
                assert client.get("/v1/jobs").json()["jobs"] == []
            assert client.get(f"/v1/jobs/{job}").json()["state"] == "landed"
            if restarted:
                assert [one["job_id"] for one in client.get("/v1/jobs").json()["jobs"]] == [job]


class TestValidation:
    def test_a_dry_run_keeps_nothing(self, client: httpx.Client, project: Project) -> None:
        answer = client.post("/v1/datasets/orders:validate", content=BAD.encode(), headers=CSV)
        assert answer.status_code == 200
        found = answer.json()
        assert [found[name] for name in ("valid", "records_in", "accepted", "rejected", "duplicate")] == [
            False,
            4,
            2,
            2,
            0,
        ]
        assert {(one["column"], one["rule"]) for one in found["violations"]} >= {("amount", "minimum")}
        assert landing.batch_ids(project, "orders") == set()
        assert client.get("/v1/jobs").json()["jobs"] == []

    def test_good_records_are_valid(self, client: httpx.Client) -> None:
        line = b'{"order_id": 1, "day": "2013-01-01", "amount": 1}\n'
        headers = {"Content-Type": "application/x-ndjson"}
        found = client.post("/v1/datasets/orders:validate", content=line, headers=headers).json()
        assert (found["valid"], found["records"]) == (True, [])

    def test_what_would_fill_memory_is_refused(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from dpipe.api import submissions

        monkeypatch.setattr(submissions, "DECOMPRESSED_BYTES", 1 << 20)
        bomb = gzip.compress(b"x" * (2 << 20))
        headers = CSV | {"Content-Encoding": "gzip"}
        answer = client.post("/v1/datasets/orders:validate", content=bomb, headers=headers)
        assert answer.status_code == 413
        headers = {"Content-Type": "application/vnd.apache.parquet"}
        assert (
            client.post("/v1/datasets/orders:validate", content=b"PAR1", headers=headers).status_code == 415
        )


class TestLimits:
    @pytest.fixture
    def project(self, tmp_path: Path) -> Project:
        made = make_project(tmp_path / "a project")
        return load_project(
            made.root, overrides={"max_decompressed_bytes": 1 << 20, "max_backlog_batches": 2}
        )

    @pytest.mark.parametrize("encoding", ["gzip", "zstd"])
    def test_a_bomb_is_a_413_and_leaves_nothing(
        self, client: httpx.Client, project: Project, encoding: str
    ) -> None:
        plain = bytes(64 << 20)
        bomb = gzip.compress(plain) if encoding == "gzip" else zstandard.compress(plain)
        assert len(bomb) < 1 << 20
        answer = client.post(BATCHES, content=bomb, headers=CSV | {"Content-Encoding": encoding})
        assert answer.status_code == 413
        assert "decompresses to more than 1,048,576 bytes" in answer.json()["detail"]
        assert landing.batch_ids(project, "orders") == set()

    @pytest.mark.parametrize("encoding", ["gzip", "zstd"])
    def test_what_is_just_small_enough_is_taken(self, client: httpx.Client, encoding: str) -> None:
        plain = bytes((1 << 20) - 10)
        whole = gzip.compress(plain) if encoding == "gzip" else zstandard.compress(plain)
        # Two members or frames are one stream.
        parts = whole + (gzip.compress(bytes(10)) if encoding == "gzip" else zstandard.compress(bytes(10)))
        answer = client.post(BATCHES, content=parts, headers=CSV | {"Content-Encoding": encoding})
        assert answer.status_code == 202

    def test_broken_compression_is_for_the_quarantine(self, client: httpx.Client) -> None:
        content = gzip.compress(GOOD.encode())[:-9] + b"garbage"
        assert (
            client.post(BATCHES, content=content, headers=CSV | {"Content-Encoding": "gzip"}).status_code
            == 202
        )

    @pytest.mark.parametrize("is_announced", [True, False])
    def test_a_zip_bomb_is_a_413(
        self, client: httpx.Client, project: Project, tmp_path: Path, is_announced: bool
    ) -> None:
        bomb = tmp_path / "bomb.zip"
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(2):
                archive.writestr(f"{number}.csv", b"0" * (600 << 10))
        # Its list of files says that they are small.
        lie = bomb.read_bytes().replace((600 << 10).to_bytes(4, "little"), (5).to_bytes(4, "little"))
        for content in (bomb.read_bytes(), lie):
            answer = client.post(
                BATCHES,
                content=content if is_announced else iter([content]),
                headers={"Content-Type": "application/zip"},
            )
            assert answer.status_code in ({413} if content is not lie else {202, 413})
        assert len(landing.batch_ids(project, "orders")) <= 1

    def test_a_zip_file_with_too_many_files_is_a_413(self, client: httpx.Client, project: Project) -> None:
        many = io.BytesIO()
        with zipfile.ZipFile(many, "w") as archive:
            for number in range(50_000):
                archive.writestr(f"{number:060}", b"")
        answer = client.post(BATCHES, content=many.getvalue(), headers={"Content-Type": "application/zip"})
        assert (answer.status_code, "list of files" in answer.json()["detail"]) == (413, True)
        assert not landing.batch_ids(project, "orders")

    @pytest.mark.parametrize("lie", ["the size", "a mark in the end", "zip64"])
    def test_a_list_of_files_that_lies_about_its_size_is_no_way_around(
        self, client: httpx.Client, project: Project, lie: str
    ) -> None:
        many = io.BytesIO()
        with zipfile.ZipFile(many, "w") as archive:
            for number in range(50_000):
                archive.writestr(f"{number:060}", b"")
        content = many.getvalue()
        start, end = content.index(b"PK\x01\x02"), len(content) - 22
        size = end - start
        if lie == "the size":  # then the list is taken to be short
            content = content[: end + 12] + struct.pack("<L", 100) + content[end + 16 :]
        elif lie == "a mark in the end":  # where a search for the last mark finds it
            content = content[: end + 16] + b"PK\x05\x06" + content[end + 20 :]
        else:
            record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 50_000, 50_000, size, start)
            locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
            short = content[end : end + 12] + struct.pack("<L", 100) + content[end + 16 :]
            content = content[:end] + record + locator + short
        answer = client.post(BATCHES, content=content, headers={"Content-Type": "application/zip"})
        assert answer.status_code == (202 if lie == "the size" else 413)
        assert len(landing.batch_ids(project, "orders")) == (1 if lie == "the size" else 0)

    def test_a_zip_file_within_its_limits_is_taken(self, client: httpx.Client) -> None:
        good = io.BytesIO()
        with zipfile.ZipFile(good, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("orders.csv", GOOD)
        answers = [
            client.post(BATCHES, content=content, headers={"Content-Type": "application/zip"})
            for content in (good.getvalue(), b"PK\x05\x06 no zip file")
        ]
        assert [answer.status_code for answer in answers] == [202, 202]

    def test_a_backlog_that_is_full_is_a_503(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(load, "LOOK_SECONDS", 0.05)
        for client in connected(project):
            assert [submit(client).status_code for _ in range(3)] == [202, 202, 503]
            answer = submit(client)
            assert answer.headers["retry-after"] == "30"
            assert "2 batches wait" in answer.json()["detail"]
            assert client.get("/readyz").status_code == 503
            processed(project)
            deadline = time.monotonic() + 60
            while client.get("/readyz").status_code == 503:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert submit(client).status_code == 202

    def test_a_disk_without_room_is_a_503(self, client: httpx.Client, project: Project) -> None:
        full = load_project(project.root, overrides={"min_free_mb": 1 << 30})
        for other in connected(full):
            answer = submit(other)
            assert answer.status_code == 503
            assert "MB left" in answer.json()["detail"]
            assert other.get("/readyz").status_code == 503
            assert other.get("/healthz").status_code == 200

    def test_a_body_that_stops_is_a_408(self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = client.post(BATCHES, content=that_stops(b"order_id,day", monkeypatch), headers=CSV)
        assert answer.status_code == 408


def test_a_request_has_an_id(client: httpx.Client) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    made = client.get("/nope", headers={"X-Request-ID": 'x" y'})
    assert len(made.headers["x-request-id"]) == 32
    assert made.json()["request_id"] == made.headers["x-request-id"]


def test_the_log_has_a_line_of_json_a_request(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    for client in connected(load_project(project.root, overrides={"log_format": "json"})):
        client.get("/healthz?secret=1", headers={"X-Request-ID": "abc-1"})
        client.get("/a%0Ab")
        submit(client)
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")
    ]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", "/healthz", 200),
        ("GET", "/a%0Ab", 404),
        ("POST", BATCHES, 202),
    ]
    assert lines[0]["request_id"] == "abc-1"
    assert lines[2]["bytes_in"] == len(GOOD)
    assert lines[2]["key_id"] == keys.listed(project)[0].key_id
    assert "dpk_" not in json.dumps(lines)


def test_figures_are_there_for_prometheus(client: httpx.Client, project: Project) -> None:
    submit(client)
    text = client.get("/metrics").text
    assert 'dpipe_received_batches_total{dataset="orders"} 1.0' in text
    assert f'dpipe_received_bytes_total{{dataset="orders"}} {float(len(GOOD))}' in text
    assert 'route="/v1/datasets/{dataset}/batches",status="202"' in text
    assert "dpipe_disk_free_bytes" in text


def test_contracts_are_told(client: httpx.Client, project: Project) -> None:
    (dataset,) = client.get("/v1/datasets").json()
    assert dataset["name"] == "orders"
    contract = client.get(dataset["contract"])
    assert contract.content == (project.contracts / "orders.odcs.yaml").read_bytes()
    assert contract.headers["etag"] == f'"{dataset["contract_hash"]}"'
    schema = client.get(dataset["schema"])
    assert schema.headers["content-type"] == "application/schema+json"
    assert set(schema.json()["properties"]) == {"order_id", "day", "amount"}


def test_the_source_of_a_submission_is_its_key(client: httpx.Client, project: Project) -> None:
    submit(client)
    processed(project)
    (batch,) = json.loads(run_dpipe(project, "batches", "list", "--json").stdout)
    assert batch["source"] == f"api:{keys.listed(project)[0].key_id}"
    assert len(rows_of(project, "raw", "orders")) == 2
    assert_holds(project)


def test_zlib_is_the_judge_of_what_is_counted() -> None:
    """Counting by pieces comes to what decompressing whole does."""
    plain = b"".join(bytes([number % 251]) * 1000 for number in range(3000))
    for limit, fits in ((len(plain), True), (len(plain) - 1, False)):
        packed = zlib.compressobj(wbits=body.GZIP)
        content = packed.compress(plain) + packed.flush()
        pieces = [content[start : start + 777] for start in range(0, len(content), 777)]
        if fits:
            assert b"".join(body.within(pieces, "gzip", limit)) == content
        else:
            with pytest.raises(Exception, match="decompresses to more"):
                list(body.within(pieces, "gzip", limit))


class TestDocs:
    """The examples of docs/api.md, run as they stand there but for the address."""

    @pytest.fixture
    def project(self, tmp_path: Path) -> Project:
        shutil.copytree(ROOT / "configs", tmp_path / "configs")
        return load_project(tmp_path)

    def test_python(self, client: httpx.Client, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
        (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
        key = client.headers["authorization"].removeprefix("Bearer ")
        exec(code.replace("http://127.0.0.1:8080", str(client.base_url)), {"key": key})
        assert capsys.readouterr().out == "landed None\n"
        assert len(landing.batch_ids(project, "airlines")) == 1

    def test_curl(self, client: httpx.Client, project: Project) -> None:
        (command,) = re.findall(r"\$ (curl .*?)\n\{", DOCS.read_text(), re.DOTALL)
        command = command.replace("http://127.0.0.1:8080", str(client.base_url)).replace(
            "wait=30", "wait=0.1"
        )
        key = client.headers["authorization"].removeprefix("Bearer ")
        done = subprocess.run(
            ["bash", "-c", command], cwd=ROOT, env=os.environ | {"KEY": key}, capture_output=True, check=True
        )
        assert json.loads(done.stdout)["state"] == "landed"
        processed_run = run_dpipe(project, "process", "airlines")
        assert processed_run.returncode == 0
        assert client.get("/v1/jobs").json()["jobs"][0]["accepted"] == 16


def test_a_key_finds_its_own_submission_by_its_name(client: httpx.Client, project: Project) -> None:
    job = submit(client, Idempotency_Key="one").json()["job_id"]
    _, other = keys.create(project, "other", ["write:orders"])
    for where in ("?idempotency_key=one", "?idempotency_key=one&dataset=orders"):
        assert [found["job_id"] for found in client.get(f"/v1/jobs{where}").json()["jobs"]] == [job]
        headers = {"Authorization": f"Bearer {other}"}
        assert client.get(f"/v1/jobs{where}", headers=headers).json()["jobs"] == []
    assert client.get("/v1/jobs?idempotency_key=two").json()["jobs"] == []
    assert client.get("/v1/jobs?idempotency_key=one&dataset=nope").status_code == 404


def test_a_contract_that_changes_is_described_as_it_is(client: httpx.Client, project: Project) -> None:
    def described() -> set[str]:
        document = client.get("/openapi.json").json()
        return set(document["components"]["schemas"]["record.orders"]["properties"])

    assert described() == described() == {"order_id", "day", "amount"}
    contract = project.contracts / "orders.odcs.yaml"
    contract.write_text(contract.read_text() + "      - {name: colour, logicalType: string}\n")
    assert described() == {"order_id", "day", "amount", "colour"}
    assert "colour" in client.get("/v1/datasets/orders/schema").json()["properties"]
    contract.write_text("no contract")
    assert "record.orders" not in client.get("/openapi.json").json()["components"]["schemas"]
    assert client.get("/v1/datasets/orders/schema").status_code == 500
