"""Load: the lake's tables brought to a warehouse that can't read the lake in place."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dpipe.errors import UsageError
from dpipe.iceberg.catalog import metadata_locations
from dpipe.stages import unfinished
from dpipe.stages.locks import held
from dpipe.stages.transform import WAREHOUSE_LOCK
from dpipe.state import runs
from dpipe.warehouse.build_folder import BuildFolder
from dpipe.warehouse.snowflake.lake import load_lake
from dpipe.warehouse.snowflake.session import connected, settings_of

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
    settings = settings_of(project)
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
        tables = load_lake(project, session, locations, afresh=afresh, on_table=on_table)
        warehouse_seconds = session.seconds
    result = LoadResult(tables, round(time.perf_counter() - started, 3))
    detail = {
        "tables": [asdict(table) for table in tables if table.changed],
        "warehouse_seconds": round(warehouse_seconds, 3),
        "warehouse_size": settings.warehouse_size,
    }
    runs.add_stage(run, "load", started_at=started_at, seconds=result.seconds, detail=detail)
    return result
