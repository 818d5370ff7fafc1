"""Lineage of the flights project's sample: five commands, each a run of its own, then the questions that people ask."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from browsers import chromium
from dpipe.lineage.build import build
from dpipe.settings import Project, load_project
from dpipe.state import runs
from lineage_receiver import SchemaCheckingReceiver, dpipe, receiving, statistics, upstream
from support import make_project, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Received = tuple[Project, SchemaCheckingReceiver]


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Received]:
    root = tmp_path_factory.mktemp("lineage") / "flights"
    made = run_dpipe(make_project(root.parent / "other"), "init", str(root))
    assert made.returncode == 0, made.stderr
    project = load_project(root)
    with receiving() as server:
        for command in ("ingest", "process", "transform", "validate", "publish"):
            done = dpipe(project, server.url, command)
            assert done.returncode == 0, done.stderr
        yield project, server


def test_every_event_is_valid(received: Received) -> None:
    _, server = received
    assert server.problems == []
    assert set(map(tuple, server.runs().values())) == {("START", "COMPLETE")}


def test_one_chain_of_runs_leads_from_a_landed_file_to_a_mart(received: Received) -> None:
    _, server = received
    by_id = {one["run"]["runId"]: one for one in server.events if one["eventType"] == "COMPLETE"}
    published = server.of_job("publish")
    transformed = by_id[upstream(published)["transform"]]
    processed = by_id[upstream(transformed)["process.flights"]]
    landed = by_id[upstream(processed)["ingest.flights"]]
    assert landed["inputs"][0]["name"].endswith("data/flights.csv")
    commands = [
        one["run"]["facets"]["dpipe_run"]["command"] for one in (landed, processed, transformed, published)
    ]
    assert commands == ["ingest", "process", "transform", "publish"]
    (batch,) = landed["run"]["facets"]["dpipe_run"]["batches"]
    taken = transformed["run"]["facets"]["dpipe_run"]["batches"]
    assert {"dataset": "flights", "batchId": batch["batchId"]} in taken
    assert upstream(server.of_job("validate.marts")) == {"transform": transformed["run"]["runId"]}


def test_one_chain_of_datasets_leads_from_a_field_to_a_published_column(received: Received) -> None:
    project, server = received
    made: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for event in server.events:
        for dataset in event["outputs"]:
            for column, of in dataset["facets"].get("columnLineage", {"fields": {}})["fields"].items():
                fields = {(one["name"], one["field"]) for one in of["inputFields"]}
                made.setdefault((dataset["name"], column), set()).update(fields)
    reached, queue = set(), [("warehouse.marts.fct_flights", "departed_at")]
    while queue:
        at = queue.pop()
        reached.add(at)
        queue += made.get(at, set()) - reached
    landing = f"{project.landing}/flights"
    assert {field for name, field in reached if name == landing} == {
        "dep_time",
        "dep_delay",
        "time_hour",
        "minute",
    }


def test_models_are_jobs_below_the_transform_with_their_sql(received: Received) -> None:
    _, server = received
    transformed = server.of_job("transform")
    model = server.of_job("transform.marts.daily_route_performance")
    assert model["run"]["facets"]["parent"]["run"]["runId"] == transformed["run"]["runId"]
    assert "group by" in model["job"]["facets"]["sql"]["query"]
    (output,) = model["outputs"]
    assert (
        statistics(output)["rowCount"]
        == server.of_job("publish")["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"]
    )
    lineage = output["facets"]["columnLineage"]
    (of_count,) = lineage["fields"]["late_departure_count"]["inputFields"]
    assert (of_count["field"], of_count["transformations"][0]["subtype"]) == (
        "departure_delay_minutes",
        "AGGREGATION",
    )
    assert {one["transformations"][0]["subtype"] for one in lineage["dataset"]} == {"GROUP_BY"}
    key = lineage["fields"]["daily_route_id"]["inputFields"]
    assert {one["transformations"][0]["masking"] for one in key} == {True}
    seed = server.of_job("transform.intermediate.weather_bands")
    assert seed["inputs"][0]["name"].endswith("seeds/weather_bands.csv")


def test_checks_are_assertions_on_what_they_looked_at(received: Received) -> None:
    project, server = received
    checks = run_dpipe(project, "runs", "show", runs.latest(project, 2)[1]["run_id"], "--json")
    expected = [one for one in json.loads(checks.stdout)["checks"] if one["layer"] == "marts"]
    listed = [
        assertion
        for dataset in server.of_job("validate.marts")["inputs"]
        for assertion in dataset["inputFacets"]["dataQualityAssertions"]["assertions"]
    ]
    assert len(listed) == len(expected) > 50
    assert all(one["success"] for one in listed)


def lineage(received: Received, *arguments: str) -> dict[str, Any]:
    project, _ = received
    done = run_dpipe(project, "lineage", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def places(edges: list[dict[str, Any]], end: str) -> set[str]:
    return {".".join(part for part in (edge[end]["table"], edge[end]["column"]) if part) for edge in edges}


def test_a_column_is_followed_up_to_the_files(received: Received) -> None:
    found = lineage(received, "fct_flights.departed_at")
    sources = places(found["up"], "source")
    assert {one for one in sources if one.startswith("landing.")} == {
        f"landing.flights.{field}" for field in ("dep_time", "dep_delay", "time_hour", "minute")
    }
    assert "data/flights.csv*" in sources
    assert found["down"] == []
    assert (found["table"], found["column"], found["notes"]) == ("marts.fct_flights", "departed_at", [])


def test_a_field_is_followed_down_to_every_mart(received: Received) -> None:
    found = lineage(received, "landing.planes.manufacturer", "--down")
    assert places(found["down"], "target") == {
        "raw.planes.manufacturer",
        "staging.stg_nycflights__planes.manufacturer",
        "snapshots.snap_nycflights__planes.manufacturer",
        "intermediate.int_aircraft_versions.manufacturer",
        "marts.dim_aircraft.manufacturer",
    }
    assert found["up"] == []


def test_tables_are_followed_and_depth_cuts(received: Received) -> None:
    found = lineage(received, "marts.fct_flights")
    assert places(found["up"], "source") == {
        "data/flights.csv*",
        "landing.flights",
        "raw.flights",
        "staging.stg_nycflights__flights",
        "intermediate.int_flights_enriched",
        "data/planes.csv",
        "landing.planes",
        "raw.planes",
        "staging.stg_nycflights__planes",
        "dpipe_meta.batches_to_transform",
        "snapshots.snap_nycflights__planes",
        "intermediate.int_aircraft_versions",
    }
    assert places(found["down"], "target") == {
        "marts.daily_route_performance",
        "marts.delay_by_weather",
        "marts.dim_date",  # the days that flights mention
    }
    near = lineage(received, "marts.fct_flights", "--up", "--depth", "1")
    assert places(near["up"], "source") == {
        "intermediate.int_flights_enriched",
        "intermediate.int_aircraft_versions",
    }


def test_every_column_of_every_mart_comes_from_a_file_or_is_none_of_a_file(received: Received) -> None:
    """Others are dpipe's and dbt's own, literals, counts of rows, what marks inferred rows, and out of a seed."""
    project, _ = received
    graph = build(project)
    names = [
        f"{table.name}.{column.name}"
        for table in graph.tables.values()
        if table.name.startswith("marts.")
        for column in table.columns or ()
    ]
    from_nowhere = {
        name.removeprefix("marts.")
        for name in names
        if not any(edge.source.table.startswith("data/") for edge in graph.up(graph.find(name)))
    }
    assert from_nowhere == {
        "daily_route_performance.flight_count",
        "delay_by_weather.band_order",
        "delay_by_weather.flight_count",
        "delay_by_weather.weather_band",
        "delay_by_weather.weather_band_id",
        "delay_by_weather.weather_factor",
        "dim_aircraft.is_current",
        "dim_aircraft.is_inferred",
        "dim_aircraft.is_unknown",
        "dim_aircraft.valid_to_at",
        "dim_airline.is_inferred",
        "dim_airline.is_unknown",
        "dim_airport.is_inferred",
        "dim_airport.is_unknown",
        "dim_date.is_unknown",
        "fct_flights.batch_id",
        "fct_flights.record_number",
        "fct_weather_hourly.batch_id",
        "fct_weather_hourly.is_inferred",
        "fct_weather_hourly.is_unknown",
        "fct_weather_hourly.record_number",
    }


def test_the_terminal_shows_a_tree(received: Received) -> None:
    project, _ = received
    shown = run_dpipe(project, "lineage", "daily_route_performance.late_departure_count").stdout
    assert shown.splitlines() == [
        "marts.daily_route_performance.late_departure_count (bigint): Flights that left 15 minutes late or more.",
        "├── comes from",
        "│   └── marts.fct_flights.departure_delay_minutes aggregation",
        "│       └── intermediate.int_flights_enriched.departure_delay_minutes",
        "│           └── staging.stg_nycflights__flights.departure_delay_minutes",
        "│               └── raw.flights.dep_delay",
        "│                   └── landing.flights.dep_delay",
        "│                       └── data/flights.csv*",
        "└── goes to",
        "    └── nothing",
    ]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("fct_flight", "did you mean `marts.fct_flights`"),
        ("fct_flights.departed_on", "has no column `departed_on`\nhint: did you mean"),
        ("flights", "one of several tables"),
    ],
)
def test_a_name_that_is_none_is_met_with_one_that_is(received: Received, asked: str, said: str) -> None:
    project, _ = received
    done = run_dpipe(project, "lineage", asked)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_page_shows_every_table_and_step_and_needs_no_network(received: Received, tmp_path: Path) -> None:
    project, _ = received
    page = tmp_path / "lineage.html"
    assert run_dpipe(project, "lineage", "--html", str(page)).returncode == 0
    text = page.read_text(encoding="utf-8")
    found = lineage(received)
    assert set(re.findall(r'class="box" data-table="([^"]+)"', text)) == {
        table["name"] for table in found["tables"]
    }
    steps = set(re.findall(r'class="step" data-source="([^"]+)" data-target="([^"]+)"', text))
    assert steps == {(edge["source"]["table"], edge["target"]["table"]) for edge in found["edges"]}
    picture = ET.fromstring(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)[0])
    assert picture.tag.endswith("svg")
    assert not re.search(r"""(src|href)\s*=|url\(|@import|fetch\(""", text)


@pytest.mark.browser
def test_a_click_on_a_table_shows_the_ways_through_it(received: Received, tmp_path: Path) -> None:
    project, _ = received
    page_path = tmp_path / "lineage.html"
    run_dpipe(project, "lineage", "--html", str(page_path))
    with chromium() as browser:
        page = browser.new_page()
        page.goto(page_path.as_uri())
        page.click('[data-table="marts.dim_airline"]')
        on = page.eval_on_selector_all(".box.on", "boxes => boxes.map(box => box.dataset.table)")
        page.click("h1")
        left = page.locator(".on").count()
    assert {"data/airlines.csv", "raw.airlines", "raw.flights", "marts.dim_airline"} <= set(on)
    assert not {"raw.planes", "marts.fct_flights", "quarantine.airlines"} & set(on)
    assert left == 0
