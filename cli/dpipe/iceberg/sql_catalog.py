"""The SQL catalog, with what pyiceberg 0.12 does over and over again done once.

A table's metadata holds its whole history, so that at some hundred snapshots reading and copying it were most of a
commit's time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table
from pyiceberg.table.snapshots import MetadataLogEntry, Snapshot, SnapshotLogEntry

if TYPE_CHECKING:
    from pyiceberg.typedef import IcebergBaseModel

MOST_PARSED = 16


class LakeCatalog(SqlCatalog):
    """A SQL catalog that parses each metadata file once; those never change."""

    def __init__(self, name: str, **properties: str) -> None:
        super().__init__(name, **properties)
        self._parsed: dict[str, Table] = {}

    def _convert_orm_to_iceberg(self, orm_table: Any) -> Table:  # noqa: ANN401 - a row of the catalog's table
        location = orm_table.metadata_location
        table = self._parsed.get(location) or super()._convert_orm_to_iceberg(orm_table)
        self._parsed[location] = table
        while len(self._parsed) > MOST_PARSED:
            self._parsed.pop(next(iter(self._parsed)), None)
        # A table of its own, since refreshing one changes it.
        return Table(table.name(), table.metadata, table.metadata_location, table.io, self)


def _itself(entry: IcebergBaseModel, _memo: dict[int, object]) -> IcebergBaseModel:
    """A copy of what never changes."""
    return entry


for _entry in (Snapshot, SnapshotLogEntry, MetadataLogEntry):
    _entry.__deepcopy__ = _itself  # type: ignore[method-assign, assignment]
