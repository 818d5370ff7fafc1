"""Bytes that a key may submit a day: what landed counts, once, over all servers; what was refused doesn't."""

from __future__ import annotations

import gzip
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from api_server import served, that_stops
from dpipe import landing
from dpipe.api import quota
from dpipe.settings import load_project
from dpipe.state import keys, open_state, quotas
from dpipe.state.schema import api_quotas
from sqlalchemy import update
from support import make_project, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dpipe.settings import Project
    from dpipe.state.keys import ApiKey

CSV = {"Content-Type": "text/csv"}
BODY = b"order_id,day,amount\n1,2013-01-01,1\n"
BATCHES = "/v1/datasets/orders/batches"
DAY_SECONDS = 86_400


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = make_project(tmp_path)
    return load_project(made.root, overrides={"max_decompressed_bytes": 1 << 20})


@contextmanager
def connected(project: Project, bytes_per_day: int | None) -> Iterator[tuple[httpx.Client, ApiKey]]:
    """A client of a server, by a key that may submit so much."""
    key, text = keys.create(project, "feed", ["write:orders"], bytes_per_day=bytes_per_day)
    headers = CSV | {"Authorization": f"Bearer {text}"}
    with served(project) as url, httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        yield client, key


def today(project: Project) -> int | None:
    """What `dpipe keys list` says that the only key has submitted."""
    (key,) = json.loads(run_dpipe(project, "keys", "list", "--json").stdout)
    found: int | None = key["bytes_today"]
    return found


def in_pieces(content: bytes, size: int) -> Iterator[bytes]:
    """A body that doesn't say its length."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


def test_a_key_that_has_used_its_day_up_is_told_when_to_come_again(project: Project) -> None:
    with connected(project, 2 * len(BODY) + 10) as (client, _):
        answers = [client.post(BATCHES, content=BODY) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= DAY_SECONDS
        assert "bytes a day" in answers[-1].json()["detail"]
        assert today(project) == 2 * len(BODY)
        # A smaller one still has room, and so has anything that lands nothing.
        assert client.post(BATCHES, content=b"order_id\n1").status_code == 202
        assert client.post("/v1/datasets/orders:validate", content=BODY).status_code == 200
        assert client.get(answers[0].headers["location"]).status_code == 200
    assert len(landing.batch_ids(project, "orders")) == 3


def test_a_few_records_count_too(project: Project) -> None:
    with connected(project, len(BODY)) as (client, _):
        records = BATCHES.replace("batches", "records")
        assert [client.post(records, content=BODY).status_code for _ in range(2)] == [202, 429]
    assert today(project) == len(BODY)


def test_the_next_day_begins_anew(project: Project) -> None:
    with connected(project, len(BODY)) as (client, _):
        assert [client.post(BATCHES, content=BODY).status_code for _ in range(2)] == [202, 429]
        with open_state(project).begin() as connection:
            connection.execute(update(api_quotas).values(day="2013-01-01"))
        assert today(project) == 0
        assert [client.post(BATCHES, content=BODY).status_code for _ in range(2)] == [202, 429]
        assert today(project) == len(BODY)


def test_what_is_refused_does_not_count(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(bytes(4 << 20))
    named = {"Idempotency-Key": "one"}
    with connected(project, 1 << 20) as (client, _):
        assert client.post(BATCHES, content=BODY, headers=named).status_code == 202
        before = today(project)
        assert before == len(BODY)

        for status, request in (
            (413, {"content": bomb, "headers": {"Content-Encoding": "gzip"}}),
            (422, {"content": BODY + BODY, "headers": named}),
            (400, {"content": b""}),
            (408, {"content": that_stops(BODY, monkeypatch)}),
            (202, {"content": BODY, "headers": named}),  # it has landed before
        ):
            assert client.post(BATCHES, **request).status_code == status
            assert today(project) == before
        assert client.post("/v1/datasets/nope/batches", content=BODY).status_code in {403, 404}
        assert today(project) == before


def test_a_body_that_does_not_say_its_length_is_counted_as_it_comes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "BLOCK_BYTES", 64)
    content = BODY + b"".join(b"%d,2013-01-01,1\n" % number for number in range(100))
    with connected(project, len(content) + len(BODY) + 5) as (client, _):
        assert client.post(BATCHES, content=in_pieces(content, 50)).status_code == 202
        assert today(project) == len(content)
        answer = client.post(BATCHES, content=in_pieces(BODY * 3, 50))
        assert (answer.status_code, today(project)) == (429, len(content))
        assert client.post(BATCHES, content=in_pieces(BODY, 10)).status_code == 202
        assert today(project) == len(content) + len(BODY)
    assert len(landing.batch_ids(project, "orders")) == 2


def test_what_a_whole_day_is_too_short_for_is_a_413(project: Project) -> None:
    with connected(project, len(BODY) - 1) as (client, _):
        for content in (BODY, in_pieces(BODY, 10)):
            answer = client.post(BATCHES, content=content)
            assert answer.status_code == 413
            assert f"{len(BODY) - 1} bytes that the key may submit a day" in answer.json()["detail"]
    assert (today(project), landing.batch_ids(project, "orders")) == (0, set())


def test_servers_share_one_count(project: Project) -> None:
    """Sixteen at once, of two servers, by a key that has room for seven."""
    with connected(project, 7 * len(BODY) + 1) as (client, _), served(project) as other:
        statuses: list[int] = []

        def submit(number: int) -> None:
            where = f"{other if number % 2 else client.base_url}{BATCHES}".replace("//v1", "/v1")
            statuses.append(httpx.post(where, content=BODY, headers=client.headers, timeout=60).status_code)

        threads = [threading.Thread(target=submit, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Who is refused while others are on their way may come again.
        statuses += [client.post(BATCHES, content=BODY).status_code for _ in range(8)]
    assert statuses.count(202) == len(landing.batch_ids(project, "orders")) == 7
    assert set(statuses) == {202, 429}
    assert today(project) == 7 * len(BODY)


def test_a_key_without_a_quota_is_not_counted(project: Project) -> None:
    with connected(project, None) as (client, key):
        assert client.post(BATCHES, content=BODY).status_code == 202
        assert key.bytes_per_day is None
    assert quotas.used(open_state(project), datetime.now(UTC).date()) == {}
    assert today(project) is None


def test_the_command_takes_sizes_as_people_write_them(project: Project) -> None:
    def made(text: str) -> Any:
        done = run_dpipe(
            project, "keys", "create", "feed", "--scope", "write:*", "--bytes-per-day", text, "--json"
        )
        return json.loads(done.stdout)["bytes_per_day"] if done.returncode == 0 else done.returncode

    assert [made(text) for text in ("1000", "500MB", "2GiB", "1 kB")] == [1000, 500_000_000, 2 << 30, 1000]
    assert [made(text) for text in ("0", "-1", "2gb", "1.5GB", "9999999999TB", "MB", "٣")] == [2] * 7
    listed = run_dpipe(project, "keys", "list").stdout
    assert "bytes a day" in listed
    assert "2,147,483,648" in listed


def test_files_are_not_sent_for_hours_in_vain(project: Project, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.csv" for number in range(2)]
    for number, path in enumerate(paths):
        path.write_bytes(BODY.replace(b"\n1", f"\n{number}".encode()))
    with connected(project, len(BODY) + 5) as (client, _):
        key = client.headers["authorization"].removeprefix("Bearer ")
        done = run_dpipe(
            project,
            *("ingest", "orders", *map(str, paths), "--to", str(client.base_url), "--parallel", "1"),
            environment={"DPIPE_API_KEY": key},
        )
    assert done.returncode == 3
    assert "the API takes no more now: the key may submit" in done.stderr
    assert "give the command again in" in done.stderr
    assert len(landing.batch_ids(project, "orders")) == 1
