"""Contracts that change: the table follows when it is told to, keeps its rows, and loses nothing unasked."""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from dpipe import landing
from dpipe.contract import contract_for
from dpipe.errors import ConfigError, UsageError
from dpipe.iceberg import metadata_locations, open_catalog
from dpipe.iceberg.compaction import Target
from dpipe.stages.audit.verify import verify
from dpipe.stages.evolve import Evolution, evolve, planned
from dpipe.stages.maintain import maintain
from dpipe.stages.process import process
from dpipe.state import runs
from dpipe.warehouse.lake import attach_lake
from support import ORDERS, make_project, rows_of, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dpipe.settings import Project
    from dpipe.stages.process import ProcessResult

HEAD = ORDERS.partition("      - {")[0]
ORDER_ID = "{name: order_id, logicalType: integer, required: true, primaryKey: true, primaryKeyPosition: 1}"
DAY = (
    "{name: day, logicalType: date, required: true, primaryKey: true, primaryKeyPosition: 2, "
    "partitioned: true, partitionKeyPosition: 1}"
)
COUNT = "{name: count, logicalType: integer, physicalType: int32, required: true}"
PRICE = "{name: price, logicalType: number, physicalType: 'decimal(5,2)'}"
NOTE = "{name: note, logicalType: string}"
ALL = (ORDER_ID, DAY, COUNT, PRICE, NOTE)
FIRST = "order_id,day,count,price,note\n1,2013-01-01,5,1.50,a\n2,2013-01-02,6,,b\n"


def contract(columns: Sequence[str]) -> str:
    return HEAD + "".join(f"      - {column}\n" for column in columns)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = make_project(tmp_path / "a project", {"orders": contract(ALL)}, {"max_rejected_share": 1.0})
    ingest(project, FIRST)
    return project


def ingest(project: Project, content: str) -> ProcessResult:
    path = project.root / "a.csv"
    path.write_text(content)
    landing.land_file(project, "orders", path)
    with runs.recorded(project, "process") as run:
        (result,) = process(project, run=run)
    return result


def change(project: Project, *columns: str) -> None:
    (project.contracts / "orders.odcs.yaml").write_text(contract(columns))


def evolved(project: Project, *may_drop: str) -> Evolution:
    with runs.recorded(project, "apply") as run:
        return evolve(project, "orders", run=run, may_drop=may_drop)


def kinds(evolution: Evolution) -> list[tuple[str, str]]:
    return [(change.kind, change.column) for change in evolution.changes]


def values(project: Project, *names: str) -> list[tuple[Any, ...]]:
    """Rows of raw by pyiceberg, which DuckDB must read alike."""
    rows = [{name: row[name] for name in names} for row in rows_of(project, "raw", "orders")]
    by_pyiceberg = sorted((tuple(row.values()) for row in rows), key=repr)
    with duckdb.connect() as connection:
        attach_lake(connection, metadata_locations(project))
        selected = ", ".join(f'"{name}"' for name in names)
        found = connection.execute(f"select {selected} from lake.raw.orders").fetchall()
    assert sorted(found, key=repr) == by_pyiceberg
    return by_pyiceberg


def assert_holds(project: Project) -> None:
    (audit,) = verify(project)
    assert audit.findings == []
    assert audit.recounted == audit.batches


def test_a_contract_that_fits_asks_nothing(project: Project) -> None:
    assert kinds(evolved(project)) == []
    change(project, *ALL[:4], NOTE.replace("string", "string, logicalTypeOptions: {maxLength: 5}"))
    assert kinds(planned(project, "orders")) == []


def test_without_rows_the_table_is_made_as_asked(tmp_path: Path) -> None:
    project = make_project(tmp_path / "a project", {"orders": contract(ALL)})
    evolution = planned(project, "orders")
    assert (evolution.table, evolution.changes) == (False, ())


def test_process_refuses_until_the_change_is_applied(project: Project) -> None:
    change(project, *ALL, "{name: colour, logicalType: string}")
    with pytest.raises(ConfigError, match="column `colour` of type string is new") as refused:
        ingest(project, FIRST.replace("a\n", "c\n"))
    assert "dpipe contract plan orders" in (refused.value.hint or "")
    evolved(project)
    assert ingest(project, FIRST.replace("a\n", "c\n")).duplicate == 2


def test_a_new_column_is_null_in_rows_of_before(project: Project) -> None:
    before = open_catalog(project).load_table(("raw", "orders")).current_snapshot()
    assert before is not None
    change(project, *ALL, "{name: colour, logicalType: string, required: true}")
    assert kinds(evolved(project)) == [("add", "colour")]
    assert kinds(evolved(project)) == []
    result = ingest(
        project,
        "order_id,day,count,price,note,colour\n1,2013-01-01,5,1.50,a,red\n3,2013-01-02,6,2.00,b,red\n4,2013-01-02,6,,b,\n",
    )
    # The key of a row of before is found, and the new column is required of new records.
    assert (result.accepted, result.rejected, result.duplicate) == (1, 1, 1)
    assert values(project, "order_id", "colour") == [(1, None), (2, None), (3, "red")]
    old = open_catalog(project).load_table(("raw", "orders")).scan(snapshot_id=before.snapshot_id)
    assert old.to_arrow().num_rows == 2
    assert_holds(project)


def test_a_renamed_column_keeps_its_values(project: Project) -> None:
    renamed = NOTE.replace("name: note", "name: remark").replace(
        "}", ", customProperties: [{property: dpipe.renamedFrom, value: note}]}"
    )
    change(project, *ALL[:4], renamed)
    assert kinds(planned(project, "orders")) == [("rename", "remark")]
    evolved(project)
    assert kinds(evolved(project)) == []
    ingest(project, "order_id,day,count,price,remark\n2,2013-01-02,6,,x\n3,2013-01-02,6,,c\n")
    assert values(project, "order_id", "remark") == [(1, "a"), (2, "b"), (3, "c")]
    assert_holds(project)


def test_a_renamed_key_and_partition_column_still_tells_duplicates(project: Project) -> None:
    renamed = DAY.replace("name: day", "name: ordered_on").replace(
        "}", ", customProperties: [{property: dpipe.renamedFrom, value: day}]}"
    )
    change(project, ORDER_ID, renamed, *ALL[2:])
    assert kinds(evolved(project)) == [("rename", "ordered_on")]
    result = ingest(project, "order_id,ordered_on,count,price,note\n2,2013-01-02,6,,x\n3,2013-01-02,6,,c\n")
    assert (result.accepted, result.duplicate) == (1, 1)
    assert [row[0] for row in values(project, "order_id", "ordered_on")] == [1, 2, 3]
    assert_holds(project)


def test_a_rename_that_is_not_said_is_asked_about(project: Project) -> None:
    change(project, *ALL[:4], NOTE.replace("name: note", "name: remark"))
    evolution = planned(project, "orders")
    assert kinds(evolution) == [("add", "remark"), ("drop", "note")]
    assert "dpipe.renamedFrom: note" in evolution.changes[0].text
    with pytest.raises(UsageError, match="would lose values: column `note`") as refused:
        evolved(project)
    assert "--allow-drop note" in (refused.value.hint or "")
    assert values(project, "note") == [("a",), ("b",)]


def test_a_column_is_dropped_when_it_may_be_and_old_snapshots_have_it(project: Project) -> None:
    before = open_catalog(project).load_table(("raw", "orders")).current_snapshot()
    assert before is not None
    change(project, *ALL[:4])
    assert kinds(evolved(project, "note")) == [("drop", "note")]
    ingest(project, "order_id,day,count,price\n3,2013-01-02,6,\n")
    assert values(project, "order_id") == [(1,), (2,), (3,)]
    table = open_catalog(project).load_table(("raw", "orders"))
    assert "note" not in table.schema().column_names
    assert sorted(table.scan(snapshot_id=before.snapshot_id).to_arrow()["note"].to_pylist()) == ["a", "b"]
    assert_holds(project)


def test_a_dropped_column_that_comes_back_is_a_new_one(project: Project) -> None:
    change(project, *ALL[:4])
    evolved(project, "note")
    change(project, *ALL)
    assert kinds(evolved(project)) == [("add", "note")]
    assert values(project, "note") == [(None,), (None,)]


def test_types_become_wider(project: Project) -> None:
    change(project, ORDER_ID, DAY, COUNT.replace("int32", "int64"), PRICE.replace("(5,2)", "(9,2)"), NOTE)
    assert kinds(evolved(project)) == [("widen", "count"), ("widen", "price")]
    ingest(
        project,
        "order_id,day,count,price,note\n1,2013-01-01,5,1.50,a\n3,2013-01-02,5000000000,1234567.50,c\n",
    )
    assert values(project, "order_id", "count", "price") == [
        (1, 5, Decimal("1.50")),
        (2, 6, None),
        (3, 5_000_000_000, Decimal("1234567.50")),
    ]
    assert_holds(project)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (COUNT, COUNT.replace("integer, physicalType: int32", "string")),
        (PRICE, PRICE.replace("(5,2)", "(4,2)")),
        (PRICE, PRICE.replace("(5,2)", "(9,3)")),
        (NOTE, NOTE.replace("string", "date")),
    ],
)
def test_a_type_that_old_values_are_not_of_is_refused(project: Project, before: str, after: str) -> None:
    change(project, *(after if column == before else column for column in ALL))
    with pytest.raises(UsageError, match="add a column of another name"):
        evolved(project)


MONTHLY = DAY.replace("}", ", customProperties: [{property: dpipe.partitionTransform, value: month}]}")
UNPARTITIONED = DAY.replace(", partitioned: true, partitionKeyPosition: 1", "")
BY_ORDER = ORDER_ID.replace("}", ", partitioned: true, partitionKeyPosition: 1}")


def partitions(project: Project) -> list[dict[str, Any]]:
    table = open_catalog(project).load_table(("raw", "orders"))
    files = [task.file for task in table.scan().plan_files()]
    assert {file.spec_id for file in files} <= {table.spec().spec_id}
    names = [field.name for field in table.spec().fields]
    return sorted(
        ({name: file.partition[at] for at, name in enumerate(names)} for file in files),
        key=lambda found: sorted(found.items()),
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ((ORDER_ID, MONTHLY), [{"day_month": 516}, {"day_month": 517}]),
        ((ORDER_ID, UNPARTITIONED), [{}]),
        ((BY_ORDER, UNPARTITIONED), [{"order_id": 1}, {"order_id": 2}, {"order_id": 3}]),
        (
            (BY_ORDER.replace("Position: 1}", "Position: 2}"), DAY),
            [
                {"day": 15706, "order_id": 1},
                {"day": 15707, "order_id": 2},
                {"day": 15737, "order_id": 3},
            ],
        ),
    ],
)
def test_another_partition_writes_files_anew(
    project: Project, columns: Sequence[str], expected: list[dict[str, Any]]
) -> None:
    ingest(project, "order_id,day,count,price,note\n3,2013-02-01,7,2.50,\n")
    before = open_catalog(project).load_table(("raw", "orders")).current_snapshot()
    assert before is not None
    rows = values(project, "order_id", "day", "count", "price", "note")
    change(project, *columns, *ALL[2:])
    more = "order_id,day,count,price,note\n1,2013-01-01,9,9.50,a\n4,2013-02-01,7,2.50,\n"
    with pytest.raises(ConfigError, match="it becomes partitioned by"):
        ingest(project, more)
    assert kinds(evolved(project)) == [("repartition", "")]
    assert partitions(project) == expected
    assert kinds(evolved(project)) == []
    assert values(project, "order_id", "day", "count", "price", "note") == rows
    old = open_catalog(project).load_table(("raw", "orders")).scan(snapshot_id=before.snapshot_id).to_arrow()
    assert sorted(old["order_id"].to_pylist()) == [1, 2, 3]
    # Keys are still told.
    result = ingest(project, more)
    assert (result.accepted, result.duplicate) == (1, 1)
    assert_holds(project)
    with runs.recorded(project, "maintain") as run:
        maintain(project, target=Target(1 << 20, 2), keep=dt.timedelta(0), run=run, young=dt.timedelta(0))
    assert len(values(project, "order_id")) == 4
    assert_holds(project)


def test_a_column_that_partitioned_the_table_can_be_dropped_at_once(tmp_path: Path) -> None:
    region = "{name: region, logicalType: string, partitioned: true, partitionKeyPosition: 1}"
    plain = "{name: amount, logicalType: integer}"
    project = make_project(tmp_path / "a project", {"orders": contract([region, plain])})
    ingest(project, "region,amount\na,1\n,2\nb,3\n")
    city = "{name: city, logicalType: string, partitioned: true, partitionKeyPosition: 1}"
    change(project, plain, city)
    with pytest.raises(UsageError, match="would lose values"):
        evolved(project)
    before = open_catalog(project).load_table(("raw", "orders")).current_snapshot()
    assert before is not None
    assert kinds(evolved(project, "region")) == [("add", "city"), ("repartition", ""), ("drop", "region")]
    old = open_catalog(project).load_table(("raw", "orders")).scan(snapshot_id=before.snapshot_id).to_arrow()
    assert sorted(old["region"].to_pylist(), key=str) == [None, "a", "b"]
    assert values(project, "amount", "city") == [(1, None), (2, None), (3, None)]
    ingest(project, "amount,city\n4,x\n")
    assert values(project, "amount", "city") == [(1, None), (2, None), (3, None), (4, "x")]
    assert_holds(project)


@pytest.mark.parametrize("point", ["after-compaction-files", "after-compaction-commit"])
def test_a_kill_while_files_are_spread_leaves_what_the_next_run_completes(
    project: Project, point: str
) -> None:
    rows = values(project, "order_id", "day")
    change(project, ORDER_ID, MONTHLY, *ALL[2:])
    killed = run_dpipe(project, "contract", "apply", "orders", environment={"DPIPE_FAILPOINT": point})
    assert killed.returncode < 0
    evolved(project)
    assert partitions(project) == [{"day_month": 516}]
    assert values(project, "order_id", "day") == rows
    assert_holds(project)


def test_a_column_may_become_optional_and_required_again(project: Project) -> None:
    change(project, ORDER_ID, DAY, COUNT.replace(", required: true", ""), PRICE, NOTE)
    assert kinds(evolved(project)) == [("make optional", "count")]
    assert ingest(project, "order_id,day,count,price,note\n3,2013-01-02,,,c\n").accepted == 1
    change(project, *ALL)
    # Rows without a value are there; of new records the kernel asks for one.
    assert kinds(evolved(project)) == []
    assert ingest(project, "order_id,day,count,price,note\n4,2013-01-02,,,c\n").rejected == 1
    assert values(project, "order_id", "count") == [(1, 5), (2, 6), (3, None)]


def test_descriptions_follow_and_stop_nobody(project: Project) -> None:
    change(project, *ALL[:4], NOTE.replace("logicalType", "description: What was said, logicalType"))
    assert ingest(project, "order_id,day,count,price,note\n3,2013-01-02,1,,c\n").accepted == 1
    assert kinds(evolved(project)) == [("describe", "note")]
    assert (
        open_catalog(project).load_table(("raw", "orders")).schema().find_field("note").doc == "What was said"
    )
    assert kinds(evolved(project)) == []


def test_columns_in_another_order_are_the_same_columns(project: Project) -> None:
    change(project, NOTE, *ALL[:4])
    assert kinds(planned(project, "orders")) == []
    ingest(project, "note,order_id,day,count,price\nc,3,2013-01-02,1,\n")
    assert values(project, "order_id", "note") == [(1, "a"), (2, "b"), (3, "c")]


def test_nested_tables_take_new_and_renamed_columns(tmp_path: Path) -> None:
    tags = "{name: tags, logicalType: array, items: {logicalType: string}}"
    project = make_project(tmp_path / "a project", {"orders": contract((ORDER_ID, DAY, tags, NOTE))})
    record = {"order_id": 1, "day": "2013-01-01", "tags": None, "note": "a"}
    ingest_json(project, [record, {**record, "order_id": 2, "tags": ["x"]}])
    renamed = tags.replace("name: tags", "name: labels").replace(
        "string}}", "string}, customProperties: [{property: dpipe.renamedFrom, value: tags}]}"
    )
    change(project, ORDER_ID, DAY, renamed, NOTE, "{name: colour, logicalType: string}")
    assert kinds(evolved(project)) == [("rename", "labels"), ("add", "colour")]
    again = {"order_id": 1, "day": "2013-01-01", "labels": None, "note": "a", "colour": None}
    result = ingest_json(project, [again, {**again, "order_id": 3, "colour": "red"}])
    assert (result.accepted, result.duplicate) == (1, 1)
    (kept,) = rows_of(project, "quarantine", "orders")
    assert kept["duplicate_kind"] == "identical"


def ingest_json(project: Project, records: list[dict[str, Any]]) -> ProcessResult:
    path = project.root / "a.ndjson"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    landing.land_file(project, "orders", path)
    with runs.recorded(project, "process") as run:
        (result,) = process(project, run=run)
    return result


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (
            NOTE.replace("}", ", customProperties: [{property: dpipe.renamedFrom, value: count}]}"),
            "is the name of a column",
        ),
        (NOTE.replace("}", ", customProperties: [{property: dpipe.renamedFrom, value: 7}]}"), "earlier name"),
    ],
)
def test_lint_knows_a_rename_that_can_not_be(project: Project, column: str, said: str) -> None:
    change(project, *ALL[:4], column)
    with pytest.raises(ConfigError, match=said):
        contract_for(project, "orders")


def test_the_commands_show_and_do_it_and_the_run_has_it(project: Project) -> None:
    change(project, *ALL, "{name: colour, logicalType: string}")
    shown = run_dpipe(project, "contract", "plan", "orders")
    assert (
        shown.stdout
        == "add: column `colour` of type string is new\nnew check: exists of `colour`\nnew check: type of `colour`\n"
    )
    applied = json.loads(run_dpipe(project, "contract", "apply", "orders", "--json").stdout)
    assert [one["kind"] for one in applied["changes"]] == ["add"]
    assert "fits its contract" in run_dpipe(project, "contract", "apply", "orders").stdout
    run = runs.latest(project)[1]
    assert run["command"] == "contract apply"
    (stage,) = runs.stages(project, run["run_id"])
    assert stage["detail"]["changes"] == ["column `colour` of type string is new"]
    change(project, *ALL)
    refused = run_dpipe(project, "contract", "apply", "orders")
    assert refused.returncode == 2
    assert re.search("--allow-drop colour", refused.stderr)
    assert run_dpipe(project, "contract", "apply", "orders", "--allow-drop", "colour").returncode == 0


def test_a_plan_says_which_checks_and_which_lines_of_the_project_are_touched(project: Project) -> None:
    for name, text in (
        (
            "transform/models/staging/stg_orders.sql",
            "select order_id,\n    price, count\nfrom x where counted\n",
        ),
        ("transform/target/compiled.sql", "count"),
        ("ui/page.py", "st.write(row['price'])\n"),
        ("checks/orders.yml", "column: order_id\n"),
    ):
        path = project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    renamed = COUNT.replace("{name: count", "{name: number").replace(
        "}", ", customProperties: [{property: dpipe.renamedFrom, value: count}]}"
    )
    change(project, ORDER_ID, DAY, renamed, NOTE)
    shown = run_dpipe(project, "contract", "plan", "orders")
    assert shown.returncode == 0
    lines = set(shown.stdout.splitlines())
    assert {
        "to be mended: transform/models/staging/stg_orders.sql:2 names `price`",
        "to be mended: transform/models/staging/stg_orders.sql:2 names `count`",
        "to be mended: ui/page.py:1 names `price`",
        "check goes: type of `price`",
        "new check: type of `number`",
    } <= lines
    assert not any("compiled" in line or "stg_orders.sql:3" in line or "checks/" in line for line in lines)
    found = json.loads(run_dpipe(project, "contract", "plan", "orders", "--json").stdout)["consequences"]
    assert len(found["mentions"]) == 3
