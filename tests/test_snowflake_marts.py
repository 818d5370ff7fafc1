"""Marts that dbt builds in Snowflake: equal to DuckDB's, row by row. Against an emulator, by dbt's real adapter."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from dpipe.errors import DataError
from dpipe.lineage.build import build
from dpipe.settings import load_project
from dpipe.stages.publish import publish
from dpipe.stages.targets import opened
from dpipe.stages.transform import transform
from dpipe.state import runs
from dpipe.warehouse import candidate
from dpipe.warehouse.snowflake.session import connected, names_of
from dpipe.warehouse.snowflake.target import SnowflakeTarget
from snowflake_account import account, with_account
from support import run_dpipe
from test_transform import (
    CHANGED_AT,
    CHANGED_PLANES,
    LATER_AIRLINES,
    LATER_AIRPORTS,
    LATER_FLIGHTS,
    LATER_WEATHER,
    small_lake,
)
from warehouse_lake import commit, commit_new_york, new_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dpipe.settings import Project
    from dpipe.stages.publish import PublishResult
    from dpipe.stages.transform import TransformResult

Rows = dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with account(tmp_path_factory.mktemp("account")) as running:
        yield running


def in_snowflake(project: Project) -> Project:
    """The same project with its marts in Snowflake."""
    return load_project(project.root, overrides={"target": "snowflake"})


def built(project: Project, **options: bool) -> TransformResult:
    with runs.recorded(project, "transform") as run:
        return transform(project, run=run, **options)


def published(project: Project) -> PublishResult:
    if project.settings.target == "duckdb":
        candidate.mark_validated(project, ok=True)
    with runs.recorded(project, "publish") as run:
        return publish(project, run=run)


def of_duckdb(project: Project) -> Rows:
    with duckdb.connect(str(project.marts), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        found = connection.execute(
            "select table_name from duckdb_tables() where schema_name = 'marts' order by 1"
        ).fetchall()
        return {
            name: plain(connection.execute(f"select * from marts.{name}").fetchall()) for (name,) in found
        }


def of_snowflake(project: Project, like: Rows) -> Rows:
    """The published marts, columns in the order of DuckDB's."""
    marts = names_of(project).marts
    with connected(project) as session, duckdb.connect(str(project.marts), read_only=True) as connection:
        found = {}
        for name in like:
            described = connection.execute(f"describe marts.{name}").fetchall()
            columns = ", ".join(f'"{column[0].upper()}"' for column in described)
            found[name] = plain(session.execute(f"select {columns} from {marts}.MARTS.{name}"))
        return found


def plain(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows in a fixed order; numbers as the exact values that both say."""
    as_said = [tuple(float(one) if isinstance(one, Decimal) else one for one in row) for row in rows]
    return sorted(as_said, key=repr)


def assert_equal(project: Project) -> None:
    expected = of_duckdb(project)
    found = of_snowflake(in_snowflake(project), expected)
    assert expected.keys() == found.keys()
    for name, rows in expected.items():
        assert found[name] == rows, name


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, port: int) -> Project:
    """A small lake whose marts are built and published in both."""
    project = with_account(small_lake(tmp_path_factory.mktemp("marts") / "project"), port)
    for target in (project, in_snowflake(project)):
        assert built(target).full_refresh == "nothing is published yet"
        assert published(target).changed
    return project


def test_marts_are_those_of_duckdb(project: Project) -> None:
    assert_equal(project)
    snowflake = in_snowflake(project)
    assert not built(snowflake).changed
    assert not published(snowflake).changed
    used = [stage["detail"] for stage in stages(snowflake) if stage["detail"].get("warehouse_seconds")]
    assert used
    assert used[-1]["warehouse_size"] == "XSMALL"


def test_every_column_is_made_of_the_same_ones_as_in_duckdb(project: Project) -> None:
    """But for the step over the copies of the lake's tables."""

    def followed(target: Project) -> dict[str, set[tuple[str, str, bool]]]:
        graph = build(target)
        assert graph.notes == []
        return {
            str(place).lower(): {
                (str(one.place).lower().removeprefix(lake), one.how, one.masked) for one in origins
            }
            for place, origins in graph.origins.items()
            if graph.tables[place.table].kind in {"view", "table", "seed"}
        }

    lake = f"{names_of(project).lake.lower()}."
    found = followed(project)
    assert len(found) > 100
    assert followed(in_snowflake(project)) == found


def test_a_stage_asks_once_which_database_has_the_last_candidate_and_knows_what_it_did_itself(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = SnowflakeTarget._named

    def named(self: SnowflakeTarget, database: str) -> tuple[str, str, Any] | None:
        asked.append(database)
        return real(self, database)

    snowflake = in_snowflake(project)
    with opened(snowflake) as target:
        before = target.contents()
        assert before
        assert before == target.published_contents()
        rows = target.mart_rows()
        monkeypatch.setattr(SnowflakeTarget, "_named", named)
        assert target.mart_rows() == rows
        target.candidate_bytes()
        assert asked == []
        monkeypatch.undo()
        # What was published and is asked for first would be told of as the new candidate.
        target.begin([], upon_published=True)
        target.finish(before.project_hash, "a run")
        after = target.contents()
        assert after
        assert after.candidate_id != before.candidate_id
        assert target.published_contents() == before
        assert target.mart_rows() == rows
        target.publish()
        assert target.contents() == target.published_contents() == after


@pytest.mark.long
def test_marts_are_those_of_duckdb_after_an_increment_and_all_anew(project: Project) -> None:
    snowflake = in_snowflake(project)
    for dataset, rows in (
        ("airlines", LATER_AIRLINES),
        ("airports", LATER_AIRPORTS),
        ("weather", LATER_WEATHER),
        ("flights", LATER_FLIGHTS),
    ):
        commit(project, dataset, rows)
    commit(project, "planes", CHANGED_PLANES, supersedes="tailnum == 'N1'", received_at=CHANGED_AT)
    for target in (project, snowflake):
        increment = built(target)
        assert increment.full_refresh is None
        assert increment.new_batches == {
            "airlines": 1,
            "airports": 1,
            "flights": 1,
            "planes": 1,
            "weather": 1,
        }
        assert published(target).changed
    assert_equal(project)
    incremented = of_snowflake(snowflake, of_duckdb(project))

    assert built(snowflake, full_refresh=True).full_refresh == "asked for"
    published(snowflake)
    assert of_snowflake(snowflake, of_duckdb(project)) == incremented


def stages(project: Project) -> list[dict[str, Any]]:
    return [stage for run in runs.latest(project, 100) for stage in runs.stages(project, run["run_id"])]


@pytest.mark.long
def test_a_test_that_fails_leaves_what_is_published_and_says_rows(tmp_path: Path, port: int) -> None:
    project = in_snowflake(with_account(small_lake(tmp_path / "project"), port))
    (project.transform / "tests" / "assert_no_airline.sql").write_text(
        "select carrier_code from {{ ref('dim_airline') }} where not is_unknown\n"
    )
    with pytest.raises(DataError, match=r"carrier_code UA"):
        built(project)
    failed = run_dpipe(project, "publish", "--json", environment={"DPIPE_TARGET": "snowflake"})
    assert failed.returncode == 2
    assert json.loads(failed.stdout)["error"]["message"] == "there is no candidate to publish"


@pytest.mark.long
def test_new_yorks_marts_are_those_of_duckdb(tmp_path: Path, port: int) -> None:
    project = new_project(tmp_path / "project")
    commit_new_york(project)
    project = with_account(project, port)
    for target in (project, in_snowflake(project)):
        built(target)
        published(target)
    assert_equal(project)
