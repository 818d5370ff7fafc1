"""The lake's tables in Snowflake: each brought to what the lake has."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dpipe.iceberg.catalog import LEDGER, table_at
from dpipe.warehouse.snowflake.load import TableLoad, load
from dpipe.warehouse.snowflake.session import names_of, settings_of
from dpipe.warehouse.snowflake.table_copy import TableCopy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from dpipe.settings import Project
    from dpipe.warehouse.snowflake.session import Session


def load_lake(
    project: Project,
    session: Session,
    locations: Mapping[str, str],
    *,
    afresh: Collection[str] = (),
    on_table: Callable[[TableLoad], None] = lambda _load: None,
) -> list[TableLoad]:
    """Bring the copies of tables to what their metadata files at `locations` have, the ledger's last.

    The files are of one moment, so what the ledger's copy names is in the other copies. Copies of `afresh` are dropped
    and made anew. A load that breaks off leaves each table as it was or as it is to be; run it again.
    """
    names, loads = names_of(project), []
    # Not in the project, whose path may have characters that the connector takes for a pattern.
    with TemporaryDirectory(prefix="dpipe-") as spool:
        for name in sorted(locations, key=lambda name: (name == ".".join(LEDGER), name)):
            copy = TableCopy(session, names, name)
            if name in afresh:
                copy.drop()
            loads.append(load(session, copy, table_at(project, locations[name]), Path(spool)))
            on_table(loads[-1])
    return loads


def detail(project: Project, tables: Iterable[TableLoad], seconds: float) -> dict[str, Any]:
    """What a run keeps of a load: the tables that changed; `dpipe.cost` has the names of what it cost."""
    return {
        "target": "snowflake",
        "tables": [asdict(table) for table in tables if table.changed],
        "warehouse_seconds": round(seconds, 3),
        "warehouse_size": settings_of(project).warehouse_size,
    }
