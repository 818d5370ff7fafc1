"""Commits that are said to have failed are looked up before anybody believes it.

A transport that asks again when an answer is lost meets its own commit, and the catalog calls it a conflict. pyiceberg
0.12 would then delete the manifests of the snapshot that is the table's current one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.table import CommitTableResponse
from pyiceberg.table.update import AddSnapshotUpdate

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table
    from pyiceberg.table.update import TableRequirement, TableUpdate


def looking_up(catalog: Catalog) -> Catalog:
    """The catalog, whose commits fail only when the table doesn't have their snapshots."""
    commit_table = catalog.commit_table

    def commit(
        table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        try:
            return commit_table(table, requirements, updates)
        except CommitFailedException as error:
            added = [
                update.snapshot.snapshot_id for update in updates if isinstance(update, AddSnapshotUpdate)
            ]
            if not added:
                raise
            try:
                now = catalog.load_table(table.name())
            except Exception as second:
                raise CommitStateUnknownException(f"{error}; and the table can't be looked at") from second
            if any(now.metadata.snapshot_by_id(snapshot_id) is None for snapshot_id in added):
                raise
            return CommitTableResponse.model_validate(
                {"metadata": now.metadata, "metadata-location": now.metadata_location}
            )

    catalog.commit_table = commit  # type: ignore[method-assign]
    return catalog
