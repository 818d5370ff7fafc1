"""`dpipe ingest --to`: files to the API of another machine, each once, whatever breaks off."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from api_server import served
from dpipe import landing
from dpipe.errors import UnavailableError, UsageError
from dpipe.stages import submit as module
from dpipe.stages.submit import Api, submit
from dpipe.state import keys
from servers import free_port
from support import make_project, processed, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dpipe.settings import Project

HEADER = "order_id,day,amount\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "a project")


@pytest.fixture
def key(project: Project) -> str:
    return keys.create(project, "feed", ["write:orders"])[1]


@pytest.fixture
def url(project: Project) -> Iterator[str]:
    with served(project) as address:
        yield address


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "files"
    folder.mkdir()
    made = []
    for number in range(5):
        path = folder / f"{number}.csv"
        path.write_text(f"{HEADER}{number},2013-01-01,1\n")
        made.append(path)
    packed = folder / "5.csv.gz"
    packed.write_bytes(gzip.compress(f"{HEADER}5,2013-01-01,1\n".encode()))
    return [*made, packed]


def sent(url: str, key: str, files: list[Path], *more: str) -> subprocess.CompletedProcess[str]:
    """The command where there is no project."""
    return subprocess.run(
        [sys.executable, "-m", "dpipe", "-q", "ingest", "orders", *map(str, files), "--to", url, *more],
        cwd=files[0].parent,
        env=os.environ | {"DPIPE_API_KEY": key},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_every_file_is_a_batch_with_its_bytes(
    project: Project, url: str, key: str, files: list[Path]
) -> None:
    done = sent(url, key, files, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one["already"] for one in found] == [False] * 6
    for one, path in zip(found, files, strict=True):
        (manifest,) = landing.manifests(project, "orders", [one["job"]["job_id"]])
        with landing.payload_file(project, manifest) as payload:
            assert payload.read_bytes() == path.read_bytes()
    assert processed(project).accepted == 6
    assert len(rows_of(project, "raw", "orders")) == 6


def test_what_was_sent_is_not_sent_again(project: Project, url: str, key: str, files: list[Path]) -> None:
    api = Api(url, key)
    submit(api, "orders", files[:2], parallel=1)
    processed(project)
    again = submit(api, "orders", files, parallel=3)
    assert [one.already for one in again] == [True, True, False, False, False, False]
    assert [one.job["state"] for one in again] == ["committed"] * 2 + ["landed"] * 4
    assert len(landing.batch_ids(project, "orders")) == 6


def test_it_can_wait_for_the_outcome(project: Project, url: str, key: str, files: list[Path]) -> None:
    files[0].write_text(f"{HEADER}x,2013-01-01,1\n")

    def work() -> None:
        while not landing.batch_ids(project, "orders"):
            time.sleep(0.02)
        processed(project)

    worker = threading.Thread(target=work)
    worker.start()
    done = sent(url, key, files[:1], "--wait", "60")
    worker.join()
    assert done.returncode == 1
    assert "refused 1 batch(es)" in done.stderr
    assert "`rejected_share` is 100.00%" in done.stderr


@pytest.mark.parametrize(
    ("address", "key", "said"),
    [
        ("ftp://x", "k", "is no address of an API"),
        ("https://", "k", "is no address of an API"),
        ("https://a:b@x", "k", "is no address of an API"),
        ("https://x", None, "there is no key"),
        ("https://x", "", "there is no key"),
    ],
)
def test_what_can_not_be_asked_is_said_before(address: str, key: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Api(address, key)


def test_what_the_api_refuses_is_said_with_its_words(
    project: Project, url: str, key: str, files: list[Path]
) -> None:
    with pytest.raises(UsageError, match="not one of this server's") as caught:
        submit(Api(url, f"dpk_{'0' * 12}_{'A' * 43}"), "orders", files, parallel=2)
    assert "DPIPE_API_KEY" in str(caught.value.hint)
    with pytest.raises(UsageError, match="no scope `write:other`"):
        submit(Api(url, key), "other", files, parallel=2)
    with pytest.raises(UsageError, match="is no dataset's name"):
        submit(Api(url, key), "../other", files, parallel=2)
    with pytest.raises(UsageError, match="doesn't exist"):
        submit(Api(url, key), "orders", [files[0], files[0].with_name("nope")], parallel=2)
    assert landing.batch_ids(project, "orders") == set()


def test_a_server_that_comes_back_gets_the_files(
    project: Project, key: str, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()

    def pause(*_: object) -> float:
        asked.set()
        return 1

    monkeypatch.setattr(module._Pause, "__call__", pause)
    port = free_port()
    found = []
    sender = threading.Thread(
        target=lambda: found.extend(submit(Api(f"http://127.0.0.1:{port}", key), "orders", files, parallel=2))
    )
    sender.start()
    assert asked.wait(60)
    with served(project, port):
        sender.join()
    assert len(found) == 6
    assert len(landing.batch_ids(project, "orders")) == 6


def test_a_server_that_does_not_answer_is_named(
    key: str, files: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module._Pause, "__call__", lambda self, state: 0.01)
    with pytest.raises(UnavailableError, match=r"didn't take .* in 8 tries") as caught:
        submit(Api("http://127.0.0.1:9", key), "orders", files[:1], parallel=1)
    assert caught.value.exit_code == 3
    assert capsys.readouterr().err.count("is asked again") == 7


def test_a_server_that_is_full_is_asked_again_when_it_says(
    project: Project, url: str, files: list[Path]
) -> None:
    # Each file is two requests: whether it is known, and the file.
    _, slow = keys.create(project, "slow", ["write:orders"], requests_per_minute=120)
    _, rare = keys.create(project, "rare", ["write:orders"], requests_per_minute=40)
    assert len(submit(Api(url, slow), "orders", files, parallel=6)) == 6
    for _ in range(39):
        httpx.get(f"{url}/v1/datasets", headers={"Authorization": f"Bearer {rare}"}, timeout=60)
    assert len(submit(Api(url, rare), "orders", files[:1], parallel=1)) == 1
