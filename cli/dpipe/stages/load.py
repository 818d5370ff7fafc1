"""Load: the lake's tables brought to a warehouse that can't read the lake in place."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dpipe.errors import UsageError
from dpipe.iceberg.catalog import metadata_locations
from dpipe.stages import unfinished
from dpipe.stages.locks import held
from dpipe.stages.transform import WAREHOUSE_LOCK
from dpipe.state import runs
from dpipe.warehouse.build_folder import BuildFolder
from dpipe.warehouse.snowflake.lake import detail, load_lake
from dpipe.warehouse.snowflake.session import connected

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from dpipe.settings import Project
    from dpipe.state import Run
    from dpipe.warehouse.snowflake.load import TableLoad


@dataclass(frozen=True)
class LoadResult:
    """What a load did with each table, in the order in which they were loaded."""

    tables: list[TableLoad]
    seconds: float


def load(
    project: Project,
    *,
    afresh: Collection[str] = (),
    run: Run,
    on_table: Callable[[TableLoad], None] = lambda _load: None,
) -> LoadResult:
    """Bring Snowflake's copies of the lake's tables to what the lake has, those of `afresh` from nothing.

    Raises `UsageError` for a table that the lake hasn't, `UnavailableError` when Snowflake doesn't answer.
    """
    started_at, started = datetime.now(UTC), time.perf_counter()
    locations = metadata_locations(project)
    unknown = next((name for name in afresh if name not in locations), None)
    if unknown is not None:
        raise UsageError(
            f"the lake has no table `{unknown}`",
            hint=f"it has {', '.join(f'`{name}`' for name in locations)}",
        )
    with held(project, WAREHOUSE_LOCK), connected(project) as session:
        # A build that failed saw the copies as they were.
        unfinished.forget(BuildFolder.of(project, "snowflake"))
        tables: list[TableLoad] = []

        def done(table: TableLoad) -> None:
            tables.append(table)
            on_table(table)

        try:
            load_lake(project, session, locations, afresh=afresh, on_table=done)
        finally:
            # Copies that were made before it broke off stay, and the next load says nothing of them.
            seconds = round(time.perf_counter() - started, 3)
            kept = detail(project, tables, session.seconds)
            runs.add_stage(run, "load", started_at=started_at, seconds=seconds, detail=kept)
    return LoadResult(tables, seconds)
