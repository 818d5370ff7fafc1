"""Lineage of a project whose marts are in Snowflake: loads, models and publications by the names that they have there.

Against an emulator, by the real connector and dbt's real adapter; events against OpenLineage's schemas.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from dpipe.iceberg import ledger, open_catalog
from dpipe.lineage.build import build
from dpipe.lineage.graph import Place
from dpipe.lineage.names import run_uuid, snowflake_namespace
from dpipe.lineage.upstream import committed
from dpipe.lineage.upstream import loads as loads_of
from dpipe.settings import Project, load_project
from dpipe.state import runs
from dpipe.warehouse.snowflake.session import connected, names_of
from lineage_receiver import Event, SchemaCheckingReceiver, dpipe, problems, receiving, statistics, upstream
from snowflake_account import REAL, account, loaded, with_account
from support import ingest, make_project, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(REAL is not None, reason="nothing here depends on what an account does")

NAMESPACE = "snowflake://emulator"
HEADER = "order_id,day,amount\n"
ORDERS = HEADER + "1,2013-01-01,1.5\n2,2013-01-02,2.5\nx,2013-01-02,1\n"
LATER = HEADER + "3,2013-01-02,4.5\n"
TRANSFORM = {
    "dbt_project.yml": """\
name: shop
version: "1.0.0"
config-version: 2
profile: dpipe
flags: {send_anonymous_usage_stats: false}
vars: {lake_database: lake}
models:
  shop:
    staging: {+schema: staging, +materialized: view}
    marts: {+schema: marts, +materialized: table}
""",
    "macros/schemas.sql": """\
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
""",
    "models/sources.yml": """\
version: 2
sources:
  - name: shop
    database: "{{ var('lake_database') }}"
    schema: raw
    tables: [{name: orders}]
""",
    "models/staging/stg_orders.sql": "select order_id, day, amount from {{ source('shop', 'orders') }}\n",
    "models/marts/fct_days.sql": "select day, sum(amount) as amount_total from {{ ref('stg_orders') }} group by day\n",
    "models/marts/fct_days.yml": """\
version: 2
models:
  - name: fct_days
    description: One row per day
    columns: [{name: amount_total, description: Euros of the day}]
""",
}

Received = tuple[Project, SchemaCheckingReceiver]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with account(tmp_path_factory.mktemp("account")) as running:
        yield running


def shop(folder: Path, port: int) -> Project:
    """Orders, and a mart of their days."""
    project = make_project(folder, settings={"target": "snowflake", "max_rejected_share": 1.0})
    for name, text in TRANSFORM.items():
        path = project.transform / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return with_account(project, port)


def done(project: Project, url: str, *arguments: str) -> None:
    answer = dpipe(project, url, *arguments)
    assert answer.returncode == 0, answer.stderr


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Received]:
    """A batch that a command of its own loads, a second one that the transform does; then published."""
    project = shop(tmp_path_factory.mktemp("shop"), port)
    with receiving() as server:
        for number, content in enumerate((ORDERS, LATER)):
            path = project.root / f"{number}.csv"
            path.write_text(content)
            done(project, server.url, "ingest", "orders", str(path))
            done(project, server.url, "process")
            if number == 0:
                done(project, server.url, "warehouse", "load")
        done(project, server.url, "transform")
        done(project, server.url, "publish")
        yield project, server


def of_command(server: SchemaCheckingReceiver, command: str, job: str) -> Event:
    """The end of a job in the only run of a command."""
    (found,) = [
        one
        for one in server.events
        if one["job"]["name"] == job
        and one["eventType"] == "COMPLETE"
        and one["run"]["facets"]["dpipe_run"]["command"] == command
    ]
    return found


def named(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["namespace"], one["name"]) for one in datasets]


def fields(dataset: dict[str, Any]) -> dict[str, str | None]:
    return {one["name"]: one.get("type") for one in dataset["facets"]["schema"]["fields"]}


def made_of(dataset: dict[str, Any], column: str) -> set[tuple[str, str]]:
    inputs = dataset["facets"]["columnLineage"]["fields"][column]["inputFields"]
    return {(one["name"], one["field"]) for one in inputs}


def test_every_event_is_valid_and_every_run_starts_once_and_ends_once(received: Received) -> None:
    _, server = received
    assert server.problems == []
    assert set(map(tuple, server.runs().values())) == {("START", "COMPLETE")}


def test_a_load_says_what_it_read_of_the_lake_and_wrote_to_snowflake(received: Received) -> None:
    project, server = received
    load = of_command(server, "load", "load.raw.orders")
    raw, copy = load["inputs"][0], load["outputs"][0]
    processed = next(
        one for one in server.events if one["job"]["name"] == "process.orders" and one["outputs"]
    )
    assert named([raw]) == named([processed["outputs"][0]])
    assert raw["facets"]["version"] == processed["outputs"][0]["facets"]["version"]
    written = statistics(processed["outputs"][0])
    assert written["rowCount"] == 2
    assert statistics(raw) == written
    assert statistics(copy) == {"rowCount": 2}
    assert named([copy]) == [(NAMESPACE, f"{names_of(project).lake}.RAW.ORDERS")]
    assert fields(copy) == {
        "ORDER_ID": "integer",
        "DAY": "date",
        "AMOUNT": "float",
        "_DPIPE_BATCH_ID": "varchar",
        "_DPIPE_RECORD_NO": "integer",
        "_DPIPE_CONTRACT": "varchar",
        "_DPIPE_PARTITION": "varchar",
    }
    assert made_of(copy, "AMOUNT") == {(raw["name"], "amount")}
    quarantine = of_command(server, "load", "load.quarantine.orders")
    assert statistics(quarantine["outputs"][0]) == {"rowCount": 1}


def test_the_columns_that_a_load_names_are_those_of_its_copy(received: Received) -> None:
    project, server = received
    copy = of_command(server, "load", "load.raw.orders")["outputs"][0]
    database = names_of(project).lake
    with connected(project) as session:
        there = session.execute(
            f"select column_name from {database}.information_schema.columns "
            "where table_schema = 'RAW' and table_name = 'ORDERS' order by ordinal_position"
        )
    assert [name for (name,) in there] == list(fields(copy))


def test_one_chain_of_runs_leads_from_each_file_over_its_load_to_the_mart(received: Received) -> None:
    project, server = received
    by_id = {one["run"]["runId"]: one for one in server.events if one["eventType"] == "COMPLETE"}
    transformed = by_id[upstream(server.of_job("publish"))["transform"]]
    assert transformed is server.of_job("transform")
    listed = transformed["run"]["facets"]["jobDependencies"]["upstream"]
    loads = [by_id[one["run"]["runId"]] for one in listed if one["job"]["name"] == "load.raw.orders"]
    assert [one["run"]["facets"]["dpipe_run"]["command"] for one in loads] == ["load", "transform"]
    batches = [row["batch_id"] for row in ledger.rows(open_catalog(project))]
    for load, batch_id, name in zip(loads, batches, ("0.csv", "1.csv"), strict=True):
        told = load["run"]["facets"]["dpipe_run"]
        assert told["batches"] == [{"dataset": "orders", "batchId": batch_id}]
        assert told["batchCount"] == 1
        processed = by_id[upstream(load)["process.orders"]]
        landed = by_id[upstream(processed)["ingest.orders"]]
        assert landed["inputs"][0]["name"].endswith(name)
    taken = transformed["run"]["facets"]["dpipe_run"]["batches"]
    assert {one["batchId"] for one in taken} == set(batches)
    # A build that takes in the second batch alone builds upon the load that brought it.
    second = committed(project, [("orders", batches[1])])
    (only,) = loads_of(project, second, until=datetime.now(UTC))
    assert run_uuid(only.run_id, only.job) == loads[1]["run"]["runId"]


def test_models_read_the_copies_and_are_called_by_the_candidates_database(received: Received) -> None:
    project, server = received
    names = names_of(project)
    staged = server.of_job("transform.staging.stg_orders")
    mart = server.of_job("transform.marts.fct_days")
    assert named(staged["inputs"]) == [(NAMESPACE, f"{names.lake}.RAW.ORDERS")]
    assert named(staged["outputs"]) == [(NAMESPACE, f"{names.candidate}.STAGING.STG_ORDERS")]
    assert named(mart["inputs"]) == named(staged["outputs"])
    (output,) = mart["outputs"]
    assert named([output]) == [(NAMESPACE, f"{names.candidate}.MARTS.FCT_DAYS")]
    assert list(fields(output)) == ["DAY", "AMOUNT_TOTAL"]
    assert fields(output)["DAY"] == "date"
    assert output["facets"]["schema"]["fields"][1]["description"] == "Euros of the day"
    assert statistics(output) == {"rowCount": 2}
    assert made_of(output, "AMOUNT_TOTAL") == {(f"{names.candidate}.STAGING.STG_ORDERS", "AMOUNT")}
    assert mart["job"]["facets"]["sql"]["dialect"] == "snowflake"


def test_one_chain_of_datasets_leads_from_a_field_to_a_published_column(received: Received) -> None:
    project, server = received
    made: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for event in server.events:
        for dataset in event["outputs"]:
            for column in dataset["facets"].get("columnLineage", {"fields": {}})["fields"]:
                made.setdefault((dataset["name"], column), set()).update(made_of(dataset, column))
    names = names_of(project)
    ways, queue = [], [(f"{names.marts}.MARTS.FCT_DAYS", "AMOUNT_TOTAL")]
    while queue:
        ways.append(queue.pop())
        queue += made.get(ways[-1], set())
    raw = of_command(server, "load", "load.raw.orders")["inputs"][0]["name"]
    assert ways == [
        (f"{names.marts}.MARTS.FCT_DAYS", "AMOUNT_TOTAL"),
        (f"{names.candidate}.MARTS.FCT_DAYS", "AMOUNT_TOTAL"),
        (f"{names.candidate}.STAGING.STG_ORDERS", "AMOUNT"),
        (f"{names.lake}.RAW.ORDERS", "AMOUNT"),
        (raw, "amount"),
        (f"{project.landing}/orders", "amount"),
    ]


def test_the_events_of_a_run_are_the_same_again_whatever_the_target_is_now(received: Received) -> None:
    project, server = received
    for command in ("load", "transform", "publish"):
        run = next(one for one in runs.latest(project, 20) if one["command"] == command)
        printed = run_dpipe(project, "runs", "events", run["run_id"], environment={"DPIPE_TARGET": "duckdb"})
        assert printed.returncode == 0, printed.stderr
        again = [json.loads(line) for line in printed.stdout.splitlines()]
        ids = {one["run"]["runId"] for one in again}
        assert len(again) > 2
        assert again[1:] == [one for one in server.events if one["run"]["runId"] in ids][1:]


def test_a_load_that_has_nothing_to_bring_is_a_run_without_a_job(received: Received, tmp_path: Path) -> None:
    project, _ = received
    file = tmp_path / "events.ndjson"
    again = run_dpipe(project, "warehouse", "load", environment={"DPIPE_LINEAGE_FILE": str(file)})
    assert again.returncode == 0, again.stderr
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(one["eventType"], one["job"]["name"]) for one in events] == [
        ("START", "dpipe.load"),
        ("COMPLETE", "dpipe.load"),
    ]
    assert [problem for one in events for problem in problems(one)] == []


def test_lineage_shows_the_copies_between_the_lake_and_the_models(received: Received) -> None:
    project, _ = received
    copy = f"{names_of(project).lake}.RAW.ORDERS"
    shown = run_dpipe(project, "lineage", "fct_days.amount_total", "--up").stdout
    assert shown.splitlines() == [
        "marts.fct_days.AMOUNT_TOTAL (float): Euros of the day",
        "└── comes from",
        "    └── staging.stg_orders.AMOUNT aggregation",
        f"        └── {copy}.AMOUNT",
        "            └── raw.orders.amount",
        "                └── landing.orders.amount",
        "                    └── API",
    ]
    graph = build(project)
    assert graph.notes == []
    assert {edge.target for edge in graph.down(Place("raw.orders"))} == {
        Place(copy),
        Place("staging.stg_orders"),
        Place("marts.fct_days"),
    }
    # In DuckDB, which reads the lake in place, there is none.
    assert copy not in build(load_project(project.root, overrides={"target": "duckdb"})).tables


def test_a_load_that_breaks_off_fails_with_its_error_and_tells_of_what_it_had_copied(
    tmp_path: Path, port: int
) -> None:
    project = shop(tmp_path, port)
    ingest(project, ORDERS)
    loaded(project)
    with connected(project) as session:
        session.execute(f"delete from {names_of(project).table('raw.orders')} where order_id = 1")
    ingest(project, LATER + "y,2013-01-02,1\n")
    with receiving() as server:
        failed = dpipe(project, server.url, "warehouse", "load")
        assert failed.returncode != 0
        assert server.problems == []
        said = server.of_job("dpipe.load", "FAIL")["run"]["facets"]["errorMessage"]["message"]
        assert "has 2 rows, its files 3" in said
        # It comes before `raw`, by name.
        assert statistics(server.of_job("load.quarantine.orders")["outputs"][0]) == {"rowCount": 1}
        assert not [one for one in server.events if one["job"]["name"] == "load.raw.orders"]


def test_a_load_before_a_build_that_fails_is_told_of(tmp_path: Path, port: int) -> None:
    project = shop(tmp_path, port)
    (project.transform / "models" / "marts" / "fct_days.sql").write_text("select nothing from nowhere\n")
    ingest(project, ORDERS)
    with receiving() as server:
        assert dpipe(project, server.url, "transform").returncode == 2
        assert server.problems == []
        assert statistics(server.of_job("load.raw.orders")["outputs"][0]) == {"rowCount": 2}
        assert server.of_job("dpipe.transform", "FAIL")
        assert not [one for one in server.events if one["job"]["name"] == "transform"]


def test_the_newest_batches_of_very_many_are_named(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dpipe.warehouse.snowflake.load.MOST_BATCHES", 2)
    project = shop(tmp_path, port)
    for number in range(3):
        ingest(project, f"{HEADER}{number},2013-01-01,1\n")
    table = {one.table: one for one in loaded(project).tables}["raw.orders"]
    ids = [row["batch_id"] for row in ledger.rows(open_catalog(project))]
    assert (list(table.batches), table.batch_count) == (ids[1:], 3)


@pytest.mark.parametrize(
    ("account", "namespace"),
    [
        ("myorg-myaccount", "snowflake://myorg-myaccount"),
        ("myorg-myaccount.privatelink", "snowflake://myorg-myaccount"),
        ("xy12345.us-east-1", "snowflake://xy12345.us-east-1"),
        ("xy12345.east-us-2.azure", "snowflake://xy12345.east-us-2.azure"),
    ],
)
def test_an_account_is_a_namespace_by_the_naming_conventions(account: str, namespace: str) -> None:
    assert snowflake_namespace(account) == namespace
