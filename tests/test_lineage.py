"""Lineage without dbt: what SQL is followed, what isn't said to be known, and where the boxes of a picture go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dpipe.lineage import build as building
from dpipe.lineage.build import build
from dpipe.lineage.drawing import svg
from dpipe.lineage.graph import Column, Edge, Graph, Origin, Place, Table
from dpipe.lineage.layout import laid_out
from dpipe.lineage.sql_columns import trace
from support import ORDERS, ingest, make_project, run_dpipe

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project

ORDER_COLUMNS = ("id", "customer", "amount", "day")
SCHEMA = {("db", "raw", "orders"): ORDER_COLUMNS, ("db", "raw", "customers"): ("id", "name")}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


def origins(sql: str) -> dict[str, dict[str, str]]:
    """Each column of a query, with the columns that it is made of, and how."""
    found = trace(sql, SCHEMA, dialect="duckdb")
    assert found is not None
    return {
        column: {f"{relation[2]}.{name}": made.how for (relation, name), made in sources.items()}
        for column, sources in found.columns.items()
    }


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select customer from db.raw.orders", {"customer": {"orders.customer": "identity"}}),
        ('select "customer" as c from "db"."raw"."orders"', {"c": {"orders.customer": "identity"}}),
        (
            "with o as (select * from db.raw.orders), p as (select amount * 2 as twice from o) select twice from p",
            {"twice": {"orders.amount": "transformation"}},
        ),
        (
            "select sum(amount) + 1 as total, count(*) as n, 1 as one from db.raw.orders",
            {"total": {"orders.amount": "aggregation"}, "n": {}, "one": {}},
        ),
        (
            "select o.id, c.name from db.raw.orders as o join db.raw.customers as c on o.customer = c.id",
            {"id": {"orders.id": "identity"}, "name": {"customers.name": "identity"}},
        ),
        (
            "select name as n from db.raw.customers union all select upper(customer) from db.raw.orders",
            {"n": {"customers.name": "identity", "orders.customer": "transformation"}},
        ),
        (
            "select (select max(c.name) from db.raw.customers as c where c.id = o.customer) as best "
            "from db.raw.orders as o",
            {
                "best": {
                    "customers.name": "aggregation",
                    "customers.id": "transformation",
                    "orders.customer": "transformation",
                }
            },
        ),
        (
            "select case when amount > 0 then customer end as payer from db.raw.orders",
            {"payer": {"orders.amount": "transformation", "orders.customer": "transformation"}},
        ),
        (
            "with recursive t as (select id, 0 as depth from db.raw.orders union all select id, depth + 1 from t) "
            "select id from t",
            {"id": {"orders.id": "identity"}},
        ),
        (
            "select u.part from db.raw.orders as o, unnest(string_split(o.customer, ' ')) as u(part)",
            {"part": {"orders.customer": "transformation"}},
        ),
    ],
)
def test_columns_are_followed_through_sql(sql: str, expected: dict[str, dict[str, str]]) -> None:
    assert origins(sql) == expected


def test_a_hash_masks_unless_the_value_comes_through_beside_it() -> None:
    found = trace(
        "select md5(customer) as hidden, md5(customer) || customer as shown from db.raw.orders",
        SCHEMA,
        dialect="duckdb",
    )
    assert found is not None
    masked = {column: [made.masked for made in sources.values()] for column, sources in found.columns.items()}
    assert masked == {"hidden": [True], "shown": [False]}


def test_what_decides_on_rows_is_told_apart() -> None:
    found = trace(
        "select c.name, sum(o.amount) as total from db.raw.orders as o join db.raw.customers as c on o.customer = c.id "
        "where o.day > '2013-01-01' group by c.name having sum(o.amount) > 5",
        SCHEMA,
        dialect="duckdb",
    )
    assert found is not None
    assert {f"{relation[2]}.{name}": what for (relation, name), what in found.rows.items()} == {
        "orders.customer": {"JOIN"},
        "customers.id": {"JOIN"},
        "orders.day": {"FILTER"},
        "customers.name": {"GROUP_BY"},
        "orders.amount": {"FILTER"},
    }


def test_a_star_of_an_unknown_table_and_what_is_no_query_are_said() -> None:
    star = trace("select * from db.raw.unknown", SCHEMA, dialect="duckdb")
    assert star is not None
    assert not star.is_whole
    assert trace("select from where", SCHEMA, dialect="duckdb") is None


def test_a_project_without_models_has_the_way_to_its_tables(project: Project) -> None:
    graph = build(project)
    assert graph.find("raw.orders.amount") == Place("raw.orders", "amount")
    assert graph.up(Place("raw.orders", "amount")) == [
        Edge(Place("landing.orders", "amount"), Place("raw.orders", "amount"), "identity"),
        Edge(Place("API"), Place("landing.orders", "amount")),
    ]
    assert graph.up(Place("raw.orders", "_dpipe_batch_id")) == []
    assert {edge.target for edge in graph.down(Place("landing.orders"))} == {
        Place("raw.orders"),
        Place("quarantine.orders"),
    }


def test_nothing_has_to_be_there_but_contracts(project: Project) -> None:
    done = run_dpipe(project, "lineage", "orders.day", "--json")
    assert done.returncode == 2, "landing, raw and quarantine have one of that name"
    done = run_dpipe(project, "lineage", "raw.orders.day", "--json")
    found = json.loads(done.stdout)
    assert [edge["source"]["table"] for edge in found["up"]] == ["landing.orders", "API"]
    assert not project.data_dir.exists()


def test_a_contract_that_is_broken_leaves_out_its_dataset_only(tmp_path: Path) -> None:
    broken = ORDERS.replace("orders", "others").replace("logicalType: date", "logicalType: colour")
    graph = build(make_project(tmp_path, {"orders": ORDERS, "others": broken}))
    assert "raw.orders" in graph.tables
    assert "raw.others" not in graph.tables
    assert any("`others` is left out" in note for note in graph.notes)


def test_columns_that_records_brought_come_from_their_fields(tmp_path: Path) -> None:
    evolving = ORDERS.replace(
        "    properties:\n",
        "    customProperties: [{property: dpipe.unknownFields, value: evolve}]\n    properties:\n",
    )
    project = make_project(tmp_path, {"orders": evolving})
    ingest(project, "order_id,day,amount,colour\n1,2013-01-01,1,red\n")
    assert build(project).up(Place("raw.orders", "colour"))[0].source == Place("landing.orders", "colour")


def test_without_sqlglot_tables_are_known_and_columns_said_not_to_be(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = project.candidate.parent / "build" / "dbt" / "target"
    target.mkdir(parents=True)
    (target / "manifest.json").write_text(
        json.dumps(manifest("select order_id as number from lake.raw.orders"))
    )
    assert build(project).up(Place("marts.numbers", "number"))[0].source == Place("raw.orders", "order_id")
    monkeypatch.setattr(building, "find_spec", lambda _: None)
    graph = build(project)
    assert graph.up(Place("marts.numbers"))[0].source == Place("raw.orders")
    assert graph.up(Place("marts.numbers", "number")) == []
    assert any("dpipe[lineage]" in note for note in graph.notes)


def test_an_ephemeral_model_is_no_table_and_its_sources_stand_for_it(project: Project) -> None:
    target = project.candidate.parent / "build" / "dbt" / "target"
    target.mkdir(parents=True)
    document = manifest(
        "with __dbt__cte__between as (select order_id as n from lake.raw.orders) select n as number "
        "from __dbt__cte__between"
    )
    document["nodes"]["model.p.between"] = document["nodes"]["model.p.numbers"] | {
        "name": "between",
        "alias": "between",
        "config": {"materialized": "ephemeral"},
    }
    document["nodes"]["model.p.numbers"]["depends_on"] = {"nodes": ["model.p.between"]}
    (target / "manifest.json").write_text(json.dumps(document))
    graph = build(project)
    assert graph.parents["marts.numbers"] == ["raw.orders"]
    assert "marts.between" not in graph.tables
    assert graph.up(Place("marts.numbers", "number"))[0].source == Place("raw.orders", "order_id")


def manifest(sql: str) -> dict[str, Any]:
    """What dbt leaves of a project with one model over `raw.orders`."""
    source = {
        "database": "lake",
        "schema": "raw",
        "name": "orders",
        "identifier": "orders",
        "resource_type": "source",
        "package_name": "p",
        "original_file_path": "models/sources.yml",
    }
    model = {
        "database": "candidate",
        "schema": "marts",
        "name": "numbers",
        "alias": "numbers",
        "resource_type": "model",
        "package_name": "p",
        "original_file_path": "models/numbers.sql",
        "config": {"materialized": "table"},
        "columns": {
            "number": {"name": "number", "data_type": "bigint", "description": "Number of the order"}
        },
        "compiled_code": sql,
        "depends_on": {"nodes": ["source.p.orders"]},
    }
    return {
        "metadata": {"adapter_type": "duckdb"},
        "nodes": {"model.p.numbers": model},
        "sources": {"source.p.orders": source},
    }


def test_a_name_without_its_schema_is_found_and_hints_at_the_nearest() -> None:
    graph = Graph()
    graph.add(Table("raw.a", "raw", (Column("x"),)))
    graph.add(Table("marts.b", "table", (Column("y"),)), "raw.a")
    assert graph.find("b.y") == Place("marts.b", "y")
    assert graph.find("a") == Place("raw.a")


def test_what_goes_round_in_circles_ends() -> None:
    graph = Graph()
    graph.add(Table("a", "table", (Column("x"),)), "b")
    graph.add(Table("b", "table", (Column("x"),)), "a")
    graph.origins = {Place("a", "x"): [Origin(Place("b", "x"))], Place("b", "x"): [Origin(Place("a", "x"))]}
    assert len(graph.up(Place("a", "x"))) == 2
    assert len(graph.down(Place("a"))) == 2
    assert svg("circle", graph, graph.edges(), None).count('class="box"') == 2


def test_every_line_goes_from_left_to_right_by_lanes_past_the_boxes_between() -> None:
    joined = {("a", "b"), ("b", "c"), ("c", "d"), ("a", "d"), ("seed", "d")}
    ways, layers = laid_out(["a", "b", "c", "d", "seed"], joined)
    rank = {name: number for number, layer in enumerate(layers) for name in layer}
    for (source, target), way in ways.items():
        assert [rank[name] for name in way] == list(range(rank[source], rank[target] + 1))
    assert len(ways["a", "d"]) == 4
    assert rank["seed"] == rank["d"] - 1, "what is made of nothing stands beside its use"


def test_names_are_escaped_on_the_page() -> None:
    graph = Graph()
    graph.add(Table("<script>", "source"))
    graph.add(Table("landing.a", "landing", (Column("x"),)), "<script>")
    drawn = svg("a & b", graph, graph.edges(), None)
    assert "<script>" not in drawn
    assert "&lt;script&gt;" in drawn
