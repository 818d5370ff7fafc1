"""The lake's tables in Snowflake: each brought to what the lake has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe.folders import make_private
from dpipe.iceberg.catalog import LEDGER, open_catalog
from dpipe.warehouse.snowflake.load import TableLoad, load
from dpipe.warehouse.snowflake.session import names_of
from dpipe.warehouse.snowflake.table_copy import TableCopy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from dpipe.settings import Project
    from dpipe.warehouse.snowflake.session import Session


def load_lake(
    project: Project,
    session: Session,
    tables: Sequence[str],
    *,
    afresh: Collection[str] = (),
    on_table: Callable[[TableLoad], None] = lambda _load: None,
) -> list[TableLoad]:
    """Bring the copies of these tables (`<namespace>.<table>`) to what the lake has now, the ledger last.

    So what the ledger's copy names is in the other copies. Copies of `afresh` are dropped and made anew. A load that
    breaks off leaves each table as it was or as it is to be; run it again.
    """
    catalog, names = open_catalog(project), names_of(project)
    # The lake's tables are looked at with the ledger first, so that they have what it names.
    ordered = sorted(tables, key=lambda name: (name == ".".join(LEDGER), name))
    found = {name: catalog.load_table(tuple(name.split("."))) for name in reversed(ordered)}
    spool = make_private(project.spool)
    loads = []
    for name in ordered:
        copy = TableCopy(session, names, name)
        if name in afresh:
            copy.drop()
        loads.append(load(session, copy, found[name], spool))
        on_table(loads[-1])
    return loads
