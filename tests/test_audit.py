"""Audit: a sound lake holds, and whatever is done to its files, tables or ledger behind dpipe's back is found."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from dpipe import landing
from dpipe.errors import UsageError
from dpipe.iceberg import chain, ledger, open_catalog
from dpipe.iceberg.attempt import BatchEntry, Files, WrittenFile
from dpipe.iceberg.catalog import LEDGER
from dpipe.iceberg.storage import local_path
from dpipe.stages.audit.story import story
from dpipe.stages.audit.verify import verify
from dpipe.stages.process import process
from dpipe.state import runs
from pyiceberg.expressions import AlwaysTrue
from support import ORDERS, batch_entry, make_project, payload_path, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from dpipe.settings import Project
    from dpipe.stages.audit.findings import DatasetAudit

HEADER = "order_id,day,amount\n"
FIRST = (
    HEADER + "".join(f"{number},2013-01-0{number % 9 + 1},2.5\n" for number in range(60)) + "x,2013-01-01,1\n"
)
SECOND = HEADER + "".join(f"{number},2013-01-0{number % 9 + 1},2.5\n" for number in range(50, 90))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two commits: 60 accepted and 1 rejected; 30 accepted and 10 duplicate."""
    project = make_project(tmp_path / "a project")
    for name, content in (("a.csv", FIRST), ("b.csv", SECOND)):
        ingest(project, name, content)
    return project


def ingest(project: Project, name: str, content: str) -> str:
    path = project.root / name
    path.write_text(content)
    batch_id = landing.land_file(project, "orders", path).manifest.batch_id
    with runs.recorded(project, "process") as run:
        process(project, run=run)
    return batch_id


def audited(project: Project) -> DatasetAudit:
    (audit,) = verify(project)
    return audit


def checks(project: Project) -> set[str]:
    return {finding.check for finding in audited(project).findings}


def live(project: Project, namespace: str) -> list[Path]:
    table = open_catalog(project).load_table((namespace, "orders"))
    return sorted(Path(local_path(task.file.file_path)) for task in table.scan().plan_files())


def flip(path: Path, at: int = 40) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


def rewrite_ledger(project: Project, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    table = open_catalog(project).load_table(LEDGER)
    rows = sorted(table.scan().to_arrow().to_pylist(), key=lambda row: row["committed_at"])
    table.overwrite(pa.Table.from_pylist(change(rows), schema=table.schema().as_arrow()), AlwaysTrue())


def test_a_sound_lake_holds(project: Project) -> None:
    audit = audited(project)
    assert audit.holds
    assert (audit.commits, audit.batches, audit.recounted) == (2, 2, 2)
    assert (audit.records_in, audit.accepted, audit.rejected, audit.duplicate) == (101, 90, 1, 10)
    # A file for each of 9 days in each commit, and two of quarantined records.
    assert audit.files == 20


def test_commits_are_chained_in_ledger_and_snapshots(project: Project) -> None:
    catalog = open_catalog(project)
    first, second = ledger.rows(catalog)
    assert first["previous_hash"] is None
    assert second["previous_hash"] == first["entry_hash"]
    head = catalog.load_table(("raw", "orders")).current_snapshot()
    assert head is not None
    assert head.summary is not None
    assert head.summary["dpipe.hash"] == second["entry_hash"]
    assert ledger.last_hash(catalog, "orders") == second["entry_hash"]


@pytest.mark.parametrize("namespace", ["raw", "quarantine"])
def test_a_data_file_of_other_bytes_is_found(project: Project, namespace: str) -> None:
    flip(live(project, namespace)[0])
    audit = audited(project)
    assert audit.findings[0].check == "files"
    assert audit.findings[0].subject == str(live(project, namespace)[0])


@pytest.mark.parametrize("namespace", ["raw", "quarantine"])
def test_a_data_file_that_is_gone_is_found(project: Project, namespace: str) -> None:
    live(project, namespace)[0].unlink()
    assert checks(project) == {"files", "records"}


def test_landed_bytes_that_changed_are_found(project: Project) -> None:
    (manifest, _) = landing.manifests(project, "orders")
    flip(payload_path(project, manifest), at=-1)
    (finding,) = audited(project).findings
    assert (finding.check, finding.subject) == ("landing", manifest.batch_id)


def test_a_landed_batch_that_is_gone_is_found(project: Project) -> None:
    (manifest, _) = landing.manifests(project, "orders")
    payload_path(project, manifest).unlink()
    (finding,) = audited(project).findings
    assert (finding.check, finding.subject) == ("landing", manifest.batch_id)


def test_a_damaged_batch_is_in_the_way_of_no_other(project: Project) -> None:
    first, second = landing.manifests(project, "orders")
    payload_path(project, first).unlink()
    assert story(project, second.batch_id).events[0].what == "landed"
    assert story(project, first.batch_id).batch.state == "committed"


def test_another_time_in_the_ledger_is_found(project: Project) -> None:
    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**rows[0], "committed_at": rows[0]["committed_at"] - timedelta(days=400)}, rows[1]]

    rewrite_ledger(project, change)
    (finding,) = audited(project).findings
    assert (finding.check, finding.message) == ("chain", "the ledger has it at another time")


def test_rows_that_no_batch_brought_are_found(project: Project) -> None:
    table = open_catalog(project).load_table(("raw", "orders"))
    table.append(table.scan(limit=1).to_arrow())
    assert checks(project) == {"files", "records"}


def test_rows_that_were_deleted_are_found(project: Project) -> None:
    open_catalog(project).load_table(("raw", "orders")).delete("order_id = 7")
    assert checks(project) == {"files", "records"}


def test_a_record_that_is_there_instead_of_another_is_found(project: Project) -> None:
    """Counts and sums are right; only the record's number gives it away."""
    table = open_catalog(project).load_table(("raw", "orders"))
    rows = table.scan().to_arrow()
    numbers = rows["_dpipe_record_no"].to_pylist()
    numbers[numbers.index(9)] = 10
    table.overwrite(
        rows.set_column(
            rows.schema.get_field_index("_dpipe_record_no"),
            rows.schema.field("_dpipe_record_no"),
            pa.array(numbers),
        )
    )
    found = [finding for finding in audited(project).findings if finding.check == "records"]
    assert [finding.message.partition(",")[0] for finding in found] == [
        "its 61 rows have 60 record numbers from 1 to 61"
    ]


def test_a_count_that_was_changed_in_the_ledger_is_found(project: Project) -> None:
    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**rows[0], "accepted": 61, "rejected": 0}, rows[1]]

    rewrite_ledger(project, change)
    assert checks(project) == {"chain", "landing", "records"}


def test_a_sum_that_does_not_come_out_is_found(project: Project) -> None:
    rewrite_ledger(project, lambda rows: [rows[0], {**rows[1], "duplicate": 11}])
    assert "balance" in checks(project)


def test_a_commit_that_was_taken_out_of_the_ledger_is_found(project: Project) -> None:
    rewrite_ledger(project, lambda rows: rows[1:])
    said = {finding.message for finding in audited(project).findings if finding.check == "chain"}
    assert any("goes on from" in message for message in said)
    assert any("doesn't have it" in message for message in said)


def test_a_commit_that_broke_off_is_found_and_mended_by_the_next_run(tmp_path: Path) -> None:
    project = make_project(tmp_path / "a project")
    (project.root / "a.csv").write_text(FIRST)
    landing.land_file(project, "orders", project.root / "a.csv")
    killed = run_dpipe(project, "process", environment={"DPIPE_FAILPOINT": "after-raw-commit"})
    assert killed.returncode < 0
    assert "process` completes" in audited(project).findings[0].message
    assert run_dpipe(project, "process").returncode == 0
    assert audited(project).holds


def test_each_batch_is_counted_by_the_contract_that_it_met(project: Project) -> None:
    contract = project.contracts / "orders.odcs.yaml"
    contract.write_text(ORDERS.replace("minimum: 0", "minimum: 5"))
    ingest(project, "c.csv", HEADER + "900,2013-01-01,6\n")
    audit = audited(project)
    assert audit.holds
    assert audit.recounted == 3


def test_a_kept_contract_that_changed_is_found_and_one_that_is_gone_counts_nothing(project: Project) -> None:
    (path,) = project.kept_contracts.glob("orders/*.json")
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"minimum":0', b'"minimum":1'))
    (finding,) = audited(project).findings
    assert str(path) in finding.message
    path.write_bytes(content[:-5])
    assert len(audited(project).findings) == 1
    path.unlink()
    audit = audited(project)
    assert audit.holds
    assert audit.recounted == 0


def test_a_ledger_of_before_the_chain_is_continued(project: Project) -> None:
    """Its table lacks the columns; what it has stays, and is named."""
    catalog = open_catalog(project)
    with catalog.load_table(LEDGER).update_schema() as update:
        update.delete_column("previous_hash").delete_column("entry_hash")
    ingest(project, "c.csv", HEADER + "900,2013-01-01,1\n")
    audit = audited(project)
    assert audit.batches == 3
    assert {finding.check for finding in audit.findings} == {"chain"}
    assert sum("older dpipe" in finding.message for finding in audit.findings) == 2


@pytest.mark.parametrize("name", [field.name for field in fields(BatchEntry)])
def test_a_commits_hash_covers_everything_of_its_batches(name: str) -> None:
    batch = batch_entry("file-a", 3)
    others: dict[str, Any] = {
        "received_at": "2026-01-01T00:00:01+00:00",
        "superseded": {"file-b": 1},
        "violations": [{"column": "a", "rule": "type", "records": 1}],
    }
    value = getattr(batch, name)
    other = others.get(name, value + 1 if isinstance(value, int) else f"{value}x")
    assert hashed([batch]) != hashed([replace(batch, **{name: other})])


def hashed(batches: list[BatchEntry], previous: str | None = None) -> str:
    file = WrittenFile("file:///lake/a.parquet", 1, 2, "f" * 64)
    return chain.entry_hash("orders", previous, batches, Files([file]))


def test_a_commits_hash_covers_its_files_and_the_hash_before() -> None:
    batches = [batch_entry("file-a", 3), batch_entry("file-b", 1)]
    assert hashed(batches) == hashed(batches[::-1])
    assert hashed(batches) != hashed(batches, "0" * 64)
    assert hashed(batches) != chain.entry_hash("orders", None, batches, Files())


def test_the_command_names_the_first_thing_and_ends_with_1(project: Project) -> None:
    sound = run_dpipe(project, "audit", "verify", "--json")
    assert sound.returncode == 0
    assert json.loads(sound.stdout)["holds"] is True
    path = live(project, "raw")[0]
    flip(path)
    broken = run_dpipe(project, "audit", "verify", "orders", "--json")
    assert broken.returncode == 1
    (told,) = json.loads(broken.stdout)["datasets"]
    assert told["holds"] is False
    assert told["findings"][0]["subject"] == str(path)
    said = run_dpipe(project, "audit", "verify")
    assert said.returncode == 1
    assert str(path) in said.stderr
    assert "another SHA-256" in said.stdout


def test_a_dataset_that_the_lake_does_not_know_is_a_usage_error(project: Project) -> None:
    with pytest.raises(UsageError, match="nothing of a dataset `nothing`"):
        verify(project, ["nothing"])


def test_a_batchs_story_has_its_origin_and_its_commit(project: Project) -> None:
    (first, _) = landing.manifests(project, "orders")
    told = story(project, first.batch_id[:12])
    assert [event.what for event in told.events] == ["landed", "processed", "committed"]
    assert first.sha256 in told.events[0].detail
    assert "61 records in = 60 accepted + 1 rejected + 0 duplicate" in told.events[1].detail
    assert str(told.batch.snapshot_id) in told.events[2].detail


def test_a_records_story_is_its_row_or_why_there_is_none(project: Project) -> None:
    first, second = (manifest.batch_id for manifest in landing.manifests(project, "orders"))
    accepted = story(project, first, 3).record
    assert accepted is not None
    assert (accepted.disposition, accepted.judgements) == ("accepted", ())
    assert accepted.row is not None
    assert accepted.row["order_id"] == 2
    rejected = story(project, first, 61).record
    assert rejected is not None
    assert (rejected.disposition, rejected.row) == ("rejected", None)
    assert [row["raw"] for row in rejected.judgements] == [b"x,2013-01-01,1"]
    duplicate = story(project, second, 1).record
    assert duplicate is not None
    assert duplicate.disposition == "duplicate"
    assert [row["winner_record_no"] for row in duplicate.judgements] == [51]
    with pytest.raises(UsageError, match="has no record 62"):
        story(project, first, 62)


def test_the_story_of_a_batch_that_only_landed_is_short(project: Project) -> None:
    path = project.root / "c.csv"
    path.write_text(HEADER + "900,2013-01-01,1\n")
    batch_id = landing.land_file(project, "orders", path).manifest.batch_id
    assert [event.what for event in story(project, batch_id).events] == ["landed"]
    with pytest.raises(UsageError, match="not committed"):
        story(project, batch_id, 1)


def test_the_story_is_told_by_the_command(project: Project) -> None:
    (first, _) = landing.manifests(project, "orders")
    said = run_dpipe(project, "audit", "show", first.batch_id, "--record", "61")
    assert said.returncode == 0
    assert "rejected" in said.stdout
    told = json.loads(run_dpipe(project, "audit", "show", first.batch_id, "--json").stdout)
    assert [event["what"] for event in told["events"]] == ["landed", "processed", "committed"]


def test_the_lakes_tables_are_all_that_an_audit_needs(project: Project) -> None:
    """Without the state database nothing of the proof is lost."""
    for path in project.data_dir.glob("state*"):
        path.unlink()
    assert audited(project).holds
    (first, _) = landing.manifests(project, "orders")
    assert [event.what for event in story(project, first.batch_id).events] == [
        "landed",
        "processed",
        "committed",
    ]
