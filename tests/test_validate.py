"""Validation: what is checked where, what comes of it, and what it keeps from being published."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from dpipe.contract import contract_for
from dpipe.errors import UsageError
from dpipe.iceberg import open_catalog, tables
from dpipe.iceberg.commit import commit
from dpipe.stages.validate import validate
from dpipe.state import quality, runs
from dpipe.warehouse import batches, candidate
from dpipe.warehouse.batches import Batch
from dpipe.warehouse.duckdb_target import DuckDbTarget
from support import ORDERS, attempt_of, batch_entry, make_project, run_dpipe, write_parquet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dpipe.quality import Layer, ValidationReport
    from dpipe.settings import Project

SUITE = """\
relation: marts.orders
ids: [order_id]
expectations:
  - type: expect_column_values_to_be_between
    column: amount
    min_value: 0
    description: nobody pays us to buy
  - type: unexpected_rows
    name: row_count_equals_raw
    description: no order is lost
    sql: |
      select marts.n, raw.n
      from (select count(*) as n from marts.orders) as marts, (select count(*) as n from lake.raw.orders) as raw
      where marts.n <> raw.n
"""
STAGING_SUITE = """\
relation: staging.stg_orders
ids: [order_id]
expectations:
  - type: expect_column_values_to_be_unique
    column: order_id
    description: one row an order
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


def commit_orders(project: Project, amounts: Sequence[float | None]) -> None:
    """Put orders into the lake past the kernel, which would have rejected the bad ones."""
    catalog = open_catalog(project)
    contract = contract_for(project, "orders")
    tables.ledger_table(catalog)
    tables.quarantine_table(catalog, "orders")
    tables.raw_table(catalog, contract.plan)
    day = date(2026, 1, 1)
    rows = [
        {
            "order_id": number,
            "day": day,
            "amount": amount,
            "_dpipe_batch_id": "file-1",
            "_dpipe_record_no": number,
            "_dpipe_contract": contract.hash,
        }
        for number, amount in enumerate(amounts, 1)
    ]
    file = write_parquet(catalog, ("raw", "orders"), rows, {"day": (day - date(1970, 1, 1)).days})
    commit(catalog, attempt_of(project, [batch_entry("file-1", len(rows))], [file]))


def build_warehouse(path: Path, amounts: Sequence[float]) -> str:
    """A candidate or published file with one mart, and a staging view over the lake."""
    path.parent.mkdir(parents=True, exist_ok=True)
    batches.begin(path, [Batch("orders", "file-1", 1)])
    with duckdb.connect(str(path)) as connection:
        connection.execute("attach ':memory:' as lake")
        connection.execute("create schema lake.raw")
        connection.execute("create table lake.raw.orders (order_id bigint)")
        connection.execute("create schema staging")
        connection.execute("create view staging.stg_orders as select order_id from lake.raw.orders")
        connection.execute("create schema marts")
        connection.execute("create table marts.orders (order_id bigint, amount double)")
        connection.executemany("insert into marts.orders values (?, ?)", list(enumerate(amounts, 1)))
    return batches.finish(path, "hash", "run")


def write_suites(project: Project, **texts: str) -> None:
    for layer, text in texts.items():
        relation = text.split("\n", 1)[0].rpartition(".")[2]
        (project.checks / layer).mkdir(parents=True, exist_ok=True)
        (project.checks / layer / f"{relation}.yaml").write_text(text, encoding="utf-8")


def run_validate(project: Project, layers: Sequence[Layer] | None = None) -> ValidationReport:
    with runs.recorded(project, "validate") as run:
        return validate(project, layers, run=run)


def statuses(report: ValidationReport) -> dict[str, str]:
    return {result.name: result.status for result in report.results if result.status != "passed"}


def test_without_a_lake_and_marts_there_is_nothing_to_validate(project: Project) -> None:
    with pytest.raises(UsageError, match="layer `raw` can't be validated"):
        run_validate(project)


def test_a_clean_raw_table_passes(project: Project) -> None:
    commit_orders(project, [1.0, None, 2.5])
    report = run_validate(project, ["raw"])
    assert report.ok
    assert statuses(report) == {}
    assert report.passed > 10


def test_a_row_that_breaks_the_contract_is_named_by_where_it_came_from(project: Project) -> None:
    commit_orders(project, [1.0, -2.0, 3.0])
    report = run_validate(project, ["raw"])
    (broken,) = [result for result in report.results if result.status != "passed"]
    assert broken.name == "raw.orders `amount` minimum"
    assert broken.failing == ({"_dpipe_batch_id": "file-1", "_dpipe_record_no": 2, "amount": -2.0},)
    assert (report.failed, report.ok) == (1, False)


def test_two_rows_with_one_value_of_a_unique_column_are_told_of_and_nulls_are_no_values(
    tmp_path: Path,
) -> None:
    project = make_project(
        tmp_path, {"orders": ORDERS.replace("Type: double,", "Type: double, unique: true,")}
    )
    commit_orders(project, [0.0, None, 3.0, None, -0.0])
    report = run_validate(project, ["raw"])
    (broken,) = [result for result in report.results if result.status != "passed"]
    assert broken.name == "raw.orders `amount` unique"
    assert [row["_dpipe_record_no"] for row in broken.failing] == [1, 5]


def test_a_dataset_without_a_table_is_reported_as_skipped(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    text = (project.contracts / "orders.odcs.yaml").read_text(encoding="utf-8")
    (project.contracts / "refunds.odcs.yaml").write_text(text.replace("orders", "refunds"), encoding="utf-8")
    commit_orders(project, [1.0])
    assert run_validate(project, ["raw"]).skipped == ("raw.refunds: no batch was processed yet",)


def test_results_are_kept_with_their_run(project: Project) -> None:
    commit_orders(project, [-1.0])
    report = run_validate(project, ["raw"])
    history = quality.history(project, layer="raw", relation="raw.orders")
    assert len(history) == len(report.results)
    (broken,) = [row for row in history if not row["success"]]
    assert (broken["rule"], broken["column_name"], broken["unexpected_count"]) == ("minimum", "amount", 1)
    (stage,) = runs.stages(project, broken["run_id"])
    assert (stage["stage"], stage["detail"]["failed"]) == ("validate", 1)


def test_a_good_candidate_is_marked_as_validated(project: Project) -> None:
    commit_orders(project, [1.0, 2.0])
    build_warehouse(project.candidate, [1.0, 2.0])
    write_suites(project, marts=SUITE, staging=STAGING_SUITE)
    report = run_validate(project)
    assert (report.layers, report.ok) == (("raw", "staging", "marts"), True)
    assert candidate.status(DuckDbTarget(project)).validated is True


@pytest.mark.parametrize("amounts", [[1.0, -2.0], [1.0]], ids=["a broken rule", "a lost row"])
def test_a_bad_candidate_is_marked_as_not_validated(project: Project, amounts: list[float]) -> None:
    commit_orders(project, [1.0, 2.0])
    build_warehouse(project.candidate, amounts)
    write_suites(project, marts=SUITE)
    assert run_validate(project, ["marts"]).failed == 1
    assert candidate.status(DuckDbTarget(project)).validated is False


def test_a_check_that_cannot_run_leaves_the_candidate_unfit(project: Project) -> None:
    commit_orders(project, [1.0])
    build_warehouse(project.candidate, [1.0])
    write_suites(project, marts=SUITE.replace("column: amount", "column: price"))
    report = run_validate(project, ["marts"])
    problem = report.problem()
    assert problem is not None
    assert problem.exit_code == 2
    assert candidate.status(DuckDbTarget(project)).validated is False


def test_a_warning_does_not_stand_in_the_way(project: Project) -> None:
    commit_orders(project, [1.0])
    build_warehouse(project.candidate, [-1.0])
    write_suites(project, marts=SUITE.replace("min_value: 0", "min_value: 0\n    severity: warning"))
    report = run_validate(project, ["marts"])
    assert (report.warnings, report.ok) == (1, True)
    assert candidate.status(DuckDbTarget(project)).validated is True


def test_raw_alone_says_nothing_about_the_candidate(project: Project) -> None:
    commit_orders(project, [1.0])
    build_warehouse(project.candidate, [1.0])
    run_validate(project, ["raw"])
    assert candidate.status(DuckDbTarget(project)).validated is None


def test_without_a_candidate_the_published_marts_are_validated(project: Project) -> None:
    commit_orders(project, [1.0])
    build_warehouse(project.marts, [1.0])
    write_suites(project, marts=SUITE)
    report = run_validate(project)
    assert report.layers == ("raw", "marts")
    assert report.database == str(project.marts)
    assert [reason.partition(":")[0] for reason in report.skipped] == ["staging"]
    with pytest.raises(UsageError, match="layer `staging` can't be validated"):
        run_validate(project, ["staging"])


def test_a_layer_without_suites_is_reported_as_skipped(project: Project) -> None:
    commit_orders(project, [1.0])
    build_warehouse(project.candidate, [1.0])
    write_suites(project, marts=SUITE)
    assert run_validate(project).skipped == (f"staging: no suites in `{project.checks / 'staging'}`",)


def test_checks_beyond_the_contract_join_those_of_their_table(project: Project) -> None:
    commit_orders(project, [1.0, 500.0])
    write_suites(
        project,
        raw="relation: raw.orders\nids: [order_id]\nexpectations:\n  - type: expect_column_max_to_be_between\n"
        "    column: amount\n    max_value: 100\n    description: a small shop\n",
    )
    report = run_validate(project, ["raw"])
    assert statuses(report) == {"raw.orders `amount` expect_column_max_to_be_between": "failed"}


def test_the_command_ends_with_1_and_one_json_document_when_a_rule_is_broken(project: Project) -> None:
    commit_orders(project, [1.0, -2.0])
    done = run_dpipe(project, "validate", "--layer", "raw", "--json")
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    assert report["failed"] == 1
    assert report["seconds"] >= report["import_seconds"] > 0
    assert done.stderr.splitlines()[0] == "error: check raw.orders `amount` minimum failed: 1 of 2 rows"
    assert "hint: `dpipe validate --json` lists the failing rows" in done.stderr
    (run,) = runs.latest(project)
    assert (run["status"], run["exit_code"]) == ("failed", 1)


def test_the_command_says_what_failed_and_shows_the_rows(project: Project) -> None:
    commit_orders(project, [1.0, -2.0])
    done = run_dpipe(project, "validate")
    assert done.returncode == 1
    assert "  failed: raw.orders `amount` minimum (minimum 0): 1 of 2 rows" in done.stdout
    assert "    _dpipe_batch_id=file-1, _dpipe_record_no=2, amount=-2.0" in done.stdout
    assert "skipped  staging: nothing is transformed yet" in done.stdout


def test_the_command_refuses_a_layer_that_is_not_there_without_loading_anything(project: Project) -> None:
    done = run_dpipe(project, "validate", "--layer", "marts")
    assert done.returncode == 2
    assert done.stderr == (
        "error: layer `marts` can't be validated\nhint: nothing is transformed yet; `dpipe transform` does that\n"
    )
