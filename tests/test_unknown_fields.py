"""`dpipe.unknownFields: evolve`: fields that the contract doesn't know become columns, and nothing is lost."""

from __future__ import annotations

import datetime as dt
import io
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dpipe import landing
from dpipe.contract import Column, contract_for
from dpipe.errors import ConfigError
from dpipe.iceberg import evolved, ledger, open_catalog
from dpipe.stages.audit.story import story
from dpipe.stages.audit.verify import verify
from dpipe.stages.evolve import planned
from dpipe.stages.replay import Selection, replay
from dpipe.state import runs
from support import ORDERS, make_project, processed, rows_of, run_dpipe

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project
    from dpipe.stages.process import ProcessResult

EVOLVE = ORDERS.replace(
    "    properties:\n",
    "    customProperties: [{property: dpipe.unknownFields, value: evolve}]\n    properties:\n",
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "a project", {"orders": EVOLVE}, {"max_rejected_share": 1.0})


def deliver(project: Project, content: bytes, name: str = "a.ndjson") -> ProcessResult:
    path = project.root / name
    path.write_bytes(content)
    landing.land_file(project, "orders", path)
    return processed(project)


def orders(*more: dict[str, Any]) -> bytes:
    """A record for each, of the next order, with these fields beside the contract's."""
    records = (
        {"order_id": number, "day": "2013-01-01", "amount": 1.5} | fields
        for number, fields in enumerate(more, start=1)
    )
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def column(project: Project, name: str) -> dict[int, Any]:
    return {row["order_id"]: row[name] for row in rows_of(project, "raw", "orders")}


def columns(project: Project) -> dict[str, str]:
    schema = open_catalog(project).load_table(("raw", "orders")).schema()
    own = {"order_id", "day", "amount"}
    return {
        field.name: str(field.field_type)
        for field in schema.fields
        if field.name not in own and not field.name.startswith("_dpipe")
    }


def assert_holds(project: Project) -> None:
    (audit,) = verify(project)
    assert audit.findings == []


def test_new_fields_become_columns_of_the_type_that_all_their_values_have(project: Project) -> None:
    result = deliver(
        project,
        orders(
            {"colour": "red", "pieces": 3, "rate": 1, "gift": True},
            {"colour": None, "pieces": 2**40, "rate": 0.5},
            {"gift": False},
        ),
    )
    assert (result.accepted, result.rejected, result.duplicate) == (3, 0, 0)
    assert columns(project) == {"colour": "string", "gift": "boolean", "pieces": "long", "rate": "double"}
    assert column(project, "colour") == {1: "red", 2: None, 3: None}
    assert column(project, "pieces") == {1: 3, 2: 2**40, 3: None}
    assert column(project, "rate") == {1: 1.0, 2: 0.5, 3: None}
    assert column(project, "gift") == {1: True, 2: None, 3: False}
    assert_holds(project)


def test_rows_of_before_have_no_value_and_older_snapshots_no_column(project: Project) -> None:
    deliver(project, orders({}))
    table = open_catalog(project).load_table(("raw", "orders"))
    before = table.current_snapshot()
    assert before is not None
    deliver(project, orders({}, {"colour": "red"}).split(b"\n", 1)[1])
    assert column(project, "colour") == {1: None, 2: "red"}
    old = open_catalog(project).load_table(("raw", "orders")).scan(snapshot_id=before.snapshot_id).to_arrow()
    assert "colour" not in old.column_names
    assert_holds(project)


def test_the_ledger_says_what_judged_a_batch_beside_the_contract(project: Project) -> None:
    deliver(project, orders({}))
    deliver(project, orders({}, {"colour": "red"}).split(b"\n", 1)[1])
    first, second = ledger.rows(open_catalog(project), "orders")
    assert (first["evolved"], second["evolved"]) == ({}, {"colour": "string"})
    told = story(project, second["batch_id"])
    assert any("columns beside the contract's: colour" in event.detail for event in told.events)
    field = open_catalog(project).load_table(("raw", "orders")).schema().find_field("colour")
    assert field.doc == f"not in the contract; came with {second['batch_id']}"


def test_a_later_value_of_another_type_is_rejected_and_can_be_mended(project: Project) -> None:
    deliver(project, orders({"pieces": 3}))
    result = deliver(project, orders({}, {"pieces": "three"}).split(b"\n", 1)[1])
    assert (result.accepted, result.rejected) == (0, 1)
    (kept,) = rows_of(project, "quarantine", "orders")
    assert [(one["column"], one["rule"]) for one in kept["violations"]] == [("pieces", "type")]
    assert_holds(project)
    with runs.recorded(project, "replay") as run:
        assert replay(project, "orders", Selection(), run=run).replayed == 0
        mended = kept["raw"].replace(b'"three"', b"4")
        patches = {(kept["_dpipe_batch_id"], kept["_dpipe_record_no"]): mended}
        assert replay(project, "orders", Selection(), run=run, patches=patches).replayed == 1
    assert column(project, "pieces") == {1: 3, 2: 4}
    assert_holds(project)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (({"x": 1}, {"x": "one"}), "their values are of no one type"),
        (({"x": [1]},), "their values are of no one type"),
        (({"x": {"y": 1}},), "their values are of no one type"),
        (({"createdAt": 1},), "can't name such a column"),
        (({"a b": 1},), "can't name such a column"),
        (({"_dpipe_batch_id": "x"},), "can't name such a column"),
        (({"x" * 70: 1},), "can't name such a column"),
    ],
)
def test_a_field_that_can_be_no_column_is_left_out_and_said_so(
    project: Project, fields: tuple[dict[str, Any], ...], reason: str
) -> None:
    path = project.root / "a.ndjson"
    path.write_bytes(orders(*fields))
    landing.land_file(project, "orders", path)
    done = run_dpipe(project, "process")
    assert done.returncode == 0
    assert reason in done.stderr
    assert columns(project) == {}
    assert len(rows_of(project, "raw", "orders")) == len(fields)
    assert_holds(project)


def test_a_field_without_a_value_waits_for_its_first(project: Project) -> None:
    deliver(project, orders({"colour": None}))
    assert columns(project) == {}
    deliver(project, orders({}, {"colour": "red"}).split(b"\n", 1)[1])
    assert column(project, "colour") == {1: None, 2: "red"}


def test_text_of_csv_stays_text(project: Project) -> None:
    content = b"order_id,day,amount,zip,is_gift\n1,2013-01-01,1,007,true\n2,2013-01-01,1,,\n"
    deliver(project, content, "a.csv")
    assert columns(project) == {"is_gift": "string", "zip": "string"}
    assert column(project, "zip") == {1: "007", 2: None}


def test_columns_of_parquet_keep_their_types(project: Project) -> None:
    day = dt.date(2013, 1, 1)
    table = pa.table(
        {
            "order_id": [1],
            "day": [day],
            "amount": [1.5],
            "shipped": [day],
            "seen": pa.array([0], pa.timestamp("us", "UTC")),
            "local": pa.array([0], pa.timestamp("us")),
            "pieces": pa.array([3], pa.int16()),
            "items": [[1]],
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    deliver(project, buffer.getvalue(), "a.parquet")
    assert columns(project) == {
        "local": "timestamp",
        "pieces": "long",
        "seen": "timestamptz",
        "shipped": "date",
    }
    assert column(project, "shipped") == {1: day}


def test_batches_of_one_commit_agree_on_a_type(project: Project) -> None:
    for number, value in enumerate([1, 2.5, None], start=1):
        path = project.root / f"{number}.ndjson"
        record = {"order_id": number, "day": "2013-01-01", "amount": 1, "rate": value}
        path.write_text(json.dumps(record))
        landing.land_file(project, "orders", path)
    assert processed(project).accepted == 3
    assert column(project, "rate") == {1: 1.0, 2: 2.5, 3: None}
    assert_holds(project)


def test_a_batch_that_is_refused_brings_no_column(tmp_path: Path) -> None:
    project = make_project(tmp_path / "a project", {"orders": EVOLVE}, {"max_rejected_share": 0.1})
    deliver(project, orders({}))
    assert len(deliver(project, orders({"colour": "red", "amount": -1})).refused) == 1
    assert columns(project) == {}


def test_columns_that_were_added_before_a_crash_are_used_after_it(project: Project) -> None:
    deliver(project, orders({}))
    path = project.root / "b.ndjson"
    path.write_bytes(orders({}, {"colour": "red"}).split(b"\n", 1)[1])
    landing.land_file(project, "orders", path)
    killed = run_dpipe(project, "process", environment={"DPIPE_FAILPOINT": "after-kernel"})
    assert killed.returncode < 0
    evolved.add(open_catalog(project), "orders", {Column("colour", "string"): "file-x"})
    evolved.add(
        open_catalog(project), "orders", {Column("colour", "int64"): "file-y"}
    )  # another writer was late
    assert processed(project).accepted == 1
    assert columns(project) == {"colour": "string"}
    assert column(project, "colour") == {1: None, 2: "red"}
    assert_holds(project)


def test_a_contract_can_take_a_column_over(project: Project) -> None:
    deliver(project, orders({"pieces": 3}))
    assert planned(project, "orders").changes == ()
    contract = project.contracts / "orders.odcs.yaml"
    rule = "logicalTypeOptions: {minimum: 1}"
    contract.write_text(
        EVOLVE + f"      - {{name: pieces, logicalType: integer, physicalType: long, {rule}}}\n"
    )
    assert [change.kind for change in planned(project, "orders").changes] == ["describe"]
    result = deliver(project, orders({}, {"pieces": 0}, {"pieces": 7}).split(b"\n", 1)[1])
    assert (result.accepted, result.rejected) == (1, 1)
    assert column(project, "pieces") == {1: 3, 3: 7}
    assert contract_for(project, "orders").plan.columns[-1].name == "pieces"
    assert_holds(project)


def test_without_evolve_the_contract_must_name_what_came(project: Project) -> None:
    deliver(project, orders({"colour": "red"}))
    (project.contracts / "orders.odcs.yaml").write_text(ORDERS)
    with pytest.raises(ConfigError, match="`colour` is not in the contract any more"):
        deliver(project, orders({}, {}))


def test_two_writers_that_bring_the_same_field_end_with_one_column(project: Project) -> None:
    deliver(project, orders({}))
    for number in (2, 3):
        path = project.root / f"{number}.ndjson"
        record = {"order_id": number, "day": f"2013-01-0{number}", "amount": 1, "colour": f"c{number}"}
        path.write_text(json.dumps(record))
        landing.land_file(project, "orders", path)
    assert processed(project).accepted == 2
    assert column(project, "colour") == {1: None, 2: "c2", 3: "c3"}
    assert_holds(project)
