"""What follows a raw commit, and doing it for commits that a crash left without.

Quarantine files first, then the ledger's rows; both from the raw snapshot's summary alone. A raw snapshot is
complete when the ledger has its batches, so the ledger comes last.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pyiceberg.table.snapshots import ancestors_of

from dpipe import failpoints
from dpipe.iceberg import ledger, tables
from dpipe.iceberg.attempt import RAW_SNAPSHOT, commit_record, summary_value
from dpipe.iceberg.catalog import QUARANTINE, RAW
from dpipe.iceberg.datafiles import data_files, live_files
from dpipe.iceberg.overwrite import replace_files
from dpipe.iceberg.retry import with_retries

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from dpipe.iceberg.attempt import CommitRecord

SURELY_KEPT_SECONDS = 600


def recover(catalog: Catalog, dataset: str) -> list[CommitRecord]:
    """Complete the dataset's raw commits that the ledger doesn't know, oldest first; returns them."""
    table = tables.load(catalog, (RAW, dataset))
    if table is None or table.current_snapshot() is None:
        return []
    records = unrecorded(catalog, table, dataset)
    for record in records:
        complete(catalog, dataset, record)
    return records


def complete(catalog: Catalog, dataset: str, record: CommitRecord) -> None:
    """Do what follows a raw commit; doing it again changes nothing."""
    if record.files.quarantined:
        tables.quarantine_table(catalog, dataset)
        with_retries(lambda: _append_quarantine(catalog, dataset, record), f"{QUARANTINE}.{dataset}")
    failpoints.reach("after-quarantine-commit")
    ledger.append(catalog, dataset, record)
    failpoints.reach("after-ledger")


def unrecorded(catalog: Catalog, table: Table, dataset: str) -> list[CommitRecord]:
    """Commits newer than the ledger, oldest first: from the table's head back to one that it has whole.

    None can be older than that one, since `commit` completes what is beneath before it appends.
    """
    found = []
    for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
        record = commit_record(snapshot, catalog.properties["warehouse"])
        if record is None:
            continue
        if ledger.has(catalog, dataset, record):
            break
        found.append(record)
    return found[::-1]


def _append_quarantine(catalog: Catalog, dataset: str, record: CommitRecord) -> None:
    table = catalog.load_table((QUARANTINE, dataset))
    done = str(record.snapshot_id)
    if any(summary_value(snapshot, RAW_SNAPSHOT) == done for snapshot in table.snapshots()):
        return
    # That snapshot may be given up by now, when this process was stopped for long.
    if _is_old(record) and ledger.has(catalog, dataset, record):
        return
    replace_files(
        table.transaction(),
        added=data_files(table, record.files.quarantined, table.spec()),
        removed=live_files(table, {file.path for file in record.files.quarantine_removed}),
        properties={RAW_SNAPSHOT: done},
        compaction=not record.batches,
    )


def _is_old(record: CommitRecord) -> bool:
    """Whether history of the time of the commit may be gone; it is kept for an hour at least."""
    return time.time() - record.committed_at_ms / 1000 > SURELY_KEPT_SECONDS
