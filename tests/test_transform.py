"""Transform: increments, idempotence, and what a user sees when dbt fails. On a small lake, with real dbt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from dpipe.errors import ConfigError, DataError, UsageError
from dpipe.stages.publish import publish
from dpipe.stages.transform import TransformPreview, TransformResult, preview, transform
from dpipe.state import runs
from dpipe.warehouse import batches, candidate, lake
from dpipe.warehouse.build_folder import BuildFolder
from dpipe.warehouse.dbt_results import DbtReport, NodeResult
from dpipe.warehouse.duckdb_target import DuckDbTarget
from warehouse_lake import CHECKOUT, commit, new_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
)
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
        commit(project, dataset, csv)
    return project


def transform_now(project: Project, *, full_refresh: bool = False) -> TransformResult:
    with runs.recorded(project, "transform") as run:
        return transform(project, full_refresh=full_refresh, run=run)


def publish_now(project: Project) -> None:
    candidate.mark_validated(project, ok=True)
    with runs.recorded(project, "publish") as run:
        publish(project, run=run)


def query(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def marts(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every mart, in a fixed order."""
    names = query(database, "select table_name from duckdb_tables() where schema_name = 'marts' order by 1")
    return {name: query(database, f"select * from marts.{name} order by all") for (name,) in names}


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
    of_airlines: dict[str, list[tuple[Any, ...]]]
    of_all: dict[str, list[tuple[Any, ...]]]
    increment: TransformResult
    incremented: dict[str, list[tuple[Any, ...]]]
    refreshed: TransformResult


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """First build, nothing new, publish, a dataset of which little is made, later batches, then all of it anew."""
    project = small_lake(tmp_path_factory.mktemp("story"))
    files = {str(path) for path in project.transform.rglob("*")}
    first, again = transform_now(project), transform_now(project)
    publish_now(project)
    commit(project, "airlines", LATER_AIRLINES)
    planned = preview(project)
    airlines, of_airlines = transform_now(project), marts(project.candidate)
    transform_now(project, full_refresh=True)
    of_all = marts(project.candidate)
    commit(project, "flights", LATER_FLIGHTS)
    commit(project, "airports", LATER_AIRPORTS)
    commit(project, "weather", LATER_WEATHER)
    increment = transform_now(project)
    incremented = marts(project.candidate)
    refreshed = transform_now(project, full_refresh=True)
    return Story(
        project,
        files,
        first,
        again,
        planned,
        airlines,
        of_airlines,
        of_all,
        increment,
        incremented,
        refreshed,
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
    assert story.increment.new_batches == {"airlines": 1, "airports": 1, "flights": 1, "weather": 1}
    assert story.increment.rows["marts.fct_flights"] == 3


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
    assert set(built(story.project, story.airlines)) & set(story.of_all) == {"dim_airline"}
    assert 0 < story.airlines.tests_passed < story.first.tests_passed
    assert story.of_airlines == story.of_all
    assert ("ZZ", "Zig Zag Air") in query(
        story.project.candidate, "select carrier_code, airline_name from marts.dim_airline"
    )


def test_an_increment_and_a_full_refresh_give_the_same_marts(story: Story) -> None:
    assert story.refreshed.full_refresh == "asked for"
    assert marts(story.project.candidate) == story.incremented


def test_late_reference_data_turns_an_inferred_member_into_a_known_one(story: Story) -> None:
    named = "select airport_name, is_inferred from marts.dim_airport where airport_code = 'SJU'"
    assert query(story.project.marts, named) == [(None, True)]
    assert query(story.project.candidate, named) == [("Luis Munoz Marin Intl", False)]


def test_late_weather_reaches_flights_that_were_transformed_before(story: Story) -> None:
    temperature = """
        select weather.temperature_fahrenheit
        from marts.fct_flights as flights
        inner join marts.fct_weather_hourly as weather on flights.weather_id = weather.weather_id
        where flights.flight_number = 2
    """
    assert query(story.project.marts, temperature) == [(None,)]
    assert query(story.project.candidate, temperature) == [(41.0,)]


def test_the_candidate_knows_which_batches_it_holds(story: Story) -> None:
    held = query(
        story.project.candidate,
        "select dataset, count(*) from dpipe_meta.transformed_batches group by 1 order by 1",
    )
    assert held == [("airlines", 2), ("airports", 2), ("flights", 2), ("planes", 1), ("weather", 2)]


def test_staging_views_of_the_candidate_work_over_the_lake(story: Story) -> None:
    with lake.connect(story.project, story.project.candidate, read_only=True) as connection:
        found = connection.execute("select count(*) from staging.stg_nycflights__flights").fetchall()
    assert found == [(3,)]


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
    broken = NodeResult("stg", "model", "error", "no such table", "stg.sql", "compiled.sql", 0.1)
    monkeypatch.setattr("dpipe.stages.transform.run_dbt", lambda *_, **__: DbtReport((broken,)))
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
