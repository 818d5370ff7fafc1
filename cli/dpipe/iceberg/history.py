"""A table's history: which snapshot was current when, and giving up those that nobody needs any more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef
from pyiceberg.table.snapshots import ancestors_of

from dpipe.errors import UsageError
from dpipe.iceberg.retry import with_retries

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table.snapshots import Snapshot


def current_at(table: Table, moment: datetime) -> Snapshot | None:
    """The snapshot that was the table's current one; None when it had none then, or has given it up."""
    for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
        if committed_at(snapshot) <= moment:
            return snapshot
    return None


class PastCatalog:
    """A catalog whose tables are those of a moment, columns too; for reading only."""

    def __init__(self, catalog: Catalog, moment: datetime) -> None:
        self._catalog = catalog
        self._moment = moment

    def load_table(self, name: str | tuple[str, str]) -> Table:
        """The table as it was, empty where it had no row yet.

        Raises `UsageError` when its history of then is given up, and what the catalog raises for a missing table.
        """
        table = self._catalog.load_table(name)
        snapshot = current_at(table, self._moment)
        if snapshot is None:
            _check_began_later(table, self._moment)
            past: dict[str, Any] = {"current_snapshot_id": None, "refs": {}}
        else:
            main = SnapshotRef.model_validate({"snapshot-id": snapshot.snapshot_id, "type": "branch"})
            past = {"current_snapshot_id": snapshot.snapshot_id, "refs": {MAIN_BRANCH: main}}
            if snapshot.schema_id is not None:
                past["current_schema_id"] = snapshot.schema_id
        metadata = table.metadata.model_copy(update=past)
        return Table(table.name(), metadata, table.metadata_location, table.io, self._catalog)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the catalog has
        return getattr(self._catalog, name)


def at(catalog: Catalog, moment: datetime | None) -> Catalog:
    """The catalog at a moment; as it is now without one."""
    return catalog if moment is None else cast("Catalog", PastCatalog(catalog, moment))


def _check_began_later(table: Table, moment: datetime) -> None:
    """Sequence numbers begin at 1, so that a later first one tells of snapshots that are gone."""
    first = None
    for first in ancestors_of(table.current_snapshot(), table.metadata):  # noqa: B007 - the last of them is meant
        pass
    if first is not None and (first.sequence_number or 0) > 1:
        raise UsageError(
            f"the history of `{'.'.join(table.name())}` begins at {committed_at(first).isoformat(timespec='seconds')}, "
            f"after {moment.isoformat(timespec='seconds')}",
            hint="earlier snapshots were given up; `dpipe maintain --keep` says how long they are kept",
        )


def committed_at(snapshot: Snapshot) -> datetime:
    """When a snapshot became the current one."""
    return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)


def kept(table: Table, since: datetime) -> list[Snapshot]:
    """Snapshots that were current at some moment since then, or that a branch or tag names; newest first."""
    found = []
    for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
        found.append(snapshot)
        if committed_at(snapshot) <= since:
            break
    ids = {snapshot.snapshot_id for snapshot in found}
    named = {reference.snapshot_id for reference in table.metadata.refs.values()}
    return found + [one for one in table.snapshots() if one.snapshot_id in named - ids]


def expire(catalog: Catalog, name: tuple[str, str], since: datetime) -> int:
    """Give up the snapshots that aren't `kept`, in one commit; how many. Their files stay where they are.

    Age is not that of the snapshot, but how long ago another one took its place: whoever reads it began before that.
    """
    return with_retries(lambda: _expire(catalog.load_table(name), since), ".".join(name))


def _expire(table: Table, since: datetime) -> int:
    staying = {snapshot.snapshot_id for snapshot in kept(table, since)}
    going = [one.snapshot_id for one in table.snapshots() if one.snapshot_id not in staying]
    if going:
        with table.maintenance.expire_snapshots() as expiry:
            expiry.by_ids(going)
    return len(going)
