"""The lake seen from DuckDB."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import duckdb
import pytest
from dpipe.errors import ConfigError, UnavailableError
from dpipe.warehouse import lake
from warehouse_lake import commit, new_project

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project

WEATHER = "origin,year,month,day,hour,temp,time_hour\nEWR,2013,1,1,5,39.5,2013-01-01T10:00:00Z\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = new_project(tmp_path)
    commit(project, "airlines", "carrier,name\nUA,United\nAA,American\n")
    return project


def test_raw_tables_and_the_ledger_are_views(project: Project) -> None:
    with lake.connect(project) as connection:
        assert connection.execute("select count(*) from lake.raw.airlines").fetchall() == [(2,)]
        assert connection.execute("select dataset from lake.dpipe.batches").fetchall() == [("airlines",)]


def test_a_connection_sees_one_moment_and_the_next_one_sees_later_commits(project: Project) -> None:
    count = "select count(*) from lake.raw.airlines"
    with lake.connect(project) as connection:
        commit(project, "airlines", "carrier,name\nZZ,Later\n")
        assert connection.execute(count).fetchall() == [(2,)]
    with lake.connect(project) as connection:
        assert connection.execute(count).fetchall() == [(3,)]


def test_a_database_opened_read_only_sees_the_lake_too(project: Project, tmp_path: Path) -> None:
    database = tmp_path / "some.duckdb"
    duckdb.connect(str(database)).close()
    with lake.connect(project, database, read_only=True) as connection:
        assert connection.execute("select count(*) from lake.raw.airlines").fetchall() == [(2,)]
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            connection.execute("create table made (a integer)")


def test_two_connections_of_one_process_to_one_file_work_side_by_side(
    project: Project, tmp_path: Path
) -> None:
    database = tmp_path / "some.duckdb"
    with lake.connect(project, database) as first, lake.connect(project, database) as second:
        assert (
            first.execute("from lake.raw.airlines").fetchall()
            == second.execute("from lake.raw.airlines").fetchall()
        )


def test_clock_times_are_utc_wherever_the_machine_stands(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(project, "weather", WEATHER)
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        with lake.connect(project) as connection:
            shown = connection.execute("select cast(time_hour as varchar) from lake.raw.weather").fetchall()
    time.tzset()
    assert shown == [("2013-01-01 10:00:00+00",)]


def test_a_file_that_another_process_writes_is_unavailable(project: Project, tmp_path: Path) -> None:
    database = tmp_path / "held.duckdb"
    hold = f"import duckdb; c = duckdb.connect({str(database)!r}); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UnavailableError, match=r"held\.duckdb"):
            lake.connect(project, database)
        holder.communicate("\n")


def test_a_table_without_its_metadata_file_is_named(tmp_path: Path) -> None:
    with duckdb.connect() as connection, pytest.raises(UnavailableError, match=r"raw\.gone"):
        lake.attach_lake(connection, {"raw.gone": f"file://{tmp_path}/gone.metadata.json"})


def test_names_that_need_quoting_are_quoted(project: Project) -> None:
    locations = {'raw.odd"name': next(iter(_locations(project).values()))}
    with duckdb.connect() as connection:
        lake.attach_lake(connection, locations)
        assert connection.execute('select count(*) from lake.raw."odd""name"').fetchall()


def test_extensions_of_another_duckdb_are_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(duckdb, "__version__", "9.9.9")
    with duckdb.connect() as connection, pytest.raises(ConfigError) as caught:
        lake.load_extensions(connection)
    assert caught.value.hint == "install `duckdb-extension-avro==9.9.9`"


def _locations(project: Project) -> dict[str, str]:
    from dpipe.iceberg.catalog import metadata_locations

    return metadata_locations(project)
