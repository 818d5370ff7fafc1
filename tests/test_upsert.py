"""Upsert: the latest record with a key is the row, what it superseded is counted, and other files stay as they are."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from dpipe.contract import contract_for
from dpipe.errors import ConfigError
from dpipe.failpoints import ENVIRONMENT_VARIABLE, NAMES
from dpipe.iceberg import ledger, open_catalog
from dpipe.iceberg.storage import local_path
from dpipe.stages import process
from dpipe.stages.audit.story import story
from dpipe.stages.audit.verify import verify
from dpipe.stages.evolve import evolve
from dpipe.stages.refusals import release
from dpipe.stages.replay import Selection, replay
from dpipe.state import runs
from support import ORDERS, UPSERT, ingest, lake_content, land, make_project, processed, rows_of, run_dpipe

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project
    from dpipe.stages.audit.findings import DatasetAudit
    from dpipe.stages.process import ProcessResult

HEADER = "order_id,day,amount\n"
FIRST = HEADER + "1,2013-01-01,1\n2,2013-01-01,2\n3,2013-01-02,3\n4,2013-01-03,4\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "a project", {"orders": UPSERT}, {"max_rejected_share": 1.0})


def counts(result: ProcessResult) -> tuple[int, int, int, int]:
    return result.accepted, result.rejected, result.duplicate, result.superseded


def rows(project: Project) -> dict[int, float]:
    found = rows_of(project, "raw", "orders")
    amounts = {row["order_id"]: row["amount"] for row in found}
    assert len(amounts) == len(found)
    return amounts


def assert_holds(project: Project) -> DatasetAudit:
    (audit,) = verify(project)
    assert audit.findings == []
    return audit


def live(project: Project) -> set[str]:
    return {
        task.file.file_path
        for task in open_catalog(project).load_table(("raw", "orders")).scan().plan_files()
    }


def test_a_correction_takes_the_place_of_the_row(project: Project) -> None:
    ingest(project, FIRST)
    assert counts(ingest(project, HEADER + "2,2013-01-01,20\n5,2013-01-01,5\n")) == (2, 0, 0, 1)
    assert rows(project) == {1: 1.0, 2: 20.0, 3: 3.0, 4: 4.0, 5: 5.0}
    audit = assert_holds(project)
    assert (audit.records_in, audit.accepted, audit.superseded) == (6, 6, 1)


def test_only_files_that_hold_superseded_rows_are_written_anew(project: Project) -> None:
    ingest(project, FIRST)
    before = live(project)
    ingest(project, HEADER + "2,2013-01-01,20\n")
    gone = before - live(project)
    assert len(before) == 3
    assert [path for path in before if "day=15706" in path] == list(gone)  # 2013-01-01
    # Its last row is superseded: the file goes, and no empty one comes.
    ingest(project, HEADER + "3,2013-01-02,30\n")
    assert len(live(project)) == 4
    assert rows(project) == {1: 1.0, 2: 20.0, 3: 30.0, 4: 4.0}
    assert_holds(project)


def test_a_file_that_is_written_anew_is_in_the_order_of_its_key(project: Project) -> None:
    orders = [7, 3, 9, 1, 5, 2]
    ingest(project, HEADER + "".join(f"{order},2013-01-01,{order}\n" for order in orders))
    before = live(project)
    ingest(project, HEADER + "9,2013-01-01,90\n")
    (rewritten,) = [
        path for path in live(project) - before if pq.read_metadata(local_path(path)).num_rows > 1
    ]
    assert pq.read_table(local_path(rewritten))["order_id"].to_pylist() == [1, 2, 3, 5, 7]


def test_a_record_that_says_nothing_new_is_a_duplicate(project: Project) -> None:
    ingest(project, FIRST)
    before = live(project)
    assert counts(ingest(project, HEADER + "2,2013-01-01,2\n")) == (0, 0, 1, 0)
    assert live(project) == before
    (kept,) = rows_of(project, "quarantine", "orders")
    assert (kept["duplicate_kind"], kept["winner_record_no"]) == ("identical", 2)


def test_of_a_batch_the_last_record_with_a_key_is_kept(project: Project) -> None:
    ingest(project, FIRST)
    batch = land(
        project, HEADER + "7,2013-01-01,1\n2,2013-01-01,20\n7,2013-01-01,2\n2,2013-01-01,21\n7,2013-01-01,3\n"
    )
    assert counts(processed(project)) == (2, 0, 3, 1)
    assert rows(project) == {1: 1.0, 2: 21.0, 3: 3.0, 4: 4.0, 7: 3.0}
    kept = sorted(rows_of(project, "quarantine", "orders"), key=lambda row: row["_dpipe_record_no"])
    assert [(row["_dpipe_record_no"], row["winner_batch_id"], row["winner_record_no"]) for row in kept] == [
        (1, batch, 5),
        (2, batch, 4),
        (3, batch, 5),
    ]
    assert_holds(project)


def test_batches_that_wait_together_supersede_one_another_in_their_order(project: Project) -> None:
    for amount in (1, 2, 3):
        land(project, HEADER + f"1,2013-01-01,{amount}\n")
    assert counts(processed(project)) == (3, 0, 0, 2)
    assert rows(project) == {1: 3.0}
    assert [sum(row["superseded"].values()) for row in ledger.rows(open_catalog(project))] == [0, 1, 1]
    assert_holds(project)


def test_batches_that_replace_nothing_of_one_another_are_one_commit(project: Project) -> None:
    ingest(project, FIRST)
    batches = [
        land(project, HEADER + f"{order},2013-01-01,{order}0\n{order + 10},2013-01-01,1\n")
        for order in (1, 2, 9)
    ]
    before = len(open_catalog(project).load_table(("raw", "orders")).snapshots())
    assert counts(processed(project)) == (6, 0, 0, 2)
    assert len(open_catalog(project).load_table(("raw", "orders")).snapshots()) == before + 1
    told = {row["batch_id"]: sum(row["superseded"].values()) for row in ledger.rows(open_catalog(project))}
    assert [told[batch] for batch in batches] == [1, 1, 0]
    assert_holds(project)


@pytest.mark.parametrize("seed", range(2))
def test_batches_that_wait_together_come_to_what_they_come_to_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    luck = random.Random(seed)
    keys = luck.choice((6, 40))
    # One record in eight is bad, so that some batches are refused.
    batches = [
        HEADER
        + "".join(
            f"{luck.randrange(keys)},2013-01-0{luck.randrange(1, 3)},{luck.choice((1, 2, 3, 4, 5, 6, 7, -1))}\n"
            for _ in range(luck.randrange(1, 6))
        )
        for _ in range(12)
    ]
    contents = []
    for most in (1, 256):
        monkeypatch.setattr(process, "MOST_BATCHES_A_COMMIT", most)
        project = make_project(tmp_path / str(most), {"orders": UPSERT}, {"max_rejected_share": 0.4})
        for content in batches:
            land(project, content)
        refused = [(refusal.batch_id, refusal.reasons) for refusal in processed(project).refused]
        assert_holds(project)
        contents.append((lake_content(project), refused))
    assert contents[0] == contents[1]


@pytest.mark.parametrize("contract", [ORDERS, UPSERT])
def test_a_batch_is_not_judged_by_what_another_brings_that_is_refused(tmp_path: Path, contract: str) -> None:
    rule = "{metric: invalidValues, arguments: {validValues: [2]}, unit: percent, mustBeLessThan: 60}"
    contract = contract.replace("Number of the order}", f"Number of the order, quality: [{rule}]}}")
    project = make_project(tmp_path / "a project", {"orders": contract}, {"max_rejected_share": 0.4})
    refused = land(project, HEADER + "2,2013-01-01,1\nx,2013-01-01,1\n")
    # Beside the other's record its own of that order would be a duplicate, and all that is left of it wrong.
    land(project, HEADER + "2,2013-01-01,1\n3,2013-01-01,1\n")
    assert [refusal.batch_id for refusal in processed(project).refused] == [refused]
    assert rows(project) == {2: 1.0, 3: 1.0}


def test_a_superseded_row_can_still_be_looked_at(project: Project) -> None:
    batch = land(project, FIRST)
    processed(project)
    before = open_catalog(project).load_table(("raw", "orders")).current_snapshot()
    assert before is not None
    ingest(project, HEADER + "2,2013-01-01,20\n")
    told = story(project, batch, 2).record
    assert told is not None
    assert told.row is not None
    assert (told.disposition, told.row["amount"]) == ("superseded", 2.0)
    old = open_catalog(project).load_table(("raw", "orders")).scan(snapshot_id=before.snapshot_id)
    assert sorted(old.to_arrow()["amount"].to_pylist()) == [1.0, 2.0, 3.0, 4.0]


def test_a_replayed_record_supersedes_nothing(project: Project) -> None:
    ingest(project, FIRST.replace("1,2013-01-01,1\n", "1,2013-01-01,-1\n"))
    ingest(project, HEADER + "1,2013-01-01,10\n")
    contract = project.contracts / "orders.odcs.yaml"
    contract.write_text(UPSERT.replace("minimum: 0", "minimum: -5"))
    with runs.recorded(project, "replay") as run:
        result = replay(project, "orders", Selection(), run=run).process
    assert result is not None
    assert counts(result) == (0, 0, 1, 0)
    assert rows(project)[1] == 10.0
    assert_holds(project)


def test_a_batch_that_was_refused_and_is_released_later_does_not_supersede_what_came_since(
    tmp_path: Path,
) -> None:
    project = make_project(tmp_path / "a project", {"orders": UPSERT}, {"max_rejected_share": 0.2})
    old = land(project, HEADER + "1,2013-01-01,1\n7,2013-01-01,7\nx,2013-01-01,1\n")
    assert len(processed(project).refused) == 1
    ingest(project, HEADER + "1,2013-01-01,99\n")
    with runs.recorded(project, "release") as run:
        result = release(project, old, reason="why not", run=run)
    assert counts(result) == (1, 1, 1, 0)
    assert rows(project) == {1: 99.0, 7: 7.0}
    ingest(project, HEADER + "7,2013-01-01,70\n")
    assert rows(project) == {1: 99.0, 7: 70.0}
    assert_holds(project)


def test_of_replayed_records_of_one_batch_the_last_is_kept(project: Project) -> None:
    ingest(
        project,
        HEADER
        + "1,2013-01-01,-1\n1,2013-01-01,-2\n2,2013-01-01,5\n2,2013-01-01,-3\n3,2013-01-01,-4\n3,2013-01-01,8\n",
    )
    contract = project.contracts / "orders.odcs.yaml"
    contract.write_text(UPSERT.replace("minimum: 0", "minimum: -5"))
    with runs.recorded(project, "replay") as run:
        result = replay(project, "orders", Selection(), run=run).process
    assert result is not None
    # As if the contract had been right from the start.
    assert rows(project) == {1: -2.0, 2: -3.0, 3: 8.0}
    assert counts(result) == (2, 0, 2, 1)
    assert_holds(project)


def test_a_replayed_row_that_is_superseded_is_accounted_for(project: Project) -> None:
    ingest(project, FIRST.replace("1,2013-01-01,1\n", "1,2013-01-01,-1\n"))
    contract = project.contracts / "orders.odcs.yaml"
    contract.write_text(UPSERT.replace("minimum: 0", "minimum: -5"))
    with runs.recorded(project, "replay") as run:
        replay(project, "orders", Selection(), run=run)
    assert rows(project)[1] == -1.0
    assert counts(ingest(project, HEADER + "1,2013-01-01,10\n")) == (1, 0, 0, 1)
    assert rows(project)[1] == 10.0
    assert_holds(project)
    with runs.recorded(project, "replay") as run:
        assert replay(project, "orders", Selection(), run=run).looked_at == 0


def test_files_of_before_a_change_of_the_contract_are_written_as_the_table_is_now(project: Project) -> None:
    ingest(project, FIRST)
    contract = project.contracts / "orders.odcs.yaml"
    contract.write_text(UPSERT + "      - {name: colour, logicalType: string}\n")
    with runs.recorded(project, "apply") as run:
        evolve(project, "orders", run=run)
    assert counts(ingest(project, "order_id,day,amount,colour\n2,2013-01-01,20,red\n1,2013-01-01,1,\n")) == (
        1,
        0,
        1,
        1,
    )
    found = {row["order_id"]: (row["amount"], row["colour"]) for row in rows_of(project, "raw", "orders")}
    assert found == {1: (1.0, None), 2: (20.0, "red"), 3: (3.0, None), 4: (4.0, None)}
    assert_holds(project)


VERSIONED = (
    UPSERT.replace("value: upsert}]", "value: upsert}, {property: dpipe.versionColumn, value: version}]")
    + "      - {name: version, logicalType: integer, required: true}\n"
)


@pytest.mark.parametrize("seed", range(4))
def test_with_versions_the_newest_wins_in_whatever_order_batches_come(tmp_path: Path, seed: int) -> None:
    project = make_project(tmp_path / "a project", {"orders": VERSIONED})
    luck = random.Random(seed)
    records = [(luck.randrange(12), luck.randrange(1, 3), at) for at in range(60)]
    luck.shuffle(records)
    header = "order_id,day,amount,version\n"
    for start in range(0, 60, 12):
        part = records[start : start + 12]
        ingest(project, header + "".join(f"{key},2013-01-0{day},{at},{at}\n" for key, day, at in part))
    newest: dict[tuple[int, int], int] = {}
    for key, day, at in records:
        newest[key, day] = max(at, newest.get((key, day), -1))
    found = rows_of(project, "raw", "orders")
    assert {(row["order_id"], row["day"].day): row["version"] for row in found} == newest
    assert len(found) == len(newest)
    audit = assert_holds(project)
    assert audit.records_in == 60
    assert audit.accepted - audit.superseded == len(newest)


def test_of_equal_versions_the_later_record_wins_and_an_older_one_is_a_duplicate(tmp_path: Path) -> None:
    project = make_project(tmp_path / "a project", {"orders": VERSIONED})
    header = "order_id,day,amount,version\n"
    first = land(project, header + "1,2013-01-01,1,5\n")
    processed(project)
    assert counts(ingest(project, header + "1,2013-01-01,2,5\n")) == (1, 0, 0, 1)
    assert counts(ingest(project, header + "1,2013-01-01,3,4\n")) == (0, 0, 1, 0)
    assert rows(project) == {1: 2.0}
    (kept,) = rows_of(project, "quarantine", "orders")
    assert kept["duplicate_kind"] == "conflicting"
    assert kept["winner_batch_id"] != first


@pytest.mark.parametrize("point", [name for name in NAMES if name != "after-landing-copy"])
def test_a_run_after_a_kill_gives_the_same_tables(tmp_path: Path, point: str) -> None:
    contents = []
    for name in ("killed", "calm"):
        project = make_project(tmp_path / name, {"orders": UPSERT})
        ingest(project, FIRST)
        land(project, HEADER + "2,2013-01-01,20\n")
        land(project, HEADER + "2,2013-01-01,21\n3,2013-01-02,30\n")
        if name == "killed":
            killed = run_dpipe(project, "process", environment={ENVIRONMENT_VARIABLE: point})
            assert killed.returncode < 0
        processed(project)
        assert_holds(project)
        contents.append(lake_content(project))
    assert contents[0] == contents[1]


def test_many_batches_come_to_what_plain_python_says(project: Project) -> None:
    moments = random.Random(7)
    expected: dict[int, float] = {}
    superseded = 0
    for _ in range(6):
        lines, batch = [], {}
        for _ in range(moments.randrange(1, 60)):
            order, amount = moments.randrange(40), moments.randrange(4)
            lines.append(f"{order},2013-01-0{order % 5 + 1},{amount}\n")
            batch[order] = float(amount)
        superseded += sum(order in expected and expected[order] != amount for order, amount in batch.items())
        expected |= batch
        land(project, HEADER + "".join(lines))
    assert processed(project).superseded == superseded
    assert rows(project) == expected
    assert_holds(project)


def test_an_upsert_needs_a_key(project: Project) -> None:
    (project.contracts / "orders.odcs.yaml").write_text(
        UPSERT.replace(" primaryKey: true,", "")
        .replace("primaryKeyPosition: 1,", "")
        .replace("primaryKeyPosition: 2,\n", "\n")
    )
    with pytest.raises(ConfigError, match="an upsert of records without a key"):
        contract_for(project, "orders")


def test_the_commands_tell_what_was_superseded(project: Project) -> None:
    ingest(project, FIRST)
    batch = land(project, HEADER + "2,2013-01-01,20\n")
    said = json.loads(run_dpipe(project, "process", "--json").stdout)
    assert said["datasets"][0]["superseded"] == 1
    shown: dict[str, Any] = json.loads(run_dpipe(project, "batches", "show", batch, "--json").stdout)
    assert shown["superseded"] == 1
    assert sorted(file["kind"] for file in shown["files"]) == ["accepted", "removed", "rewritten"]
