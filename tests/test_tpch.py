"""Another dataset than flights, TPC-H: `examples/tpch` from its files to its marts, held against DuckDB."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dpipe.contract import Contract, contract_for
from dpipe.contract.diff import diff
from dpipe.library.infer import infer
from dpipe.settings import Project, load_project
from support import rows_of, run_dpipe

EXAMPLE = Path(__file__).parent.parent / "examples/tpch"
TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")
# At 0.001 there are ten suppliers, and the generator gives some parts one of them twice.
SCALE = "0.01"
PRICING_SUMMARY = (EXAMPLE / "query_1.sql").read_text(encoding="utf-8")
# Lines of line items, and the rules that each breaks. The first line of order 1 is in the files.
FIRST = "1,1552,93,1,17,24710.35,0.04,0.02,N,O,1996-03-13,1996-02-12,1996-03-22,DELIVER IN PERSON,TRUCK,x"
BROKEN = {
    FIRST.replace("1996-03-13", "1996-02-30").replace("1,1552", "1,1553"): {"type"},
    FIRST.replace(",17,", ",-17,"): {"minimum"},
    FIRST.replace("TRUCK", "CANAL").replace("1996-03-22", "2026-03-22"): {"enum", "maximum"},
    FIRST.replace(",0.04,", ",0.041,"): {"type"},
    FIRST.replace("1,1552", ",1552"): {"required"},
    FIRST.removesuffix(",x"): {"field_count"},
    f"{FIRST},one more": {"field_count"},
}
# Its order isn't in the files.
LATE = FIRST.replace("1,1552,93,1", "8,1552,93,1")
ORDER = "8,1,O,24710.35,1996-01-02,5-LOW,Clerk#000000951,0,x"


def tpchgen() -> str:
    beside = Path(sys.executable).with_name("tpchgen-cli")
    found = str(beside) if beside.exists() else shutil.which("tpchgen-cli")
    assert found, "the tests need `tpchgen-cli`, which is a dependency of the development environment"
    return found


def query(project: Project, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(project.candidate), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def asked_of_the_files(project: Project, sql: str) -> list[tuple[Any, ...]]:
    """DuckDB's answer from the files, without dpipe."""
    with duckdb.connect() as connection:
        for name in TABLES:
            decimals = {
                column.name: column.type_name
                for column in contract_for(project, name).plan.columns
                if column.kind == "decimal"
            }
            connection.read_csv(str(project.root / f"data/{name}.csv"), dtype=decimals).create_view(name)
        return connection.execute(sql).fetchall()


def land(project: Project, dataset: str, *lines: str) -> None:
    """Ingest a file of the dataset with these lines."""
    header = (project.root / f"data/{dataset}.csv").read_text().partition("\n")[0]
    path = project.root / f"{dataset}.csv"
    path.write_text("\n".join([header, *lines, ""]))
    assert run_dpipe(project, "ingest", dataset, str(path)).returncode == 0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The example with files of its own, untouched by any command yet."""
    folder = tmp_path_factory.mktemp("tpch") / "tpch"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("var", "data", "target", "logs"))
    command = [tpchgen(), "csv", "-s", SCALE, "-o", str(folder / "data")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return load_project(folder)


@pytest.fixture(scope="module")
def report(project: Project) -> dict[str, Any]:
    """What `process` says, once a candidate is built."""
    assert run_dpipe(project, "ingest").returncode == 0
    done = run_dpipe(project, "process", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    built = run_dpipe(project, "transform")
    assert built.returncode == 0, built.stderr
    return found


def test_the_contracts_are_those_that_infer_drafts_and_more(project: Project) -> None:
    """The draft has the types; keys, limits and meaning were added, decimals have the standard's digits."""
    for name in TABLES:
        draft = infer(project.root / f"data/{name}.csv", name)
        assert draft.records == draft.accepted > 0
        drafted, mended = Contract.from_text(draft.text), contract_for(project, name)
        assert [column.name for column in drafted.plan.columns] == [
            column.name for column in mended.plan.columns
        ]
        assert all(column.required for column in drafted.plan.columns)
        other = {
            (before.kind, after.kind)
            for before, after in zip(drafted.plan.columns, mended.plan.columns, strict=True)
            if before.kind != after.kind
        }
        # Whole quantities are decimals by the standard, and small numbers narrower.
        assert other <= {("int64", "decimal"), ("int64", "int32")}, name
        assert diff(drafted, mended)


def test_the_staging_views_in_the_example_are_what_apply_writes(project: Project) -> None:
    planned = run_dpipe(project, "contract", "plan", "--json")
    assert [one["files"] for one in json.loads(planned.stdout)] == [[]] * len(TABLES)


def test_every_record_of_every_table_is_accounted_for(project: Project, report: dict[str, Any]) -> None:
    counts = asked_of_the_files(
        project, " union all ".join(f"select '{name}', count(*) from {name}" for name in TABLES)
    )
    assert {done["dataset"]: done["records_in"] for done in report["datasets"]} == dict(counts)
    assert all(done["accepted"] == done["records_in"] for done in report["datasets"])
    assert run_dpipe(project, "audit", "verify").returncode == 0


def test_the_pricing_summary_is_duckdbs_answer_to_query_1(project: Project, report: dict[str, Any]) -> None:
    found = query(project, "from marts.pricing_summary order by all")
    assert found == asked_of_the_files(project, PRICING_SUMMARY)
    assert len(found) == 4


def test_what_is_broken_is_in_quarantine_with_its_rule(project: Project, report: dict[str, Any]) -> None:
    land(project, "lineitem", *BROKEN, FIRST, LATE, LATE)
    # Seven of ten are more than the gate lets through by default.
    refused = run_dpipe(project, "process")
    assert (refused.returncode, "7 of 10 records" in refused.stderr) == (1, True)
    done = run_dpipe(project, "process", "--retry-refused", environment={"DPIPE_MAX_REJECTED_SHARE": "0.9"})
    assert done.returncode == 0, done.stderr
    quarantined = rows_of(project, "quarantine", "lineitem")
    rules = {
        row["raw"].decode(): {violation["rule"] for violation in row["violations"]}
        for row in quarantined
        if row["disposition"] == "rejected"
    }
    assert rules == BROKEN
    duplicates = [row["raw"].decode() for row in quarantined if row["disposition"] == "duplicate"]
    assert sorted(duplicates) == sorted([FIRST, LATE])
    assert run_dpipe(project, "audit", "verify").returncode == 0


@pytest.mark.long
def test_a_line_that_came_before_its_order_finds_it(project: Project, report: dict[str, Any]) -> None:
    fact = "select customer_id, order_date_id, part_id from marts.fct_line_items where order_id = 9"
    for dataset, line, expected in (
        ("lineitem", LATE.replace("8,", "9,", 1), (-1, -1, 1552)),
        ("orders", ORDER.replace("8,", "9,", 1), (1, 19960102, 1552)),
    ):
        land(project, dataset, line)
        for command in ("process", "transform", "validate", "publish"):
            done = run_dpipe(project, command)
            assert done.returncode == 0, done.stderr
        assert query(project, fact) == [expected]
    with duckdb.connect(str(project.marts), read_only=True) as published:
        assert published.execute(fact).fetchall() == [(1, 19960102, 1552)]
