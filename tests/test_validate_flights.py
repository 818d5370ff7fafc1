"""The flights project's own checks: the sample passes them all, and each finds the fault that it is there for."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from dpipe.quality.expectations import run_suites
from dpipe.quality.suite_files import load_suites
from dpipe.stages.transform import transform
from dpipe.stages.validate import validate
from dpipe.state import runs
from dpipe.warehouse import candidate, lake
from dpipe.warehouse.duckdb_target import DuckDbTarget
from warehouse_lake import CHECKOUT, LAYOUT, commit, new_project

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.quality import Layer
    from dpipe.settings import Project

SAMPLE = CHECKOUT / "cli" / "dpipe" / "sample" / "data"
ONE_FLIGHT = (
    "flight_id = (select min(flight_id) from marts.fct_flights where is_departed and not is_diverted)"
)
NOBODY = "'nobody'"

# Relation, what goes wrong in it, and the check that must say so.
FAULTS = [
    ("marts.fct_flights", f"delete from marts.fct_flights where {ONE_FLIGHT}", "row_count_equals_raw"),
    (
        "marts.fct_flights",
        f"insert into marts.fct_flights from marts.fct_flights where {ONE_FLIGHT}",
        "expect_column_values_to_be_unique",
    ),
    (
        "marts.fct_flights",
        f"update marts.fct_flights set departure_delay_minutes = null where {ONE_FLIGHT}",
        "delay_only_when_departed",
    ),
    (
        "marts.fct_flights",
        "update marts.fct_flights set arrival_delay_minutes = 1 where is_cancelled",
        "no_arrival_without_departure",
    ),
    (
        "marts.fct_flights",
        f"update marts.fct_flights set is_cancelled = true where {ONE_FLIGHT}",
        "departed_or_cancelled",
    ),
    (
        "marts.fct_flights",
        f"update marts.fct_flights set is_diverted = true where {ONE_FLIGHT}",
        "diverted_is_departed_without_arrival_delay",
    ),
    (
        "marts.fct_flights",
        f"update marts.fct_flights set departed_at = departed_at + interval 1 day where {ONE_FLIGHT}",
        "departure_is_schedule_plus_delay",
    ),
    (
        "marts.fct_flights",
        f"update marts.fct_flights set distance_miles = 0 where {ONE_FLIGHT}",
        "expect_column_values_to_be_between",
    ),
    *(
        (
            "marts.fct_flights",
            f"update marts.fct_flights set {key} = {value} where {ONE_FLIGHT}",
            f"{key}_is_in_{dimension}",
        )
        for key, value, dimension in [
            ("airline_id", NOBODY, "dim_airline"),
            ("origin_airport_id", NOBODY, "dim_airport"),
            ("destination_airport_id", NOBODY, "dim_airport"),
            ("aircraft_id", NOBODY, "dim_aircraft"),
            ("scheduled_departure_date_id", "19000101", "dim_date"),
            ("departed_date_id", "19000101", "dim_date"),
            ("arrived_date_id", "19000101", "dim_date"),
            ("weather_id", NOBODY, "fct_weather_hourly"),
        ]
    ),
    *(
        (f"marts.{dimension}", f"delete from marts.{dimension} where is_unknown", "one_unknown_member")
        for dimension in ("dim_airline", "dim_airport", "dim_aircraft", "dim_date", "fct_weather_hourly")
    ),
    (
        "marts.fct_flights",
        f"update marts.fct_flights set aircraft_version_id = {NOBODY} where {ONE_FLIGHT}",
        "aircraft_version_id_is_valid_at_departure",
    ),
    (
        "marts.fct_flights",
        f"update marts.fct_flights set arrived_date_id = -1 where {ONE_FLIGHT}",
        "milestones_have_their_days",
    ),
    *(
        ("marts.dim_aircraft", f"update marts.dim_aircraft set {fault}", "versions_follow_each_other")
        for fault in (
            "valid_from_at = '2013-01-01' where tail_number = (select min(tail_number) from marts.dim_aircraft)",
            "valid_to_at = '2013-01-01' where is_unknown",
            "is_current = false where is_unknown",
        )
    ),
    (
        "marts.dim_aircraft",
        "update marts.dim_aircraft set seat_count = seat_count + 1 where not is_inferred",
        "every_reference_record_is_a_member",
    ),
    (
        "marts.dim_aircraft",
        "insert into marts.dim_aircraft from marts.dim_aircraft where is_unknown",
        "one_unknown_member",
    ),
    (
        "marts.dim_aircraft",
        "update marts.dim_aircraft set aircraft_id = 'none' where is_unknown",
        "unknown_member_has_its_key",
    ),
    (
        "marts.dim_airline",
        "update marts.dim_airline set carrier_code = null where carrier_code = 'UA'",
        "only_the_unknown_has_no_code",
    ),
    (
        "marts.dim_airport",
        "update marts.dim_airport set is_inferred = true where airport_code = 'JFK'",
        "every_reference_record_is_a_member",
    ),
    (
        "marts.dim_airport",
        "insert into marts.dim_airport (airport_id, airport_code, is_inferred, is_unknown) "
        "values ('x', 'X', true, false)",
        "inferred_members_are_used",
    ),
    ("marts.dim_date", "delete from marts.dim_date where month_number = 2", "years_are_whole"),
    ("marts.dim_date", "update marts.dim_date set date_id = 7 where date_id = 20130101", "key_is_the_day"),
    (
        "marts.dim_date",
        "update marts.dim_date set is_weekend = not is_weekend",
        "weekend_is_saturday_and_sunday",
    ),
    (
        "marts.fct_weather_hourly",
        "insert into marts.fct_weather_hourly from marts.fct_weather_hourly where batch_id is not null limit 1",
        "expect_compound_columns_to_be_unique",
    ),
    (
        "marts.fct_weather_hourly",
        "delete from marts.fct_weather_hourly where record_number = 1",
        "observed_hours_equal_raw",
    ),
    (
        "marts.fct_weather_hourly",
        "update marts.fct_weather_hourly set is_inferred = true where record_number = 1",
        "inferred_hours_have_no_measures",
    ),
    (
        "marts.daily_route_performance",
        "update marts.daily_route_performance set flight_count = flight_count + 1",
        "sums_equal_the_fact",
    ),
    (
        "marts.daily_route_performance",
        "update marts.daily_route_performance set total_departure_delay_minutes = 1",
        "sums_equal_the_fact",
    ),
    (
        "marts.daily_route_performance",
        "update marts.daily_route_performance set cancelled_flight_count = cancelled_flight_count + 1",
        "departed_and_cancelled_add_up",
    ),
    (
        "marts.daily_route_performance",
        "update marts.daily_route_performance set late_departure_count = departed_flight_count + 1",
        "late_and_diverted_are_among_the_departed",
    ),
    (
        "marts.delay_by_weather",
        "delete from marts.delay_by_weather where weather_factor = 'visibility'",
        "every_factor_counts_every_flight",
    ),
    (
        "marts.delay_by_weather",
        "update marts.delay_by_weather set departed_flight_count = departed_flight_count + 1",
        "departed_and_cancelled_add_up",
    ),
    *(
        (
            f"staging.stg_nycflights__{dataset}",
            f"alter view staging.stg_nycflights__{dataset} rename to whole;"
            f"create view staging.stg_nycflights__{dataset} as from staging.whole limit 10",
            "row_count_equals_raw",
        )
        for dataset in LAYOUT
    ),
    (
        "staging.stg_nycflights__flights",
        "alter view staging.stg_nycflights__flights rename to whole;"
        "create view staging.stg_nycflights__flights as "
        "select * replace (null as departure_delay_minutes) from staging.whole",
        "departed_flights_have_a_delay",
    ),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The flights project with its sample in the lake and in a candidate."""
    made = new_project(tmp_path_factory.mktemp("flights"))
    shutil.copytree(CHECKOUT / "checks", made.checks)
    for dataset in LAYOUT:
        commit(made, dataset, (SAMPLE / f"{dataset}.csv").read_bytes())
    with runs.recorded(made, "transform") as run:
        transform(made, run=run)
    return made


def test_the_sample_passes_every_check(project: Project) -> None:
    with runs.recorded(project, "validate") as run:
        report = validate(project, run=run)
    assert [result.name for result in report.results if result.status != "passed"] == []
    assert {result.relation.partition(".")[0] for result in report.results} == {"raw", "staging", "marts"}
    assert candidate.status(DuckDbTarget(project)).validated is True


@pytest.mark.parametrize(
    ("relation", "fault", "check"), FAULTS, ids=[f"{relation}-{check}" for relation, _, check in FAULTS]
)
def test_a_fault_is_found(project: Project, tmp_path: Path, relation: str, fault: str, check: str) -> None:
    faulty = tmp_path / "faulty.duckdb"
    shutil.copy(project.candidate, faulty)
    with lake.connect(project, faulty) as connection:
        connection.execute(fault)
    layer: Layer = "marts" if relation.startswith("marts.") else "staging"
    suites = [suite for suite in load_suites(project, layer) if suite.relation == relation]
    with lake.connect(project, faulty, read_only=True) as connection:
        results = run_suites(connection, suites)
    assert check in {result.rule for result in results if result.status == "failed"}
    assert not [result for result in results if result.status == "error"]
