"""Keys: made, shown once, held to their scopes, and nothing open without one."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from api_server import served
from dpipe.api import auth
from dpipe.errors import UsageError
from dpipe.state import keys
from support import make_project, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dpipe.settings import Project

BODY = b"order_id,day,amount\n1,2013-01-01,1\n"
OPEN = {"/healthz", "/readyz", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "a project")


@pytest.fixture
def url(project: Project) -> Iterator[str]:
    with served(project) as address:
        yield address


def asked(url: str, text: str | None, method: str = "GET", path: str = "/v1/datasets") -> httpx.Response:
    headers = {"Content-Type": "text/csv"} | ({"Authorization": f"Bearer {text}"} if text else {})
    return httpx.request(
        method, url + path, headers=headers, content=BODY if method == "POST" else None, timeout=60
    )


def test_a_key_is_shown_once_and_kept_as_a_hash(project: Project) -> None:
    made = run_dpipe(project, "keys", "create", "feed", "--scope", "write:orders", "--expires", "90d")
    assert made.returncode == 0
    text = made.stdout.strip()
    assert keys.FORM.fullmatch(text)
    secret = text.rpartition("_")[2]
    listed = run_dpipe(project, "keys", "list", "--json").stdout
    (key,) = json.loads(listed)
    assert (key["name"], key["scopes"]) == ("feed", ["write:orders"])
    assert key["expires_at"] is not None
    stored = b"".join(path.read_bytes() for path in project.data_dir.glob("state.db*"))
    assert key["key_id"].encode() in stored
    assert secret.encode() not in stored
    assert secret not in listed


@pytest.mark.parametrize("scope", ["orders", "write", "write:", "own:orders", "write:Orders", "write:*x", ""])
def test_a_scope_that_is_none_is_refused(project: Project, scope: str) -> None:
    with pytest.raises(UsageError, match="is no scope"):
        keys.create(project, "feed", [scope])
    assert keys.listed(project) == []


def test_a_scope_of_an_unknown_dataset_is_refused(project: Project) -> None:
    made = run_dpipe(project, "keys", "create", "feed", "--scope", "write:order")
    assert made.returncode == 2
    assert "did you mean `orders`?" in made.stderr


def test_nothing_is_open_but_health_and_docs(url: str) -> None:
    paths = httpx.get(f"{url}/openapi.json", timeout=60).json()["paths"]
    assert len(paths) >= 10
    for path, methods in paths.items():
        filled = path.replace("{dataset}", "orders").replace("{job_id}", f"job-{'0' * 32}")
        for method in methods:
            response = asked(url, None, method.upper(), filled)
            assert response.status_code == (200 if path in OPEN else 401), path
            if response.status_code == 401:
                assert response.headers["www-authenticate"] == "Bearer"
                assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "dpk_",
        f"dpk_{'0' * 12}_{'A' * 43}",
        "dpk_'; drop table api_keys; --",
        "Bearer",
        "é",
        "\\u0000",
    ],
)
def test_what_is_no_key_opens_nothing(url: str, text: str) -> None:
    headers = {"Authorization": f"Bearer {text}".encode("latin-1")}
    assert httpx.get(f"{url}/v1/datasets", headers=headers, timeout=60).status_code == 401  # type: ignore[arg-type]


def test_another_secret_opens_nothing(project: Project, url: str) -> None:
    _, text = keys.create(project, "feed", ["admin:*"])
    assert asked(url, text).status_code == 200
    assert asked(url, text[:-1] + ("A" if text[-1] != "A" else "B")).status_code == 401


@pytest.mark.parametrize(
    ("scopes", "submits", "lists", "figures"),
    [
        (["write:orders"], 202, 403, 403),
        (["read:orders"], 403, 200, 403),
        (["write:other"], 403, 403, 403),
        (["read:*"], 403, 200, 200),
        (["write:*"], 202, 403, 403),
        (["admin:*"], 202, 200, 200),
        (["admin:orders"], 202, 200, 403),
    ],
)
def test_a_key_may_do_what_its_scopes_say(
    project: Project, url: str, scopes: list[str], submits: int, lists: int, figures: int
) -> None:
    _, text = keys.create(project, "feed", scopes)
    assert asked(url, text, "POST", "/v1/datasets/orders/batches").status_code == submits
    assert asked(url, text, path="/v1/jobs").status_code == lists
    assert asked(url, text, path="/metrics").status_code == figures


def test_a_job_is_shown_to_its_key_and_to_readers_only(project: Project, url: str) -> None:
    _, own = keys.create(project, "feed", ["write:orders"])
    _, other = keys.create(project, "another feed", ["write:orders"])
    _, reader = keys.create(project, "reader", ["read:orders"])
    job = asked(url, own, "POST", "/v1/datasets/orders/batches").headers["location"]
    for path in (job, f"{job}/quarantine", f"{job}/events"):
        assert asked(url, other, path=path).status_code == 404
    assert asked(url, own, path=job).json()["state"] == "landed"
    assert asked(url, reader, path=job).json()["state"] == "landed"


def test_a_revoked_key_opens_nothing_once_it_is_forgotten(
    project: Project, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "TRUSTED_SECONDS", 0.0)
    key, text = keys.create(project, "feed", ["admin:*"])
    assert asked(url, text).status_code == 200
    assert run_dpipe(project, "keys", "revoke", key.key_id).returncode == 0
    assert asked(url, text).status_code == 401
    assert run_dpipe(project, "keys", "revoke", key.key_id).returncode == 0
    assert run_dpipe(project, "keys", "revoke", "0" * 12).returncode == 2


def test_an_expired_key_opens_nothing(project: Project, url: str) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    _, text = keys.create(project, "feed", ["admin:*"], expires_at=past)
    assert asked(url, text).status_code == 401


def test_a_key_that_asks_too_often_is_told_when_to_come_again(project: Project, url: str) -> None:
    _, text = keys.create(project, "feed", ["admin:*"], requests_per_minute=3)
    _, other = keys.create(project, "other", ["admin:*"], requests_per_minute=3)
    answers = [asked(url, text) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 21
    assert asked(url, other).status_code == 200


def test_secrets_are_compared_in_full(project: Project) -> None:
    """A hash that was cut in the database opens nothing."""
    key, text = keys.create(project, "feed", ["admin:*"])
    with sqlite3.connect(project.data_dir / "state.db") as connection:
        connection.execute("update api_keys set secret_hash = '' where key_id = ?", (key.key_id,))
    from dpipe.state import open_state

    assert keys.find(open_state(project), text) is None
