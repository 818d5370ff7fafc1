"""`overwrite_partition`: a batch replaces the partitions that it has records of, and what it replaced is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dpipe.contract import contract_for
from dpipe.errors import ConfigError
from dpipe.failpoints import ENVIRONMENT_VARIABLE, NAMES
from dpipe.iceberg import ledger, metadata_locations, open_catalog
from dpipe.stages.refusals import release
from dpipe.stages.replay import Selection, replay
from dpipe.stages.transform import _overwritten
from dpipe.state import runs
from dpipe.warehouse import batches as warehouse
from support import (
    ORDERS,
    assert_holds,
    ingest,
    lake_content,
    land,
    make_project,
    processed,
    rows_of,
    run_dpipe,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project

OVERWRITE = ORDERS.replace(
    "    properties:\n",
    "    customProperties: [{property: dpipe.writeMode, value: overwrite_partition}]\n    properties:\n",
)
HEADER = "order_id,day,amount\n"
FIRST = HEADER + "1,2013-01-01,1\n2,2013-01-01,2\n3,2013-01-02,3\n4,2013-01-03,-4\n"
SECOND = HEADER + "1,2013-01-01,10\n9,2013-01-01,90\n9,2013-01-01,90\n5,2013-01-04,5\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return made(tmp_path / "a project")


def made(folder: Path, text: str = OVERWRITE) -> Project:
    return make_project(folder, {"orders": text}, {"max_rejected_share": 1.0})


def rows(project: Project) -> dict[int, float]:
    return {row["order_id"]: row["amount"] for row in rows_of(project, "raw", "orders")}


def test_a_batch_replaces_the_partitions_that_it_has_records_of(project: Project) -> None:
    ingest(project, FIRST)
    result = ingest(project, SECOND)
    assert (result.accepted, result.duplicate, result.superseded) == (3, 1, 2)
    assert rows(project) == {1: 10, 9: 90, 3: 3, 5: 5}
    assert [row["superseded"] for row in ledger.rows(open_catalog(project))][1] == {
        ledger.rows(open_catalog(project))[0]["batch_id"]: 2
    }
    assert_holds(project)


def test_batches_of_one_run_replace_each_other_in_their_order(project: Project) -> None:
    for content in (FIRST, SECOND, HEADER + "7,2013-01-01,7\n"):
        land(project, content)
    processed(project)
    assert rows(project) == {7: 7, 3: 3, 5: 5}
    assert processed(project).batches == 0
    assert_holds(project)


def test_without_a_key_it_works_alike(tmp_path: Path) -> None:
    text = (
        OVERWRITE.replace(" primaryKey: true,", "")
        .replace("primaryKeyPosition: 1,", "")
        .replace("primaryKeyPosition: 2,\n", "\n")
    )
    project = made(tmp_path, text)
    ingest(project, FIRST)
    ingest(project, HEADER + "8,2013-01-01,8\n8,2013-01-01,8\n")
    assert [row["order_id"] for row in rows_of(project, "raw", "orders")].count(8) == 2
    assert rows(project) == {8: 8, 3: 3}
    assert_holds(project)


def test_a_batch_without_an_accepted_record_replaces_nothing(project: Project) -> None:
    ingest(project, FIRST)
    ingest(project, HEADER + "x,2013-01-01,1\n")
    assert rows(project) == {1: 1, 2: 2, 3: 3}
    assert_holds(project)


def test_a_batch_that_was_received_earlier_is_refused_until_it_is_released(project: Project) -> None:
    early = land(project, FIRST)
    waiting = project.landing / "orders" / early
    aside = project.root / "aside"
    waiting.rename(aside)
    late = ingest(project, SECOND)
    aside.rename(waiting)
    result = processed(project)
    (refusal,) = result.refused
    assert refusal.batch_id == early
    assert "was received later" in refusal.reasons[0]
    assert rows(project) == {1: 10, 9: 90, 5: 5}
    assert late.batches == 1
    with runs.recorded(project, "release") as run:
        release(project, early, reason="it is right", run=run)
    assert rows(project) == {1: 1, 2: 2, 3: 3, 5: 5}
    assert_holds(project)


def test_a_replay_adds_to_what_its_origin_delivered(project: Project) -> None:
    ingest(project, FIRST + "6,2013-01-02,-6\n")
    contract = project.contracts / "orders.odcs.yaml"
    contract.write_text(contract.read_text().replace("minimum: 0", "minimum: -10"))
    with runs.recorded(project, "replay") as run:
        result = replay(project, "orders", Selection(), run=run)
    assert result.replayed == 2
    assert rows(project) == {1: 1, 2: 2, 3: 3, 4: -4, 6: -6}
    assert_holds(project)


def test_a_replay_into_a_partition_that_was_delivered_anew_is_refused(project: Project) -> None:
    ingest(project, FIRST)
    ingest(project, HEADER + "40,2013-01-03,40\n")
    contract = project.contracts / "orders.odcs.yaml"
    contract.write_text(contract.read_text().replace("minimum: 0", "minimum: -10"))
    with runs.recorded(project, "replay") as run:
        result = replay(project, "orders", Selection(), run=run)
    assert result.process is not None
    (refusal,) = result.process.refused
    assert "was received later" in refusal.reasons[0]
    assert rows(project) == {1: 1, 2: 2, 3: 3, 40: 40}
    assert_holds(project)


@pytest.mark.parametrize(
    "point",
    [
        name if name == "after-raw-commit" else pytest.param(name, marks=pytest.mark.long)
        for name in NAMES
        if name != "after-landing-copy"
    ],
)
def test_a_run_after_a_kill_gives_the_same_tables(tmp_path: Path, point: str) -> None:
    disturbed, calm = made(tmp_path / "disturbed"), made(tmp_path / "calm")
    for project in (disturbed, calm):
        for content in (FIRST, SECOND):
            land(project, content)
    run_dpipe(disturbed, "process", environment={ENVIRONMENT_VARIABLE: point})
    for project in (disturbed, calm):
        processed(project)
        assert_holds(project)
    assert lake_content(disturbed) == lake_content(calm)


def test_a_contract_without_partitions_is_refused(tmp_path: Path) -> None:
    text = OVERWRITE.replace("partitioned: true, partitionKeyPosition: 1, ", "")
    with pytest.raises(ConfigError, match="no partitions to overwrite"):
        contract_for(made(tmp_path, text), "orders")


def test_the_marts_are_built_anew_when_rows_left(project: Project) -> None:
    ingest(project, FIRST)
    before = warehouse.ledger(metadata_locations(project))
    ingest(project, HEADER + "50,2013-02-01,5\n")
    aside = warehouse.ledger(metadata_locations(project))
    assert _overwritten(project, aside - before) is None
    ingest(project, SECOND)
    assert _overwritten(project, warehouse.ledger(metadata_locations(project)) - aside) == "orders"
