"""What `dpipe contract apply` writes into the dbt project; a contract's changes go on to a mart by themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import yaml
from dpipe import landing
from dpipe.contract import contract_for
from dpipe.errors import DataError
from dpipe.settings import load_project
from dpipe.stages.init import init
from dpipe.stages.process import process
from dpipe.stages.transform import transform
from dpipe.state import runs
from dpipe.warehouse.staging import MARK, planned, write
from support import ORDERS, make_project, run_dpipe

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project

CONTRACT = ORDERS.partition("    properties:\n")[0].replace(
    "One row per order", "One row per order; {{ nonsense }} is no template"
)
CONTRACT += """\
    properties:
      - {name: order_id, logicalType: integer, required: true, primaryKey: true, description: Number of the order}
      - {name: amount, logicalType: integer, physicalType: int, description: Amount in euros}
      - {name: order, logicalType: string}
      - {name: state, logicalType: string,
         quality: [{metric: invalidValues, arguments: {validValues: [new, paid]}, mustBe: 0}]}
"""
# A column is renamed, one is widened, one comes.
CHANGED = (
    CONTRACT.replace("version: 1.0.0", "version: 2.0.0")
    .replace("name: state,", "name: status, customProperties: [{property: dpipe.renamedFrom, value: state}],")
    .replace("physicalType: int,", "physicalType: long,")
    + "      - {name: colour, logicalType: string, description: Its colour}\n"
)
KEYED = CONTRACT.replace("primaryKey: true,", "primaryKey: true, primaryKeyPosition: 1,").replace(
    "name: order, logicalType: string",
    "name: order, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 2",
)
DBT_PROJECT = """\
name: shop
version: "1.0.0"
config-version: 2
profile: dpipe
model-paths: [models]
macro-paths: [macros]
models:
  shop:
    staging: {+schema: staging, +materialized: view}
    marts: {+schema: marts, +materialized: table}
"""
SCHEMAS = """\
{% macro generate_schema_name(custom_schema_name, node) %}{{ custom_schema_name or target.schema }}{% endmacro %}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = make_project(tmp_path / "a project", {"orders": CONTRACT})
    models = made.transform / "models"
    (models / "marts").mkdir(parents=True)
    (made.transform / "macros").mkdir()
    (made.transform / "dbt_project.yml").write_text(DBT_PROJECT)
    (made.transform / "macros" / "schemas.sql").write_text(SCHEMAS)
    (models / "marts" / "orders.sql").write_text("select * from {{ ref('stg_shop__orders') }}")
    return made


def files(project: Project) -> dict[str, str]:
    folder = project.transform / "models" / "staging"
    return {path.name: path.read_text() for path in folder.iterdir()}


def applied(project: Project) -> list[str]:
    done = run_dpipe(project, "contract", "apply", "orders", "--json")
    assert done.returncode == 0, done.stderr
    return [
        f"{file['action']} {file['path'].rpartition('/')[2]}" for file in json.loads(done.stdout)["files"]
    ]


def mart(project: Project, content: str) -> list[dict[str, Any]]:
    """Land, process and transform; the mart's rows."""
    path = project.root / "orders.csv"
    path.write_text(content)
    landing.land_file(project, "orders", path)
    with runs.recorded(project, "test") as run:
        process(project, run=run)
        transform(project, run=run)
    with duckdb.connect(str(project.candidate), read_only=True) as connection:
        rows = connection.sql("from marts.orders order by order_id")
        names = rows.columns
        return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]


def test_a_changed_contract_goes_on_to_the_mart_without_an_edit(project: Project) -> None:
    assert applied(project) == ["write _shop__orders.yml", "write stg_shop__orders.sql"]
    assert applied(project) == []
    (first,) = mart(project, "order_id,amount,order,state\n1,2,a,new\n")
    assert {name: first[name] for name in ("order_id", "amount", "order", "state", "record_number")} == {
        "order_id": 1,
        "amount": 2,
        "order": "a",
        "state": "new",
        "record_number": 1,
    }
    (project.contracts / "orders.odcs.yaml").write_text(CHANGED)
    plan = json.loads(run_dpipe(project, "contract", "plan", "orders", "--json").stdout)
    assert [file["action"] for file in plan["files"]] == ["update", "update"]
    assert applied(project) == ["update _shop__orders.yml", "update stg_shop__orders.sql"]
    large = 1 << 40
    first, second = mart(project, f"order_id,amount,order,status,colour\n2,{large},b,paid,red\n")
    assert (first["status"], first["colour"]) == ("new", None)
    assert (second["amount"], second["status"], second["colour"]) == (large, "paid", "red")
    assert "state" not in second


def test_what_is_below_the_line_is_kept(project: Project) -> None:
    applied(project)
    folder = project.transform / "models" / "staging"
    select, properties = folder / "stg_shop__orders.sql", folder / "_shop__orders.yml"
    select.write_text(
        select.read_text().replace("select * from renamed", "select *, amount * 2 as twice from renamed")
    )
    properties.write_text(properties.read_text() + "  - name: twice\n    description: Twice the amount\n")
    (project.contracts / "orders.odcs.yaml").write_text(CHANGED)
    assert len(applied(project)) == 2
    assert "amount * 2 as twice" in select.read_text()
    assert "colour" in select.read_text().partition(MARK)[0]
    (row,) = mart(project, "order_id,amount,order,status,colour\n1,2,b,paid,red\n")
    assert row["twice"] == 4


def test_a_file_without_the_line_and_a_source_of_ones_own_are_left_alone(project: Project) -> None:
    applied(project)
    folder = project.transform / "models" / "staging"
    (folder / "stg_shop__orders.sql").write_text("select 1 as order_id")
    (folder / "_shop__orders.yml").unlink()
    assert applied(project) == ["write _shop__orders.yml"]
    assert files(project)["stg_shop__orders.sql"] == "select 1 as order_id"
    (folder / "_shop__orders.yml").write_text(
        "sources: [{name: mine, tables: [{name: o, identifier: orders}]}]\n"
    )
    (folder / "stg_shop__orders.sql").unlink()
    assert applied(project) == []


def test_without_a_dbt_project_and_in_one_of_ones_own_nothing_is_written(tmp_path: Path) -> None:
    bare = make_project(tmp_path / "bare")
    assert write(bare, contract_for(bare, "orders")) == ()
    assert not bare.transform.exists()
    flights = load_project(init(tmp_path / "flights").folder)
    assert [planned(flights, contract_for(flights, name)) for name in flights.datasets()] == [()] * 5


def test_a_key_of_several_columns_is_tested_too(project: Project) -> None:
    """By a test of the project's own, which is written once and is the user's then."""
    (project.contracts / "orders.odcs.yaml").write_text(KEYED)
    assert applied(project)[2:] == ["write unique_together.sql"]
    assert applied(project) == []
    (model,) = yaml.safe_load(files(project)["_shop__orders.yml"])["models"]
    assert model["data_tests"] == [{"unique_together": {"arguments": {"columns": ["order_id", '"order"']}}}]
    assert model["columns"][0]["data_tests"] == ["not_null"]
    assert len(mart(project, "order_id,amount,order,state\n1,2,a,new\n1,2,b,new\n")) == 2
    # A view of one's own that says rows twice is caught by it.
    select = project.transform / "models/staging/stg_shop__orders.sql"
    select.write_text(select.read_text() + "union all select * from renamed where amount = 3\n")
    with pytest.raises(DataError, match="unique_together_stg_shop__orders"):
        mart(project, "order_id,amount,order,state\n2,3,a,new\n")


def test_a_rule_over_two_columns_is_tested_too(project: Project) -> None:
    compared = """\
    quality:
      - {type: custom, engine: dpipe, implementation: order_id <= amount}
      - {type: custom, engine: dpipe, implementation: order_id != amount}
      - {type: custom, engine: dpipe, implementation: order != state}
    properties:
"""
    (project.contracts / "orders.odcs.yaml").write_text(CONTRACT.replace("    properties:\n", compared))
    assert applied(project)[2:] == ["write holds.sql"]
    assert applied(project) == []
    (model,) = yaml.safe_load(files(project)["_shop__orders.yml"])["models"]
    assert [test["holds"]["arguments"]["condition"] for test in model["data_tests"]] == [
        "order_id <= amount",
        "order_id <> amount",
        '"order" <> state',
    ]
    assert len(mart(project, "order_id,amount,order,state\n1,2,a,new\n2,,,\n")) == 2
    # A view of one's own that says other values is caught by it.
    select = project.transform / "models/staging/stg_shop__orders.sql"
    select.write_text(select.read_text().replace("        amount,\n", "        amount - 1 as amount,\n", 1))
    with pytest.raises(DataError, match="stg_shop__orders_order_id_differs_from_amount"):
        mart(project, "order_id,amount,order,state\n3,4,a,new\n")


def test_a_test_of_that_name_in_the_project_is_used(project: Project) -> None:
    (project.contracts / "orders.odcs.yaml").write_text(KEYED)
    generic = project.transform / "tests/generic"
    generic.mkdir(parents=True)
    (generic / "mine.sql").write_text(
        "{%- test unique_together(model, columns) %}select 1 where false{% endtest %}"
    )
    assert applied(project) == ["write _shop__orders.yml", "write stg_shop__orders.sql"]


def test_without_a_dataset_apply_and_plan_are_of_all(tmp_path: Path) -> None:
    two = make_project(tmp_path / "two", {"orders": ORDERS, "more": ORDERS.replace("orders", "more")})
    (two.transform / "models").mkdir(parents=True)
    (two.transform / "dbt_project.yml").write_text(DBT_PROJECT)
    for command in ("plan", "apply"):
        said = json.loads(run_dpipe(two, "contract", command, "--json").stdout)
        assert [one["dataset"] for one in said] == ["more", "orders"]
        assert [len(one["files"]) for one in said] == ([3, 3] if command == "plan" else [3, 2])
    refused = run_dpipe(two, "contract", "apply", "--allow-drop", "amount")
    assert (refused.returncode, "--allow-drop is about one dataset" in refused.stderr) == (2, True)
    none = make_project(tmp_path / "none", {})
    said = run_dpipe(none, "contract", "apply")
    assert (said.returncode, "dpipe contract infer FILE" in said.stderr) == (2, True)


def test_tests_and_descriptions_are_the_contracts(project: Project) -> None:
    applied(project)
    (model,) = yaml.safe_load(files(project)["_shop__orders.yml"])["models"]
    assert model["description"] == "One row per order; { { nonsense }} is no template"
    columns = {column["name"]: column for column in model["columns"]}
    assert columns["order_id"] == {
        "name": "order_id",
        "description": "Number of the order",
        "data_tests": ["unique", "not_null"],
    }
    contract = project.contracts / "orders.odcs.yaml"
    contract.write_text(contract.read_text().replace("name: order,", "name: order, unique: true,"))
    applied(project)
    (model,) = yaml.safe_load(files(project)["_shop__orders.yml"])["models"]
    assert {"name": "order", "quote": True, "data_tests": ["unique"]} in model["columns"]
    assert columns["state"]["data_tests"] == [{"accepted_values": {"arguments": {"values": ["new", "paid"]}}}]
    assert columns["amount"] == {"name": "amount", "description": "Amount in euros"}
