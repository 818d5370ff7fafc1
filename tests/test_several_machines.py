"""What several machines bring about: commits that are said to have failed, heads that the ledger hasn't yet."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from dpipe.iceberg import history, ledger, open_catalog, recovery, tables
from dpipe.iceberg.attempt import commit_record
from dpipe.iceberg.compaction import Target
from dpipe.iceberg.sql_catalog import LakeCatalog
from dpipe.stages import group
from dpipe.stages.audit.verify import verify
from dpipe.stages.maintain import maintain
from dpipe.stages.refusals import release
from dpipe.state import runs
from pyiceberg.exceptions import CommitFailedException
from support import ORDERS, UPSERT, assert_holds, ingest, lake_content, land, make_project, processed, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project

HEADER = "order_id,day,amount\n"
BAD = f"{HEADER}1,2013-01-01,1\nx,2013-01-01,1\n"
SMALL = Target(64 << 20, 2)
MODE = "    customProperties: [{property: dpipe.writeMode, value: overwrite_partition}]\n    properties:\n"
OVERWRITE = ORDERS.replace("    properties:\n", MODE)


def made(folder: Path, text: str = UPSERT) -> Project:
    return make_project(folder, {"orders": text}, {"max_rejected_share": 1.0})


def maintained(
    project: Project, *, keep: timedelta = timedelta(days=9), young: timedelta = timedelta(days=1)
) -> None:
    with runs.recorded(project, "maintain") as run:
        maintain(project, target=SMALL, keep=keep, run=run, young=young)


@pytest.mark.parametrize("failing", range(1, 9))
def test_a_commit_that_is_called_a_conflict_though_it_happened_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """As when a transport asks again, because an answer was lost, and meets its own commit."""
    disturbed, calm = made(tmp_path / "disturbed"), made(tmp_path / "calm")
    for content in (BAD, f"{HEADER}1,2013-01-01,2\ny,2013-01-01,1\n"):
        for project in (disturbed, calm):
            land(project, content)
    processed(calm)
    maintained(calm)
    real, count = LakeCatalog.commit_table, 0

    def commit_table(*arguments: Any) -> Any:
        nonlocal count
        answer = real(*arguments)
        count += 1
        if count == failing:
            raise CommitFailedException("injected: it is there already")
        return answer

    monkeypatch.setattr(LakeCatalog, "commit_table", commit_table)
    processed(disturbed)
    maintained(disturbed)
    assert count >= failing
    assert lake_content(disturbed) == lake_content(calm)
    assert_holds(disturbed)


def hidden(project: Project, batch_id: str) -> Path:
    """The landed batch, put aside for as long as others are processed."""
    aside = project.root / batch_id
    (project.landing / "orders" / batch_id).rename(aside)
    return aside


@pytest.mark.parametrize("text", [UPSERT, OVERWRITE])
def test_a_late_batch_sees_a_newer_one_that_the_ledger_has_not_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    project = made(tmp_path, text)
    ingest(project, f"{HEADER}9,2013-01-09,9\n")
    early = land(project, f"{HEADER}1,2013-01-01,1\n2,2013-01-01,1\n")
    aside = hidden(project, early)
    land(project, f"{HEADER}1,2013-01-01,2\n")
    with monkeypatch.context() as dying:
        # A machine that dies after its commit to raw.
        dying.setattr(group, "complete", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            processed(project)
    aside.rename(project.landing / "orders" / early)
    # The commit stays as it is until the commit of the next batch completes it.
    monkeypatch.setattr("dpipe.stages.process.recover", lambda *_: [])
    processed(project)
    assert {row["order_id"]: row["amount"] for row in rows_of(project, "raw", "orders")}[1] == 2
    assert_holds(project)


def test_a_release_does_not_hide_what_is_newer_from_those_behind_it(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"orders": OVERWRITE}, {"max_rejected_share": 0.4})
    refused = land(project, f"{HEADER}x,2013-02-01,1\n5,2013-02-01,1\n")
    processed(project)
    late = land(project, f"{HEADER}1,2013-01-01,1\n")
    aside = hidden(project, late)
    ingest(project, f"{HEADER}1,2013-01-01,2\n")
    aside.rename(project.landing / "orders" / late)
    with runs.recorded(project, "release") as run:
        release(project, refused, reason="so be it", run=run)
    processed(project)
    assert {row["order_id"]: row["amount"] for row in rows_of(project, "raw", "orders")} == {5: 1, 1: 2}
    assert_holds(project)


def test_a_writer_that_slept_for_long_does_not_append_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = made(tmp_path)
    asleep: list[tuple[Any, ...]] = []
    with monkeypatch.context() as sleeping:
        sleeping.setattr(group, "complete", lambda *arguments: asleep.append(arguments))
        ingest(project, BAD)
    ingest(project, f"{HEADER}7,2013-01-01,1\nz,2013-01-01,1\n")
    maintained(project, keep=timedelta(0), young=timedelta(0))
    monkeypatch.setattr(recovery, "SURELY_KEPT_SECONDS", 0)
    (arguments,) = asleep
    recovery.complete(*arguments)
    assert len(rows_of(project, "quarantine", "orders")) == 2
    assert_holds(project)


def test_tables_of_others_in_the_catalog_are_left_alone(tmp_path: Path) -> None:
    project = made(tmp_path)
    ingest(project, BAD)
    catalog = open_catalog(project)
    schema = catalog.load_table(("raw", "orders")).schema()
    foreign = catalog.create_table(("raw", "foreign"), schema)
    before = foreign.metadata_location
    maintained(project, keep=timedelta(0), young=timedelta(0))
    assert open_catalog(project).load_table(("raw", "foreign")).metadata_location == before
    with (
        pytest.raises(Exception, match="no table of a dataset `foreign`"),
        runs.recorded(project, "x") as run,
    ):
        maintain(project, ["foreign"], target=SMALL, keep=timedelta(0), run=run)


def test_a_table_whose_folder_has_others_in_it_is_not_cleaned_up(tmp_path: Path) -> None:
    project = made(tmp_path)
    ingest(project, BAD)
    catalog = open_catalog(project)
    inner = f"{catalog.load_table(('raw', 'orders')).location()}/data/inner"
    catalog.create_table(("raw", "inner"), catalog.load_table(("raw", "orders")).schema(), location=inner)
    with pytest.raises(Exception, match="is inside that of"):
        maintained(project, keep=timedelta(0), young=timedelta(0))
    assert_holds_of_orders(project)


def assert_holds_of_orders(project: Project) -> None:
    (audit,) = verify(project, ["orders"])
    assert audit.findings == []


def test_a_tag_does_not_make_history_that_is_gone_an_empty_table(tmp_path: Path) -> None:
    project = made(tmp_path)
    ingest(project, BAD)
    table = open_catalog(project).load_table(("raw", "orders"))
    first = table.current_snapshot()
    assert first is not None
    table.manage_snapshots().create_tag(first.snapshot_id, "audit").commit()
    ingest(project, f"{HEADER}2,2013-01-01,1\n")
    between = datetime.now(UTC)
    time.sleep(0.01)
    ingest(project, f"{HEADER}3,2013-01-01,1\n")
    maintained(project, keep=timedelta(0))
    with pytest.raises(Exception, match="the history of"):
        history.at(open_catalog(project), between).load_table(("raw", "orders"))


def test_a_table_that_changes_while_it_is_compacted_is_planned_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = made(tmp_path)
    for number in range(3):
        ingest(project, f"{HEADER}{number},2013-01-01,1\n")
    real = maintain.__globals__["_attempt"]
    changed: list[bool] = []

    def attempt(*arguments: Any) -> Any:
        if not changed:
            changed.append(True)
            with open_catalog(project).load_table(("raw", "orders")).update_schema() as update:
                update.rename_column("amount", "sum")
        return real(*arguments)

    monkeypatch.setitem(maintain.__globals__, "_attempt", attempt)
    maintained(project)
    table = open_catalog(project).load_table(("raw", "orders"))
    assert len(list(table.scan().plan_files())) == 1
    assert table.scan().to_arrow().column_names[2] == "sum"


def test_a_broken_contract_does_not_stop_maintenance(tmp_path: Path) -> None:
    project = made(tmp_path)
    for number in range(3):
        ingest(project, f"{HEADER}{number},2013-01-01,1\n")
    (project.contracts / "orders.odcs.yaml").write_text("schema: [")
    maintained(project)
    assert len(list(open_catalog(project).load_table(("raw", "orders")).scan().plan_files())) == 1


def test_the_files_of_a_table_elsewhere_are_named_whole(tmp_path: Path) -> None:
    project = made(tmp_path)
    ingest(project, BAD)
    table = tables.load(open_catalog(project), ("raw", "orders"))
    assert table is not None
    head = table.current_snapshot()
    assert head is not None
    record = commit_record(head, "s3://elsewhere")
    assert record is not None
    assert record.files.accepted[0].path.startswith("s3://elsewhere/raw/")
    assert ledger.rows(open_catalog(project))[0]["files"][0]["path"].startswith("file://")
