"""Landing: a batch is there whole or not at all, and once."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from dpipe import folders as folders_module
from dpipe import landing
from dpipe.errors import DpipeError, UsageError
from dpipe.landing import land
from dpipe.landing.land import sanitised
from dpipe.stages.ingest import ingest, source_files
from dpipe.state import runs
from support import make_project, payload_path, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dpipe.settings import Project

CONTENT = b"order_id,day,amount\n1,2013-01-01,2.5\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "project")


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    path = tmp_path / "orders.csv"
    path.write_bytes(CONTENT)
    return path


def folders(project: Project) -> list[str]:
    return sorted(path.name for path in (project.landing / "orders").iterdir())


def test_a_file_lands_under_the_hash_of_its_bytes(project: Project, orders: Path) -> None:
    landed = landing.land_file(project, "orders", orders)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert landed.manifest.batch_id == f"file-{digest[:32]}"
    assert (landed.manifest.sha256, landed.manifest.bytes) == (digest, len(CONTENT))
    assert payload_path(project, landed.manifest).read_bytes() == CONTENT
    assert folders(project) == [landed.manifest.batch_id]


def test_the_same_bytes_are_one_batch_whatever_the_file_is_called(project: Project, orders: Path) -> None:
    first = landing.land_file(project, "orders", orders)
    copy = orders.rename(orders.with_name("again.csv"))
    second = landing.land_file(project, "orders", copy)
    assert (first.already, second.already) == (False, True)
    assert second.manifest == first.manifest
    assert landing.manifests(project, "orders") == [first.manifest]


def test_the_same_bytes_in_two_datasets_are_two_batches(project: Project, orders: Path) -> None:
    landing.land_file(project, "orders", orders)
    assert not landing.land_file(project, "returns", orders).already


def test_a_symlink_lands_what_it_points_at(project: Project, orders: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.csv"
    link.symlink_to(orders)
    assert landing.land_file(project, "orders", link).manifest.name == "link.csv"


def test_two_submissions_of_equal_bytes_are_two_batches(project: Project) -> None:
    jobs = [uuid.uuid4().hex for _ in range(2)]
    for job in jobs:
        landing.land_stream(project, landing.submission("orders", name="body.csv", job_id=job), [CONTENT])
    assert landing.batch_ids(project, "orders") == {f"job-{job}" for job in jobs}


def test_one_submission_lands_once(project: Project) -> None:
    job = uuid.uuid4().hex
    landing.land_stream(project, landing.submission("orders", name="body.csv", job_id=job), [CONTENT])
    assert landing.land_stream(
        project, landing.submission("orders", name="body.csv", job_id=job), [CONTENT]
    ).already


def test_one_submission_can_not_come_back_with_other_bytes(project: Project) -> None:
    job = uuid.uuid4().hex
    landing.land_stream(project, landing.submission("orders", name="body.csv", job_id=job), [CONTENT])
    with pytest.raises(UsageError, match="other bytes"):
        landing.land_stream(project, landing.submission("orders", name="body.csv", job_id=job), [b"other"])
    assert folders(project) == [f"job-{job}"]


def test_a_body_that_breaks_off_leaves_nothing(project: Project) -> None:
    def broken() -> Iterator[bytes]:
        yield CONTENT
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError):
        landing.land_stream(
            project, landing.submission("orders", name="body.csv", job_id=uuid.uuid4().hex), broken()
        )
    assert folders(project) == []


def test_a_full_disk_is_named_and_leaves_nothing(
    project: Project, orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    (project.landing / "orders").mkdir(parents=True)
    with pytest.raises(DpipeError, match="No space left"):
        landing.land_file(project, "orders", orders)
    assert folders(project) == []


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: None, "can't be read"),
        (lambda path: path.write_bytes(b""), "is empty"),
    ],
)
def test_what_can_not_be_a_batch_is_a_usage_error(
    project: Project, tmp_path: Path, make: object, problem: str
) -> None:
    path = tmp_path / "input"
    assert callable(make)
    make(path)
    with pytest.raises(UsageError, match=problem):
        landing.land_file(project, "orders", path)


def test_leftovers_of_dead_landings_are_swept_after_a_day(project: Project, orders: Path) -> None:
    folder = project.landing / "orders"
    for name, age in ((".landing-old", 100_000), (".landing-new", 10)):
        (folder / name).mkdir(parents=True)
        os.utime(folder / name, times=(time.time() - age,) * 2)
    landing.land_file(project, "orders", orders)
    assert [name for name in folders(project) if name.startswith(".")] == [".landing-new"]


def test_a_landing_that_still_writes_after_a_day_is_not_swept(
    project: Project, orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = project.landing / "orders" / ".landing-slow"
    slow.mkdir(parents=True)
    (slow / "huge.csv").write_bytes(CONTENT)
    os.utime(slow, times=(time.time() - 100_000,) * 2)
    landing.land_file(project, "orders", orders)
    assert slow.exists()
    os.utime(slow / "huge.csv", times=(time.time() - 100_000,) * 2)
    landing.land_file(project, "orders", orders)
    assert slow.exists()  # it was looked only just now
    monkeypatch.setattr(folders_module, "SWEEP_SECONDS", 0)
    landing.land_file(project, "orders", orders)
    assert not slow.exists()


def test_a_batch_that_is_there_already_is_made_durable_all_the_same(
    project: Project, orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.land_file(project, "orders", orders)
    synced: list[Path] = []
    monkeypatch.setattr(land, "sync_folder", synced.append)
    assert landing.land_file(project, "orders", orders).already
    assert synced[-1] == project.landing / "orders"


@pytest.mark.parametrize("damage", ["{", "[]", "{}", None])
def test_a_damaged_manifest_is_named(project: Project, orders: Path, damage: str | None) -> None:
    manifest = landing.land_file(project, "orders", orders).manifest
    path = project.landing / "orders" / manifest.batch_id / "manifest.json"
    changed = json.dumps({**json.loads(path.read_text()), "bytes": 1}) if damage is None else damage
    path.write_text(changed)
    with pytest.raises(DpipeError, match=f"batch `{manifest.batch_id}` of `orders` is damaged"):
        landing.manifests(project, "orders")


def test_a_batch_is_found_by_the_beginning_of_its_id(project: Project, orders: Path) -> None:
    manifest = landing.land_file(project, "orders", orders).manifest
    assert landing.find(project, manifest.batch_id[:9]) == manifest
    with pytest.raises(UsageError, match="no batch"):
        landing.find(project, "file-none")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("../../x y.csv", "_.._x_y.csv"),
        ("manifest.json", "payload-manifest.json"),
        ("é", "_"),
        ("..", "payload-"),
    ],
)
def test_file_names_are_made_plain(name: str, plain: str) -> None:
    assert sanitised(name) == plain


def test_data_is_for_its_owner_alone(project: Project, orders: Path) -> None:
    landing.land_file(project, "orders", orders)
    assert project.data_dir.stat().st_mode & 0o777 == 0o700


def test_ingest_looks_at_every_path_before_it_lands_one(project: Project, orders: Path) -> None:
    with runs.recorded(project, "test") as run, pytest.raises(UsageError, match="doesn't exist"):
        ingest(project, "orders", [orders, orders.with_name("missing.csv")], run)
    assert landing.batch_ids(project, "orders") == set()


def test_ingest_of_an_unknown_dataset_names_the_known(project: Project, orders: Path) -> None:
    with runs.recorded(project, "test") as run, pytest.raises(UsageError) as caught:
        ingest(project, "order", [orders], run)
    assert "orders" in str(caught.value.hint)


def test_sources_are_globbed_from_the_project(tmp_path: Path) -> None:
    project = make_project(tmp_path, settings={"sources": {"orders": "in/*.csv"}})
    (tmp_path / "in").mkdir()
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / "in" / name).write_bytes(CONTENT)
    assert [path.name for path in source_files(project, "orders")] == ["a.csv", "b.csv"]


def test_a_source_that_matches_nothing_is_a_usage_error(tmp_path: Path) -> None:
    project = make_project(tmp_path, settings={"sources": {"orders": "in/*.csv"}})
    with pytest.raises(UsageError, match="matches no file"):
        source_files(project, "orders")


def test_a_landing_that_is_killed_is_not_there_and_lands_the_next_time(
    project: Project, orders: Path
) -> None:
    killed = run_dpipe(
        project, "ingest", "orders", str(orders), environment={"DPIPE_FAILPOINT": "after-landing-copy"}
    )
    assert killed.returncode == -9
    assert landing.batch_ids(project, "orders") == set()
    assert run_dpipe(project, "ingest", "orders", str(orders)).returncode == 0
    assert len(landing.manifests(project, "orders")) == 1
