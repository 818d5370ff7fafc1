"""`unique` beyond the key: no two rows of a table have one value, wherever and whenever they came."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import dpipe
import pyarrow as pa
import pytest
from dpipe import landing
from dpipe.contract import Contract, contract_for
from dpipe.failpoints import ENVIRONMENT_VARIABLE
from dpipe.iceberg import open_catalog, quarantine
from dpipe.iceberg.existing import ExistingRows
from dpipe.stages import patch
from dpipe.stages import process as stage
from dpipe.stages.replay import ReplayResult, Selection, replay
from dpipe.state import runs
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
    from dpipe.stages.process import ProcessResult

UNIQUE = ORDERS + "      - {name: code, logicalType: string, unique: true}\n"
KEYLESS = (
    UNIQUE.replace(" primaryKey: true,", "")
    .replace("primaryKeyPosition: 1,", "")
    .replace("primaryKeyPosition: 2,\n", "\n")
)
UPSERT = UNIQUE.replace(
    "    properties:\n",
    "    customProperties: [{property: dpipe.writeMode, value: upsert}]\n    properties:\n",
)
HEADER = "order_id,day,amount,code\n"
FIRST = HEADER + "1,2013-01-01,1,a\n2,2013-01-02,2,b\n3,2013-01-02,3,\n"
# Taken in another partition, free, without a value, taken in its own batch.
SECOND = HEADER + "4,2013-01-03,4,a\n5,2013-01-03,5,c\n6,2013-01-03,6,\n7,2013-01-04,7,c\n"


def made(folder: Path, text: str = UNIQUE) -> Project:
    return make_project(folder, {"orders": text}, {"max_rejected_share": 1.0})


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return made(tmp_path / "a project")


def counts(result: ProcessResult) -> tuple[int, int, int, int]:
    return result.accepted, result.rejected, result.duplicate, result.superseded


def codes(project: Project) -> dict[int, str | None]:
    return {row["order_id"]: row["code"] for row in rows_of(project, "raw", "orders")}


def violations(project: Project) -> list[tuple[int, str, str, str]]:
    """Of each quarantined record its number and what it broke."""
    return [
        (row["_dpipe_record_no"], found["column"], found["rule"], found["message"])
        for row in rows_of(project, "quarantine", "orders")
        for found in row["violations"]
    ]


@pytest.mark.parametrize("text", [UNIQUE, KEYLESS], ids=["with a key", "without"])
@pytest.mark.parametrize("together", [False, True], ids=["two commits", "one commit"])
def test_a_value_that_any_row_has_is_rejected_and_whose_it_is_is_said(
    tmp_path: Path, text: str, together: bool
) -> None:
    project = made(tmp_path / "a project", text)
    first = land(project, FIRST, "a.csv")
    if not together:
        assert counts(processed(project)) == (3, 0, 0, 0)
    second = land(project, SECOND, "b.csv")
    processed(project)

    assert codes(project) == {1: "a", 2: "b", 3: None, 5: "c", 6: None}
    assert sorted(violations(project)) == [
        (1, "code", "unique", f"the value is that of record 1 of batch `{first}`"),
        (4, "code", "unique", f"the value is that of record 2 of batch `{second}`"),
    ]
    assert_holds(project)
    assert counts(processed(project)) == (0, 0, 0, 0)


def test_a_batch_that_the_gate_refuses_takes_no_value(tmp_path: Path) -> None:
    project = make_project(tmp_path / "a project", {"orders": KEYLESS}, {"max_rejected_share": 0.4})
    land(project, HEADER + "1,2013-01-01,1,a\n2,2013-01-02,-2,b\n", "refused.csv")
    land(project, HEADER + "3,2013-01-01,1,a\n4,2013-01-02,2,c\n", "fine.csv")
    result = processed(project)
    assert (counts(result), len(result.refused)) == ((2, 0, 0, 0), 1)
    assert codes(project) == {3: "a", 4: "c"}


def test_of_a_record_whose_key_is_there_it_is_the_key_that_is_told_of(project: Project) -> None:
    ingest(project, FIRST)
    assert counts(ingest(project, HEADER + "1,2013-01-01,9,b\n1,2013-01-01,9,d\n8,2013-01-01,1,d\n")) == (
        1,
        0,
        2,
        0,
    )
    assert codes(project)[8] == "d"


@pytest.mark.parametrize("point", ["after-kernel", "after-raw-commit"])
def test_after_a_kill_the_next_run_comes_to_the_same(tmp_path: Path, point: str) -> None:
    lakes = []
    for name in ("killed", "left alone"):
        project = made(tmp_path / name)
        ingest(project, FIRST)
        land(project, SECOND)
        if name == "killed":
            assert run_dpipe(project, "process", environment={ENVIRONMENT_VARIABLE: point}).returncode != 0
        processed(project)
        assert_holds(project)
        lakes.append((codes(project), [found[:3] for found in sorted(violations(project))]))
    assert lakes[0] == lakes[1]


def test_a_writer_that_was_overtaken_looks_at_the_values_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = made(tmp_path / "a project", KEYLESS)
    ingest(project, FIRST)
    land(project, HEADER + "4,2013-01-03,4,d\n", "one.csv")
    read = ExistingRows.values
    overtaken: list[ProcessResult] = []

    def values(self: ExistingRows, columns: list[str]) -> Any:
        found = list(read(self, columns))
        if not overtaken:
            # Another machine, whose locks these aren't, commits in between.
            monkeypatch.setattr(ExistingRows, "values", read)
            waiting = landing.batch_ids(project, "orders")
            land(project, HEADER + "5,2013-01-04,5,d\n", "other.csv")
            with monkeypatch.context() as patched, runs.recorded(project, "process") as run:
                new = landing.batch_ids(project, "orders") - waiting
                patched.setattr(stage, "batch_ids", lambda *_: new)
                overtaken.extend(stage.process(project, run=run, holding=True))
        return found

    monkeypatch.setattr(ExistingRows, "values", values)
    assert counts(processed(project)) == (0, 1, 0, 0)
    assert counts(overtaken[0]) == (1, 0, 0, 0)
    assert codes(project) == {1: "a", 2: "b", 3: None, 5: "d"}
    assert_holds(project)


def test_in_an_upsert_a_row_keeps_its_value_or_frees_it(tmp_path: Path) -> None:
    project = made(tmp_path / "a project", UPSERT)
    ingest(project, FIRST)
    # 1 keeps `a`; 2 gives `b` up for `c`; 3 takes `b`, which is free; 4 can't have `a`, and 1 can't have `c`.
    later = "1,2013-01-01,10,a\n2,2013-01-02,2,c\n3,2013-01-02,3,b\n4,2013-01-04,4,a\n1,2013-01-01,11,c\n"
    assert counts(ingest(project, HEADER + later)) == (3, 2, 0, 3)
    assert codes(project) == {1: "a", 2: "c", 3: "b"}
    assert [found[:3] for found in sorted(violations(project))] == [
        (4, "code", "unique"),
        (5, "code", "unique"),
    ]
    assert_holds(project)


def test_upserts_come_to_the_same_in_one_run_as_batch_by_batch(tmp_path: Path) -> None:
    rng = random.Random(20131)
    batches = []
    for _ in range(6):
        records = [(rng.randint(1, 8), rng.randint(1, 2), rng.choice(["", *"abcdef"])) for _ in range(5)]
        batches.append(HEADER + "".join(f"{order},2013-01-0{day},1,{code}\n" for order, day, code in records))
    lakes = []
    for name in ("together", "one by one"):
        project = made(tmp_path / name, UPSERT)
        for number, content in enumerate(batches):
            land(project, content, f"{number}.csv")
            if name == "one by one":
                processed(project)
        processed(project)
        assert_holds(project)
        there = [row["code"] for row in rows_of(project, "raw", "orders") if row["code"]]
        assert len(set(there)) == len(there)
        lakes.append((lake_content(project), sorted(map(str, violations(project)))))
    assert lakes[0] == lakes[1]
    assert any("'unique'" in violation for violation in lakes[0][1])


def replayed(project: Project, patches: dict[tuple[str, int], bytes] | None = None) -> ReplayResult:
    with runs.recorded(project, "replay") as run:
        return replay(project, "orders", Selection(), run=run, patches=patches)


def open_records(project: Project) -> list[bytes]:
    return [row["raw"] for row in quarantine.open_records(open_catalog(project), "orders")]


def test_a_record_is_replayed_once_its_value_is_free(tmp_path: Path) -> None:
    project = made(tmp_path / "a project", UPSERT)
    ingest(project, FIRST)
    ingest(project, SECOND + "8,2013-01-04,8,c\n")
    result = replayed(project)
    assert (result.replayed, result.still_broken) == (0, 3)
    assert result.violations == [{"column": "code", "rule": "unique", "records": 3}]
    assert len(rows_of(project, "quarantine", "orders")) == 3

    # `c` is free now: the first record that waits for it gets it.
    ingest(project, HEADER + "5,2013-01-03,5,e\n")
    result = replayed(project)
    assert (result.replayed, result.still_broken) == (1, 2)
    assert codes(project) == {1: "a", 2: "b", 3: None, 5: "e", 6: None, 7: "c"}
    assert open_records(project) == [b"4,2013-01-03,4,a", b"8,2013-01-04,8,c"]
    assert_holds(project)


def test_a_record_is_mended_with_another_value(project: Project, tmp_path: Path) -> None:
    ingest(project, FIRST)
    ingest(project, SECOND)
    exported = tmp_path / "patch.ndjson"
    rows = list(quarantine.open_records(open_catalog(project), "orders"))
    lines = [
        json.dumps({"batch_id": row["_dpipe_batch_id"], "record_no": row["_dpipe_record_no"], "raw": text})
        for row, text in zip(rows, ["4,2013-01-03,4,z", "7,2013-01-04,7,z"], strict=True)
    ]
    exported.write_text("".join(f"{line}\n" for line in lines))
    result = replayed(project, patch.read(exported, 1 << 20))
    assert (result.replayed, result.still_broken) == (1, 1)
    assert codes(project)[4] == "z"
    assert_holds(project)


def test_show_names_the_unique_columns(project: Project) -> None:
    assert "unique: code" in run_dpipe(project, "contract", "show", "orders").stdout
    shown = json.loads(run_dpipe(project, "contract", "show", "orders", "--json").stdout)
    assert shown["plan"]["unique"] == ["code"]


def test_rows_from_before_a_column_was_unique_keep_their_values_together(tmp_path: Path) -> None:
    project = made(tmp_path / "a project", UPSERT.replace(", unique: true", ""))
    ingest(project, HEADER + "1,2013-01-01,1,a\n2,2013-01-02,2,a\n")
    (project.contracts / "orders.odcs.yaml").write_text(UPSERT)
    assert counts(ingest(project, HEADER + "1,2013-01-01,1,b\n3,2013-01-03,1,a\n")) == (1, 1, 0, 1)
    assert counts(ingest(project, HEADER + "2,2013-01-02,1,c\n3,2013-01-03,1,a\n")) == (2, 0, 0, 1)
    assert codes(project) == {1: "b", 2: "c", 3: "a"}


def test_in_a_program_values_are_compared_as_what_they_came_to() -> None:
    columns = (
        "      - {name: n, logicalType: number, unique: true}\n"
        "      - {name: d, logicalType: number, physicalType: 'decimal(6,2)', unique: true}\n"
        "      - {name: t, logicalType: timestamp, logicalTypeOptions: {timezone: true}, unique: true}\n"
    )
    head = UNIQUE[: UNIQUE.index("      - {name: order_id")]
    records = [
        {"n": 1, "d": 1.5, "t": "2013-01-01T12:00:00Z"},
        {"n": 1.0},
        {"n": 2, "d": 1.50},
        {"n": 3, "t": "2013-01-01T13:00:00+01:00"},
        {"n": 0.0},
        {"n": -0.0},
        {},
        {"n": 4, "d": 2, "t": None},
    ]
    content = "".join(f"{json.dumps(record)}\n" for record in records).encode()
    result = dpipe.process(content, Contract.from_text(head + columns), format="ndjson", batch_id="b")
    assert pa.table(result.accepted)["_dpipe_record_no"].to_pylist() == [1, 5, 7, 8]
    broken = [
        [(found["column"], found["rule"]) for found in row["violations"]]
        for row in pa.table(result.quarantine).to_pylist()
    ]
    assert broken == [[("n", "unique")], [("d", "unique")], [("t", "unique")], [("n", "unique")]]
    assert result.rejected_count == 4


def test_the_plan_of_a_grown_table_stays_unique(project: Project) -> None:
    assert contract_for(project, "orders").plan.grown({"more": "string"}).unique == ("code",)
