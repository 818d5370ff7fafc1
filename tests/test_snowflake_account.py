"""What only a real Snowflake account can show: transactions that meet, roles, clones and swaps. Skipped without one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from dpipe.errors import DpipeError
from dpipe.iceberg import metadata_locations
from dpipe.warehouse.snowflake.lake import load_lake
from dpipe.warehouse.snowflake.session import connected, names_of
from snowflake_account import REAL, account, copy_of, with_account
from support import UPSERT, ingest, make_project
from test_snowflake_load import COLUMNS, HEADER, of_lake
from test_snowflake_marts import built, in_snowflake, published
from test_transform import LATER_AIRLINES, small_lake
from warehouse_lake import commit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dpipe.settings import Project

pytestmark = pytest.mark.skipif(REAL is None, reason="`just snowflake-account FILE` names an account")


@pytest.fixture(scope="module", autouse=True)
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with account(tmp_path_factory.mktemp("account")) as running:
        yield running


def test_of_loads_at_once_one_comes_first_and_the_others_are_refused(tmp_path: Path, port: int) -> None:
    project = with_account(make_project(tmp_path / "project", {"orders": UPSERT}), port)
    for number in range(2, 6):
        ingest(project, f"{HEADER}1,2013-01-01,{number}\n{number},2013-01-02,1\n")

        def load(_: int) -> bool:
            with connected(project) as session:
                try:
                    load_lake(project, session, {"raw.orders": metadata_locations(project)["raw.orders"]})
                except DpipeError:
                    return False
                return True

        with ThreadPoolExecutor(3) as pool:
            assert any(pool.map(load, range(3)))
        assert copy_of(project, "raw.orders", COLUMNS) == of_lake(project)


def test_a_reader_sees_published_marts_and_neither_the_candidate_nor_the_lake(
    tmp_path: Path, port: int
) -> None:
    project = in_snowflake(with_account(small_lake(tmp_path / "project"), port))
    for rows in ("", LATER_AIRLINES):
        if rows:
            commit(project, "airlines", rows)
        built(project)
        published(project)
        assert rows_seen(project) > 1
        for hidden in (names_of(project).candidate, names_of(project).build, names_of(project).lake):
            with (
                connected(project, role=names_of(project).reader) as session,
                pytest.raises(DpipeError, match="does not exist or not authorized"),
            ):
                session.execute(f"select count(*) from {hidden}.information_schema.tables")


def rows_seen(project: Project) -> int:
    names = names_of(project)
    with connected(project, role=names.reader) as session:
        return int(session.execute(f"select count(*) from {names.marts}.MARTS.DIM_AIRLINE")[0][0])


def test_a_clone_copies_nothing_and_a_query_outlives_the_swap(tmp_path: Path, port: int) -> None:
    project = in_snowflake(with_account(small_lake(tmp_path / "project"), port))
    built(project)
    published(project)
    marts = names_of(project).marts
    slow = f"select count(*) from {marts}.MARTS.DIM_DATE, table(generator(timelimit => 20))"
    commit(project, "airlines", LATER_AIRLINES)
    built(project)
    with ThreadPoolExecutor(1) as pool, connected(project) as session:
        running = pool.submit(session.execute, slow)
        published(project)
        assert int(running.result()[0][0]) > 0
