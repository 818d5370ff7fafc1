"""Segments: many batches in one file, each as if it had landed by itself."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from dpipe import landing
from dpipe.errors import DpipeError
from dpipe.landing import segments
from dpipe.stages.audit import verify
from dpipe.stages.batches import batches
from hypothesis import given, settings
from hypothesis import strategies as st
from support import make_project, processed, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dpipe.settings import Project

CONTENT = b"order_id,day,amount\n1,2013-01-01,1.5\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "a project", settings={"max_rejected_share": 1.0})


def packed(
    project: Project, *payloads: bytes, job_ids: list[str] | None = None
) -> Sequence[landing.Manifest]:
    names = job_ids or [uuid.uuid4().hex for _ in payloads]
    drafts = [landing.submission("orders", name="body.csv", job_id=name, format="csv") for name in names]
    return landing.land_segment(
        project,
        [
            (landing.with_payload(draft, payload), payload)
            for draft, payload in zip(drafts, payloads, strict=True)
        ],
    )


def order(number: int) -> bytes:
    return f"order_id,day,amount\n{number},2013-01-01,{number}.5\n".encode()


def the_segment(project: Project) -> Path:
    (path,) = (project.landing / "orders").glob("segment-*")
    return path


def payload_of(project: Project, manifest: landing.Manifest) -> bytes:
    with landing.payload_file(project, manifest) as path:
        return path.read_bytes()


@settings(deadline=None)
@given(payloads=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20))
def test_what_was_packed_comes_out(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]) -> None:
    project = make_project(tmp_path_factory.mktemp("packed") / "a project")
    landed = packed(project, *payloads)
    found = landing.manifests(project, "orders", [one.batch_id for one in landed])
    assert {one.batch_id: one for one in found} == {one.batch_id: one for one in landed}
    assert [payload_of(project, one) for one in landed] == payloads
    assert landing.batch_ids(project, "orders") == {one.batch_id for one in landed}


def test_an_index_that_is_longer_than_a_look_is_read_to_its_end(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "TAIL_BYTES", 100)
    landed = packed(project, *(order(number) for number in range(50)))
    assert landing.batch_ids(project, "orders") == {one.batch_id for one in landed}


def test_each_is_a_batch_of_its_own(project: Project) -> None:
    packed(project, *(order(number) for number in range(1, 301)))
    landing.land_file(project, "orders", _file(project, order(301)))
    processed(project)
    assert sorted(row["order_id"] for row in rows_of(project, "raw", "orders")) == list(range(1, 302))
    assert {one.state for one in batches(project)} == {"committed"}
    assert len(batches(project)) == 301
    (found,) = verify.verify(project)
    assert found.holds, found.findings
    assert found.recounted == 301


def _file(project: Project, content: bytes) -> Path:
    path = project.root / "a file.csv"
    path.write_bytes(content)
    return path


def test_one_of_them_that_is_refused_holds_up_no_other(project: Project) -> None:
    strict = make_project(project.root.parent / "strict", settings={"max_rejected_share": 0.0})
    good, bad = packed(strict, order(1), b"order_id,day,amount\nx,y,z\n")
    processed(strict)
    states = {one.batch_id: one.state for one in batches(strict)}
    assert states == {good.batch_id: "committed", bad.batch_id: "refused"}


def test_the_same_batch_may_be_in_two(project: Project) -> None:
    """Two servers that are asked at once land the same bytes twice."""
    name = uuid.uuid4().hex
    for _ in range(2):
        packed(project, order(1), job_ids=[name])
    packed(project, order(1), order(2), job_ids=[name, uuid.uuid4().hex])
    processed(project)
    assert sorted(row["order_id"] for row in rows_of(project, "raw", "orders")) == [1, 2]


def test_the_same_batch_with_other_bytes_is_told(project: Project) -> None:
    name = uuid.uuid4().hex
    for number in (1, 2):
        packed(project, order(number), job_ids=[name])
    with pytest.raises(DpipeError, match=f"`job-{name}` is in `segment-.*` too, with other bytes"):
        landing.batch_ids(project, "orders")


@pytest.mark.parametrize("size", [0, 1, 15, 16, 40, -1, -17])
def test_a_segment_that_was_cut_is_told(project: Project, size: int) -> None:
    packed(project, order(1))
    path = the_segment(project)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DpipeError, match=f"`{path.name}` of `orders` is damaged"):
        landing.batch_ids(project, "orders")


def test_a_segment_that_was_renamed_is_told(project: Project) -> None:
    packed(project, order(1))
    path = the_segment(project)
    path.rename(path.with_name(f"segment-{'0' * 32}"))
    with pytest.raises(DpipeError, match="written for another place"):
        landing.batch_ids(project, "orders")


def test_a_segment_that_is_gone_takes_its_batches_along(project: Project) -> None:
    (first,) = packed(project, order(1))
    assert landing.batch_ids(project, "orders") == {first.batch_id}
    the_segment(project).unlink()
    (second,) = packed(project, order(2))
    assert landing.batch_ids(project, "orders") == {second.batch_id}
    with pytest.raises(DpipeError, match="has no manifest"):
        landing.manifests(project, "orders", [first.batch_id])


def test_the_audit_finds_a_changed_byte_and_a_lost_segment(project: Project) -> None:
    one, two = packed(project, order(1), order(2))
    processed(project)
    path = the_segment(project)
    content = bytearray(path.read_bytes())
    content[-500 if len(content) < 500 else 25] ^= 1
    path.write_bytes(content)
    (found,) = verify.verify(project)
    assert [finding.subject for finding in found.findings] == [one.batch_id]
    path.unlink()
    (found,) = verify.verify(project)
    assert {finding.subject for finding in found.findings} == {one.batch_id, two.batch_id}
