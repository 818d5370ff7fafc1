"""Publishing: the candidate becomes the published file at once, and only when it passed its checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
from dpipe.errors import DataError, UsageError
from dpipe.stages.publish import PublishResult, publish
from dpipe.state import runs
from dpipe.warehouse import batches, candidate
from dpipe.warehouse.batches import Batch
from dpipe.warehouse.duckdb_target import DuckDbTarget
from warehouse_lake import new_project

if TYPE_CHECKING:
    from dpipe.settings import Project

# Reads one number a line asked for, over the connection that it opened at the start.
READER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
for _ in sys.stdin:
    print(connection.execute("select sum(n) from marts.numbers").fetchall()[0][0], flush=True)
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return new_project(tmp_path)


def build_candidate(project: Project, number: int) -> str:
    """A candidate as `transform` leaves it, with one mart and one staging view over the lake."""
    project.candidate.parent.mkdir(parents=True, exist_ok=True)
    project.candidate.unlink(missing_ok=True)
    batches.begin(project.candidate, [Batch("numbers", f"file-{number}", number)])
    with duckdb.connect(str(project.candidate)) as connection:
        connection.execute("attach ':memory:' as lake")
        connection.execute("create schema lake.raw")
        connection.execute("create table lake.raw.numbers (n integer)")
        connection.execute("create schema staging")
        connection.execute("create view staging.stg_numbers as select * from lake.raw.numbers")
        connection.execute("create schema marts")
        connection.execute(f"create table marts.numbers as select {number} as n")
    return batches.finish(project.candidate, "hash", "run")


def publish_now(project: Project) -> PublishResult:
    with runs.recorded(project, "publish") as run:
        return publish(project, run=run)


def read_number(project: Project) -> int:
    with duckdb.connect(str(project.marts), read_only=True) as connection:
        return int(connection.execute("select n from marts.numbers").fetchall()[0][0])


def test_without_a_candidate_there_is_nothing_to_publish(project: Project) -> None:
    with pytest.raises(UsageError, match="no candidate"):
        publish_now(project)


def test_a_candidate_that_nobody_validated_is_refused(project: Project) -> None:
    build_candidate(project, 1)
    with pytest.raises(DataError, match="was not validated"):
        publish_now(project)
    assert not project.marts.exists()


def test_a_candidate_that_failed_its_checks_is_refused(project: Project) -> None:
    build_candidate(project, 1)
    candidate.mark_validated(project, ok=False)
    with pytest.raises(DataError, match="failed its checks"):
        publish_now(project)
    assert not project.marts.exists()


def test_a_verdict_does_not_pass_to_the_next_candidate(project: Project) -> None:
    build_candidate(project, 1)
    candidate.mark_validated(project, ok=True)
    build_candidate(project, 2)
    with pytest.raises(DataError, match="was not validated"):
        publish_now(project)


def test_a_verdict_on_an_earlier_candidate_does_not_count(project: Project) -> None:
    checked = build_candidate(project, 1)
    build_candidate(project, 2)
    candidate.mark_validated(project, ok=True, candidate_id=checked)
    with pytest.raises(DataError, match="was not validated"):
        publish_now(project)


def test_a_validated_candidate_is_published(project: Project) -> None:
    candidate_id = build_candidate(project, 1)
    candidate.mark_validated(project, ok=True)
    result = publish_now(project)
    assert (result.changed, result.candidate_id, result.rows) == (True, candidate_id, {"marts.numbers": 1})
    assert read_number(project) == 1
    assert candidate.status(DuckDbTarget(project)).is_published


def test_publishing_twice_changes_nothing(project: Project) -> None:
    build_candidate(project, 1)
    candidate.mark_validated(project, ok=True)
    publish_now(project)
    inode = project.marts.stat().st_ino
    assert publish_now(project).changed is False
    assert project.marts.stat().st_ino == inode


def test_readers_get_no_schema_that_needs_the_lake(project: Project) -> None:
    build_candidate(project, 1)
    candidate.mark_validated(project, ok=True)
    publish_now(project)
    with duckdb.connect(str(project.marts), read_only=True) as connection:
        tables = connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables order by 1"
        ).fetchall()
    assert tables == [("dpipe_meta.candidate",), ("dpipe_meta.transformed_batches",), ("marts.numbers",)]


def test_a_mart_is_named_by_its_schema_alone(project: Project) -> None:
    build_candidate(project, 1)
    candidate.mark_validated(project, ok=True)
    publish_now(project)
    assert project.marts.stem not in {"marts", "staging", "raw"}
    assert read_number(project) == 1


def test_a_reader_reads_on_while_the_new_marts_come_in(project: Project) -> None:
    build_candidate(project, 1)
    candidate.mark_validated(project, ok=True)
    publish_now(project)
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(project.marts)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert ask(reader) == "1"
        build_candidate(project, 2)
        candidate.mark_validated(project, ok=True)
        publish_now(project)
        assert ask(reader) == "1"
        assert read_number(project) == 2
        reader.communicate()


def test_a_failure_before_the_swap_leaves_the_old_marts_and_can_be_repeated(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_candidate(project, 1)
    candidate.mark_validated(project, ok=True)
    publish_now(project)
    build_candidate(project, 2)
    candidate.mark_validated(project, ok=True)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", _no_space)
        with pytest.raises(OSError, match="no space"):
            publish_now(project)
    assert read_number(project) == 1
    publish_now(project)
    assert read_number(project) == 2


def test_a_damaged_candidate_is_named_with_what_to_do(project: Project) -> None:
    project.candidate.parent.mkdir(parents=True)
    project.candidate.write_bytes(b"not a database")
    with pytest.raises(UsageError, match=r"candidate\.duckdb") as caught:
        publish_now(project)
    assert "--full-refresh" in (caught.value.hint or "")


def test_marking_without_a_candidate_is_a_usage_error(project: Project) -> None:
    with pytest.raises(UsageError, match="no candidate"):
        candidate.mark_validated(project, ok=True)


def ask(reader: subprocess.Popen[str]) -> str:
    assert reader.stdin is not None
    assert reader.stdout is not None
    reader.stdin.write("\n")
    reader.stdin.flush()
    return reader.stdout.readline().strip()


def _no_space(self: Path, target: Path) -> None:
    raise OSError("no space left on device")
