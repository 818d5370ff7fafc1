"""Transform: increments, idempotence, and what a user sees when dbt fails. On a small lake, with real dbt."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from dpipe.errors import ConfigError, DataError, UsageError
from dpipe.stages.publish import publish
from dpipe.stages.transform import TransformPreview, TransformResult, preview, transform, try_models
from dpipe.state import runs
from dpipe.warehouse import batches, candidate, lake
from dpipe.warehouse.build_folder import BuildFolder
from dpipe.warehouse.dbt_process import DBT
from dpipe.warehouse.dbt_results import DbtReport, NodeResult
from dpipe.warehouse.duckdb_target import DuckDbTarget
from warehouse_lake import CHECKOUT, batch_of, commit, forget, new_project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpipe.settings import Project

LATER_AIRLINES = "carrier,name\nZZ,Zig Zag Air\n"
AIRLINES = "carrier,name\nUA,United Air Lines Inc.\n"
AIRPORTS = (
    "faa,name,lat,lon,alt,tz,dst,tzone\nEWR,Newark Liberty Intl,40.69,-74.17,18,-5,A,America/New_York\n"
)
PLANES = (
    "tailnum,year,type,manufacturer,model,engines,seats,speed,engine\n"
    "N1,1999,Fixed wing multi engine,BOEING,737-824,2,149,NA,Turbo-fan\n"
)
WEATHER = "origin,year,month,day,hour,temp,time_hour\nEWR,2013,1,1,5,39.5,2013-01-01T10:00:00Z\n"
FLIGHTS = (
    "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,"
    "carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour\n"
)
FIRST_FLIGHTS = (
    FLIGHTS + "2013,1,1,517,515,2,830,819,11,UA,1,N1,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z\n"
    "2013,1,1,NA,1730,NA,NA,1930,NA,ZZ,2,NA,EWR,SJU,NA,1608,17,30,2013-01-01T22:00:00Z\n"
)
LATER_FLIGHTS = (
    FLIGHTS + "2013,2,1,2400,2359,1,400,405,-5,UA,3,N2,EWR,IAH,200,1400,23,59,2013-02-02T04:00:00Z\n"
    "2013,2,3,515,515,0,815,819,-4,UA,4,N1,EWR,IAH,227,1400,5,15,2013-02-03T10:00:00Z\n"
)
# Flight 1 again, an hour later than it was said to have left; two that are new, one of them due before all others.
CORRECTED_FLIGHTS = (
    FLIGHTS + "2013,1,1,617,515,62,930,819,71,UA,1,N1,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z\n"
    "2012,12,31,2330,2330,0,240,245,-5,UA,5,N1,EWR,IAH,220,1400,23,30,2013-01-01T04:00:00Z\n"
    "2013,2,4,515,515,0,815,819,-4,UA,6,N1,EWR,IAH,227,1400,5,15,2013-02-04T10:00:00Z\n"
)
# An aircraft that has got more seats, and one that only flights named so far.
CHANGED_PLANES = (
    PLANES.replace("149", "155") + "N2,2001,Fixed wing multi engine,AIRBUS,A320-214,2,182,NA,Turbo-fan\n"
)
CHANGED_AT = datetime(2013, 1, 20, 12, tzinfo=UTC)
LATER_AIRPORTS = (
    "faa,name,lat,lon,alt,tz,dst,tzone\nSJU,Luis Munoz Marin Intl,18.4,-66.0,9,-4,N,America/Puerto_Rico\n"
)
LATER_WEATHER = "origin,year,month,day,hour,temp,time_hour\nEWR,2013,1,1,17,41.0,2013-01-01T22:00:00Z\n"


def small_lake(folder: Path) -> Project:
    project = new_project(folder)
    for dataset, csv in {
        "airlines": AIRLINES,
        "airports": AIRPORTS,
        "planes": PLANES,
        "weather": WEATHER,
        "flights": FIRST_FLIGHTS,
    }.items():
        commit(project, dataset, csv, received_at=datetime(2013, 1, 2, tzinfo=UTC))
    return project


def transform_now(project: Project, **options: bool) -> TransformResult:
    with runs.recorded(project, "transform") as run:
        return transform(project, run=run, **options)


def publish_now(project: Project) -> None:
    candidate.mark_validated(project, ok=True)
    with runs.recorded(project, "publish") as run:
        publish(project, run=run)


def query(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql).fetchall()


Marts = dict[str, list[tuple[Any, ...]]]


def marts(database: Path) -> Marts:
    """Every row of every mart, in a fixed order."""
    names = query(database, "select table_name from duckdb_tables() where schema_name = 'marts' order by 1")
    return {name: query(database, f"select * from marts.{name} order by all") for (name,) in names}


def named(database: Path, mart: str, rows: set[tuple[Any, ...]], columns: str) -> list[tuple[Any, ...]]:
    """What the columns say of each of the rows, in order."""
    there = query(
        database,
        f"select column_name from duckdb_columns() where table_name = '{mart}' order by column_index",
    )
    places = [[name for (name,) in there].index(column) for column in columns.split()]
    return sorted(tuple(row[place] for place in places) for row in rows)


def built(project: Project, result: TransformResult) -> list[str]:
    """The models and seeds that a transform built, by its run."""
    (stage,) = [
        stage
        for run in runs.latest(project, 100)
        for stage in runs.stages(project, run["run_id"])
        if stage["stage"] == "transform"
        and stage["detail"]["candidate_id"] == result.candidate_id
        and stage["detail"]["changed"]
    ]
    return [model["name"].rpartition(".")[2] for model in stage["detail"]["models"]]


@dataclass
class Story:
    """What happened to one project, step by step."""

    project: Project
    files: set[str]
    first: TransformResult
    again: TransformResult
    planned: TransformPreview
    airlines: TransformResult
    increment: TransformResult
    incremented: Marts
    corrected: TransformResult
    corrections: Marts
    refreshed: TransformResult
    of_refreshed: Marts
    restored: TransformResult
    before: Path
    """The file that was published first."""
    after: Path
    """The candidate with everything in it."""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """First build, nothing new, publish, a dataset of which little is made, later batches, corrections, then all of it
    anew, and at last a lake that was set back to what it was before an aircraft changed.
    """
    project = small_lake(tmp_path_factory.mktemp("story"))
    before, after = project.root / "before.duckdb", project.root / "after.duckdb"
    files = {str(path) for path in project.transform.rglob("*")}
    first, again = transform_now(project), transform_now(project)
    publish_now(project)
    shutil.copy(project.marts, before)
    commit(project, "airlines", LATER_AIRLINES)
    planned = preview(project)
    airlines = transform_now(project)
    publish_now(project)
    commit(project, "flights", LATER_FLIGHTS)
    commit(project, "airports", LATER_AIRPORTS)
    commit(project, "weather", LATER_WEATHER)
    increment = transform_now(project)
    incremented = marts(project.candidate)
    publish_now(project)
    commit(project, "flights", CORRECTED_FLIGHTS, supersedes="flight == 1")
    commit(project, "planes", CHANGED_PLANES, supersedes="tailnum == 'N1'", received_at=CHANGED_AT)
    corrected = transform_now(project)
    corrections = marts(project.candidate)
    publish_now(project)
    refreshed = transform_now(project, full_refresh=True)
    shutil.copy(project.candidate, after)
    forget(project, "planes", after=batch_of(PLANES))
    restored = transform_now(project)
    return Story(
        project,
        files,
        first,
        again,
        planned,
        airlines,
        increment,
        incremented,
        corrected,
        corrections,
        refreshed,
        marts(after),
        restored,
        before,
        after,
    )


def test_the_first_transform_builds_everything(story: Story) -> None:
    assert story.first.changed
    assert story.first.full_refresh == "nothing is published yet"
    assert story.first.rows["marts.fct_flights"] == 2


def test_the_dbt_project_is_never_written_to(story: Story) -> None:
    assert {str(path) for path in story.project.transform.rglob("*")} == story.files


def test_with_nothing_new_the_candidate_stays(story: Story) -> None:
    assert not story.again.changed
    assert story.again.candidate_id == story.first.candidate_id


def test_the_next_transform_takes_only_the_batches_that_are_new(story: Story) -> None:
    assert story.increment.full_refresh is None
    assert story.increment.new_batches == {"airports": 1, "flights": 1, "weather": 1}
    assert story.increment.rows["marts.fct_flights"] == 4


def test_a_dry_run_says_what_would_be_built(story: Story) -> None:
    assert (story.planned.full_refresh, story.planned.new_batches) == (None, {"airlines": 1})
    names = {name.rpartition(".")[2] for name in story.planned.selected or ()}
    assert set(built(story.project, story.airlines)) < names  # those that it tests, too
    assert "dim_airport" not in names
    current = preview(story.project)
    assert (current.changed, current.selected) == (False, ())
    whole = preview(story.project, full_refresh=True)
    assert (whole.changed, whole.full_refresh, whole.selected) == (True, "asked for", None)


def test_only_what_is_made_of_a_dataset_with_new_batches_is_built(story: Story) -> None:
    assert story.airlines.new_batches == {"airlines": 1}
    assert set(built(story.project, story.airlines)) & set(story.incremented) == {"dim_airline"}
    assert 0 < story.airlines.tests_passed < story.first.tests_passed
    # What it comes to is held by the comparison with a full refresh.
    assert ("ZZ", "Zig Zag Air") in query(
        story.after, "select carrier_code, airline_name from marts.dim_airline"
    )


def test_increments_and_a_full_refresh_give_the_same_marts(story: Story) -> None:
    assert story.refreshed.full_refresh == "asked for"
    assert story.of_refreshed == story.corrections


def test_late_reference_data_turns_an_inferred_member_into_a_known_one(story: Story) -> None:
    named = "select airport_name, is_inferred from marts.dim_airport where airport_code = 'SJU'"
    assert query(story.before, named) == [(None, True)]
    assert query(story.after, named) == [("Luis Munoz Marin Intl", False)]


def test_late_weather_reaches_flights_that_were_transformed_before(story: Story) -> None:
    temperature = """
        select weather.temperature_fahrenheit
        from marts.fct_flights as flights
        inner join marts.fct_weather_hourly as weather on flights.weather_id = weather.weather_id
        where flights.flight_number = 2
    """
    assert query(story.before, temperature) == [(None,)]
    assert query(story.after, temperature) == [(41.0,)]


def test_corrections_late_flights_and_changed_aircraft_change_what_they_should_and_nothing_else(
    story: Story,
) -> None:
    columns = {
        "fct_flights": "flight_number departure_delay_minutes",
        "dim_aircraft": "tail_number version_number is_current",
        "dim_date": "year_number",
        "fct_weather_hourly": "observation_date_id observation_hour",
        "daily_route_performance": "scheduled_departure_date_id destination_airport_code flight_count",
        "delay_by_weather": "weather_factor weather_band flight_count",
    }
    assert story.incremented.keys() == story.corrections.keys()
    left, came = {}, {}
    for mart, names in columns.items():
        was, is_now = set(story.incremented[mart]), set(story.corrections[mart])
        left[mart] = named(story.after, mart, was - is_now, names)
        came[mart] = named(story.after, mart, is_now - was, names)
    others = story.incremented.keys() - columns.keys()
    assert {name: story.incremented[name] for name in others} == {
        name: story.corrections[name] for name in others
    }
    assert left == {
        # Flight 1 was corrected; flight 4 is due after its aircraft changed.
        "fct_flights": [(1, 2), (4, 0)],
        "dim_aircraft": [("N1", 1, True), ("N2", 1, True)],
        "dim_date": [],
        "fct_weather_hourly": [],
        "daily_route_performance": [(20130101, "IAH", 1)],
        "delay_by_weather": [
            ("precipitation", "unknown", 4),
            ("temperature", "32 to 50 °F", 2),
            ("temperature", "unknown", 2),
            ("visibility", "unknown", 4),
            ("wind_speed", "unknown", 4),
        ],
    }
    assert came == {
        "fct_flights": [(1, 62), (4, 0), (5, 0), (6, 0)],
        "dim_aircraft": [("N1", 1, False), ("N1", 2, True), ("N2", 1, True)],
        "dim_date": [(2012,)] * 366,
        "fct_weather_hourly": [
            (20121231, 23),
            (20130204, 5),
        ],
        "daily_route_performance": [(20121231, "IAH", 1), (20130101, "IAH", 1), (20130204, "IAH", 1)],
        "delay_by_weather": [
            ("precipitation", "unknown", 6),
            ("temperature", "32 to 50 °F", 2),
            ("temperature", "unknown", 4),
            ("visibility", "unknown", 6),
            ("wind_speed", "unknown", 6),
        ],
    }


def test_a_flight_points_at_its_aircraft_as_it_was_when_the_flight_was_due(story: Story) -> None:
    seats = """
        select flights.flight_number, aircraft.version_number, aircraft.seat_count
        from marts.fct_flights as flights
        inner join marts.dim_aircraft as aircraft using (aircraft_version_id)
        where flights.tail_number = 'N1'
        order by 1
    """
    assert query(story.after, seats) == [(1, 1, 149), (4, 2, 155), (5, 1, 149), (6, 2, 155)]


def test_versions_begin_when_their_batch_was_received_and_leave_no_gap(story: Story) -> None:
    versions = """
        select valid_from_at::varchar, valid_to_at::varchar, is_current
        from marts.dim_aircraft
        where tail_number = 'N1'
        order by version_number
    """
    assert query(story.after, versions) == [
        ("1900-01-01 00:00:00", "2013-01-20 12:00:00", False),
        ("2013-01-20 12:00:00", "9999-12-31 00:00:00", True),
    ]


def test_late_reference_data_of_an_aircraft_changes_none_of_its_flights(story: Story) -> None:
    of_n2 = "select * from marts.fct_flights where tail_number = 'N2'"
    (flight,) = query(story.after, of_n2)
    assert flight in story.incremented["fct_flights"]
    assert query(story.after, "select seat_count from marts.dim_aircraft where tail_number = 'N2'") == [
        (182,)
    ]


def test_versions_leave_that_a_lake_no_longer_has(story: Story) -> None:
    assert story.restored.full_refresh == "the ledger lacks batches that are published"
    versions = (
        "select tail_number, seat_count, is_current, valid_to_at = '9999-12-31' from marts.dim_aircraft "
    )
    assert query(story.project.candidate, f"{versions} where tail_number is not null order by 1") == [
        ("N1", 149, True, True),
        ("N2", None, True, True),
    ]


def test_dbt_tells_which_datasets_are_due_for_a_new_batch(story: Story) -> None:
    folder = BuildFolder.of(story.project)
    options = {
        "project-dir": story.project.transform,
        "profiles-dir": folder.dbt,
        "target-path": folder.dbt / "target",
        "log-path": folder.dbt / "logs",
    }
    words = [word for name, path in options.items() for word in (f"--{name}", str(path))]
    done = subprocess.run([*DBT, "source", "freshness", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    found = json.loads((folder.dbt / "target" / "sources.json").read_text())["results"]
    assert {one["unique_id"].rpartition(".")[2]: one["status"] for one in found} == {
        "flights": "pass",
        "weather": "pass",
        "planes": "warn",  # received in 2013
    }


def test_the_candidate_knows_which_batches_it_holds(story: Story) -> None:
    held = query(
        story.after,
        "select dataset, count(*) from dpipe_meta.transformed_batches group by 1 order by 1",
    )
    assert held == [("airlines", 2), ("airports", 2), ("flights", 3), ("planes", 2), ("weather", 2)]


def test_staging_views_of_the_candidate_work_over_the_lake(story: Story) -> None:
    with lake.connect(story.project, story.project.candidate, read_only=True) as connection:
        found = connection.execute("select count(*) from staging.stg_nycflights__flights").fetchall()
    assert found == [(6,)]


def test_descriptions_are_in_the_database(story: Story) -> None:
    described = query(
        story.project.candidate, "select comment from duckdb_tables() where table_name = 'fct_flights'"
    )
    assert described[0][0].startswith("One row per scheduled flight")


def test_every_stage_result_is_recorded(story: Story) -> None:
    newest = runs.latest(story.project)[0]
    assert [stage["stage"] for stage in runs.stages(story.project, newest["run_id"])] == ["transform"]


def test_without_a_processed_batch_there_is_nothing_to_transform(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no batch"):
        transform_now(new_project(tmp_path))


@pytest.fixture(scope="module")
def unbuilt(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A lake for what fails: dbt parses a project for seconds, and keeps what it parsed."""
    return small_lake(tmp_path_factory.mktemp("unbuilt"))


@pytest.fixture
def failing(unbuilt: Project) -> Iterator[Project]:
    """The same for each test, but for batches that a test commits: the one that does is the last."""
    files = {path: path.read_bytes() for path in unbuilt.transform.rglob("*.sql")}
    yield unbuilt
    for path in unbuilt.transform.rglob("*.sql"):
        if path not in files:
            path.unlink()
        elif path.read_bytes() != files[path]:
            path.write_bytes(files[path])
    unbuilt.candidate.unlink(missing_ok=True)


def test_a_model_that_cannot_be_built_is_named_with_its_file_and_the_old_candidate_stays(
    failing: Project,
) -> None:
    project = failing
    BuildFolder.of(project)
    batches.begin(project.candidate, [])
    before = batches.finish(project.candidate, "hash", "run")
    model = project.transform / "models" / "marts" / "dim_airline.sql"
    model.write_text(model.read_text().replace("false as is_inferred", "no_such_column as is_inferred"))
    with pytest.raises(ConfigError) as caught:
        transform_now(project)
    assert "`dim_airline`" in caught.value.message
    assert str(model) in caught.value.message
    assert "no_such_column" in caught.value.message
    assert candidate.status(DuckDbTarget(project)).candidate_id == before


def test_a_build_that_failed_is_gone_on_with_and_gives_what_a_whole_one_does(failing: Project) -> None:
    project = failing
    marts_of = project.transform / "models" / "marts"
    airline, airport = marts_of / "dim_airline.sql", marts_of / "dim_airport.sql"
    right = airline.read_text()
    airline.write_text(right.replace("false as is_inferred", "cast(null as boolean) as is_inferred"))
    with pytest.raises(DataError, match=r"dim_airline.*NOT NULL constraint failed.*is_inferred"):
        transform_now(project)
    airline.write_text(right)
    airport.write_text(f"{airport.read_text()}-- changed, too\n")
    gone_on = transform_now(project, retry=True)
    assert sorted(built(project, gone_on)) == ["dim_airline", "dim_airport"]
    after = marts(project.candidate)
    with pytest.raises(UsageError, match="no failed build"):
        transform_now(project, retry=True)
    transform_now(project, full_refresh=True)
    assert marts(project.candidate) == after


def test_what_asks_for_everything_anew_is_not_gone_on_with(failing: Project) -> None:
    """A snapshot keeps what it was given first, and dbt doesn't say what a variable changes."""
    project = failing
    airline = project.transform / "models" / "marts" / "dim_airline.sql"
    airline.write_text("select no_such_column")
    with pytest.raises(ConfigError):
        transform_now(project)
    settings, planes = (
        project.transform / "dbt_project.yml",
        project.transform / "models" / "staging" / "stg_nycflights__planes.sql",
    )
    for path, reason in ((settings, "asks for everything anew"), (planes, "`snap_nycflights__planes`")):
        before = path.read_text()
        path.write_text(f"{before}\n")
        with pytest.raises(UsageError, match=reason) as caught:
            transform_now(project, retry=True)
        assert "without `--retry`" in (caught.value.hint or "")
        path.write_text(before)
    commit(project, "airlines", LATER_AIRLINES)  # of later: the build goes on with what it was begun with
    airline.write_bytes((CHECKOUT / "transform" / "models" / "marts" / "dim_airline.sql").read_bytes())
    assert transform_now(project, retry=True).new_batches["airlines"] == 1


def test_models_are_tried_without_a_candidate(failing: Project) -> None:
    with pytest.raises(UsageError, match="selects nothing by `dim_airlines`"):
        try_models(failing, ["dim_airlines"])
    trial = try_models(failing, ["dim_airline"])
    assert "marts.dim_airline" in trial.built
    assert "marts.fct_flights" not in trial.built
    assert trial.tests_passed > 0
    assert query(Path(trial.database), "select count(*) from marts.dim_airline where is_unknown") == [(1,)]
    assert not failing.candidate.exists()


def test_a_project_that_dbt_cannot_parse_is_a_config_error_with_dbts_words(failing: Project) -> None:
    project = failing
    (project.transform / "models" / "marts" / "broken.sql").write_text("select * from {{ ref('nowhere') }}")
    with pytest.raises(ConfigError, match="nowhere") as caught:
        transform_now(project)
    assert "dbt.log" in (caught.value.hint or "")


def test_a_failing_dbt_test_is_a_data_error_that_says_what_and_where(failing: Project) -> None:
    project = failing
    commit(project, "airlines", "carrier,name\nUA,The same code again\n")
    with pytest.raises(DataError) as caught:
        transform_now(project)
    assert "`unique_stg_nycflights__airlines_carrier_code`" in caught.value.message
    assert "stg_nycflights__airlines.yml" in caught.value.message
    assert caught.value.message.endswith(
        "rows of `unique_stg_nycflights__airlines_carrier_code`:\n  unique_field UA, n_records 2"
    )
    assert "Got 1 result" in caught.value.message
    assert not project.candidate.exists()
    compiled = (caught.value.hint or "").split("`")[1]
    assert os.path.exists(compiled)  # noqa: PTH110


def test_a_dataset_without_a_table_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = new_project(tmp_path)
    (project.contracts / "shipments.odcs.yaml").touch()
    commit(project, "airlines", AIRLINES)
    broken = NodeResult("stg", "unit_test", "fail", "no such table", "stg.sql", "compiled.sql", 0.1)
    monkeypatch.setattr("dpipe.warehouse.duckdb_target.run_dbt", lambda *_, **__: DbtReport((broken,)))
    with pytest.raises(ConfigError) as caught:
        transform_now(project)
    assert "`shipments`" in (caught.value.hint or "")


def test_without_dbt_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = new_project(tmp_path)
    commit(project, "airlines", AIRLINES)
    monkeypatch.setattr("dpipe.warehouse.dbt_process.find_spec", lambda _: None)
    with pytest.raises(ConfigError) as caught:
        transform_now(project)
    assert caught.value.hint == "pip install 'dpipe[dbt]'"


@pytest.mark.long
def test_killed_in_the_middle_it_can_be_run_again(tmp_path: Path) -> None:
    project = small_lake(tmp_path)
    script = (
        f"import sys; sys.path.insert(0, {str(CHECKOUT / 'tests')!r})\n"
        "from pathlib import Path; from test_transform import transform_now; from dpipe.settings import load_project\n"
        f"transform_now(load_project(Path({str(project.root)!r})))"
    )
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        wait_for(project.candidate.parent / "build" / "dbt" / "logs" / "dbt.log")
        process.send_signal(signal.SIGKILL)
    assert not project.candidate.exists()
    # dbt outlives its parent and holds the lock, so this waits for it and then builds in peace.
    assert transform_now(project).rows["marts.fct_flights"] == 2


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.05)
