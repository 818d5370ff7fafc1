"""A table's history: which snapshot was current when, and giving up those that nobody needs any more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pyiceberg.table.snapshots import ancestors_of

from dpipe.iceberg.retry import with_retries

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot


def current_at(table: Table, moment: datetime) -> Snapshot | None:
    """The snapshot that was the table's current one; None when it had none then, or has given it up."""
    for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
        if committed_at(snapshot) <= moment:
            return snapshot
    return None


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
