"""Time travel: what reading commands tell of a moment is what they told at that moment."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from dpipe.errors import UsageError
from dpipe.iceberg import history, ledger, open_catalog, quarantine
from dpipe.iceberg.compaction import Target
from dpipe.stages.batches import batches
from dpipe.stages.evolve import evolve
from dpipe.stages.maintain import maintain
from dpipe.stages.replay import Selection, dismiss, replay
from dpipe.state import runs
from support import UPSERT, ingest, make_project, run_dpipe

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project

    Past = tuple[Project, list[tuple[datetime, dict[str, Any]]]]

HEADER = "order_id,day,amount\n"


def told(project: Project, as_of: datetime | None = None) -> dict[str, Any]:
    """Everything that is read of the lake, now or of a moment."""
    catalog = history.at(open_catalog(project), as_of)
    raw = catalog.load_table(("raw", "orders"))
    return {
        "rows": sorted(raw.scan().to_arrow().to_pylist(), key=repr),
        "reasons": sorted(quarantine.reasons(catalog, "orders"), key=repr),
        "records": quarantine.records(catalog, "orders", limit=1000),
        "open": sorted(row["_dpipe_record_no"] for row in quarantine.open_records(catalog, "orders")),
        "batches": batches(project, as_of=as_of),
    }


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """A project with a history, and what was told at moments of it."""
    folder = tmp_path_factory.mktemp("past") / "a project"
    project = make_project(folder, {"orders": UPSERT}, {"max_rejected_share": 1.0})
    moments: list[tuple[datetime, dict[str, Any]]] = []

    def look() -> None:
        time.sleep(0.05)
        moments.append((datetime.now(UTC), told(project)))
        time.sleep(0.05)

    ingest(project, f"{HEADER}1,2013-01-01,1\n2,2013-01-01,-2\n3,2013-01-01,-30\nx,2013-01-01,1\n")
    look()
    ingest(project, f"{HEADER}1,2013-01-01,5\n4,2013-01-02,1\n4,2013-01-02,1\n")
    look()
    contract = project.contracts / "orders.odcs.yaml"
    contract.write_text(
        contract.read_text().replace("minimum: 0", "minimum: -10")
        + "      - {name: note, logicalType: string}\n"
    )
    with runs.recorded(project, "contract apply") as run:
        evolve(project, "orders", run=run)
    with runs.recorded(project, "replay") as run:
        replay(project, "orders", Selection(rule="minimum"), run=run)
    look()
    with runs.recorded(project, "dismiss") as run:
        dismiss(project, "orders", Selection(rule="type"), reason="never mind", run=run)
    look()
    with runs.recorded(project, "maintain") as run:
        maintain(project, target=Target(64 << 20, 2), keep=timedelta(days=1), run=run)
    ingest(project, "order_id,day,amount,note\n1,2013-01-01,7,late\n")
    look()
    return project, moments


def test_each_moment_is_told_as_it_was(past: Past) -> None:
    project, moments = past
    assert len({str(then) for _, then in moments}) == len(moments)
    for moment, then in moments:
        assert told(project, moment) == then


def test_before_everything_there_is_nothing(
    past: Past,
) -> None:
    project, moments = past
    nothing = told(project, moments[0][0] - timedelta(hours=1))
    assert not any(nothing.values())


def test_the_commands_take_a_time(past: Past) -> None:
    project, moments = past
    moment, then = moments[1]
    as_of = ["--as-of", moment.isoformat()]
    listed = json.loads(run_dpipe(project, "batches", "list", "--json", *as_of).stdout)
    assert [one["batch_id"] for one in listed] == [one.batch_id for one in then["batches"]]
    reasons = json.loads(run_dpipe(project, "quarantine", "list", "--json", *as_of).stdout)
    assert sorted(reasons, key=repr) == then["reasons"]
    shown = json.loads(run_dpipe(project, "quarantine", "show", "orders", "--json", *as_of).stdout)
    assert len(shown) == len(then["records"])
    exported = run_dpipe(project, "quarantine", "export", "orders", *as_of).stdout.splitlines()
    assert len(exported) == len(then["open"])
    assert run_dpipe(project, "batches", "list", "--as-of", "yesterday").returncode == 2


def test_quarantine_is_listed_by_batch_rule_and_time(
    past: Past,
) -> None:
    project, moments = past
    catalog = open_catalog(project)
    first, second = (row["batch_id"] for row in ledger.rows(catalog, "orders")[:2])
    assert {one["disposition"] for one in quarantine.reasons(catalog, "orders", batch=second)} == {
        "duplicate"
    }
    assert sum(one["records"] for one in quarantine.reasons(catalog, "orders", batch=first)) == 3
    (minimum,) = quarantine.reasons(catalog, "orders", rule="minimum")
    assert (minimum["records"], minimum["open"]) == (2, 1)
    since = quarantine.reasons(catalog, "orders", since=moments[0][0])
    assert {(one["disposition"], one["records"]) for one in since} >= {("duplicate", 1)}
    assert quarantine.reasons(catalog, "orders", since=datetime.now(UTC)) == []
    told = run_dpipe(
        project,
        "quarantine",
        "list",
        "--json",
        "--rule",
        "minimum",
        "--batch",
        first,
        "--since",
        "2013-01-01",
    )
    assert [one["records"] for one in json.loads(told.stdout)] == [2]


def test_history_that_was_given_up_is_said_so(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"orders": UPSERT})
    ingest(project, f"{HEADER}1,2013-01-01,1\n")
    moment = datetime.now(UTC)
    ingest(project, f"{HEADER}2,2013-01-01,1\n")
    with runs.recorded(project, "maintain") as run:
        maintain(project, target=Target(1, 100), keep=timedelta(0), run=run)
    with pytest.raises(UsageError, match=r"the history of `raw\.orders` begins at"):
        told(project, moment)
    answer = run_dpipe(project, "batches", "list", "--as-of", moment.isoformat())
    assert (answer.returncode, "`dpipe maintain --keep`" in answer.stderr) == (2, True)
