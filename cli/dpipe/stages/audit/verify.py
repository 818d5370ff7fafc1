"""Verify: the whole lake, from its files, against the ledger."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyiceberg.table.snapshots import ancestors_of

from dpipe import output
from dpipe.errors import UsageError
from dpipe.iceberg import ledger, open_catalog, tables
from dpipe.iceberg.attempt import commit_record
from dpipe.iceberg.catalog import QUARANTINE, RAW
from dpipe.stages.audit.commits import Commit, check_balance, check_chain, commits_of
from dpipe.stages.audit.files import check_files
from dpipe.stages.audit.findings import DatasetAudit
from dpipe.stages.audit.landed import check_landing
from dpipe.stages.audit.meter import Meter
from dpipe.stages.audit.records import check_records
from dpipe.stages.locks import held

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from dpipe.iceberg.attempt import WrittenFile
    from dpipe.settings import Project


# How often the tables are looked at until no commit is under way.
LOOKS = 5


@dataclass(frozen=True)
class _Lake:
    """A dataset's tables and the ledger's rows of it, at one moment."""

    rows: list[dict[str, Any]]
    raw: Table | None
    quarantine: Table | None


def verify(project: Project, datasets: Sequence[str] | None = None) -> list[DatasetAudit]:
    """Hold landing, tables and ledger of the datasets, of all by default, against each other.

    Nothing is changed, and writers may go on meanwhile. Raises `UsageError` for a dataset of which there is nothing.
    """
    catalog = open_catalog(project)
    known = _datasets(catalog)
    for name in datasets or ():
        if name not in known:
            raise UsageError(
                f"the lake has nothing of a dataset `{name}`",
                hint=f"it has {', '.join(known) or 'none'}; `dpipe process` brings batches into it",
            )
    return [_verify(project, catalog, name) for name in datasets or known]


def _datasets(catalog: Catalog) -> list[str]:
    in_tables = {name for space in (RAW, QUARANTINE) for _, name in catalog.list_tables(space)}
    return sorted(in_tables | {row["dataset"] for row in ledger.rows(catalog)})


def _verify(project: Project, catalog: Catalog, dataset: str) -> DatasetAudit:
    lake = _look(project, catalog, dataset)
    audit = DatasetAudit(dataset)
    commits = commits_of(lake.rows)
    batches = [batch for commit in commits for batch in commit.batches]
    audit.commits, audit.batches = len(commits), len(batches)
    delivered = [batch for batch in batches if batch.origin is None]
    for name in ("records_in", "accepted", "rejected", "duplicate"):
        setattr(audit, name, sum(getattr(batch, name) for batch in delivered))
    audit.superseded = sum(sum(batch.superseded.values()) for batch in batches)
    audit.replayed = sum(batch.accepted for batch in batches if batch.origin is not None)
    check_chain(audit, commits, lake.raw, catalog.properties["warehouse"])
    check_balance(audit, commits)
    workers = project.settings.threads or os.cpu_count() or 1
    in_raw, in_quarantine = _recorded(commits)
    # Landed bytes are read twice: for their hash, and to be counted.
    total = 2 * sum(batch.bytes for batch in batches)
    total += sum(file.bytes for file in (*in_raw, *in_quarantine))
    with output.progress(f"verify {dataset}", total_bytes=total) as on_progress:
        meter = Meter(on_progress)
        check_landing(audit, project, batches, meter, workers=workers)
        readable = []
        for table, recorded in (
            (lake.raw, in_raw),
            (lake.quarantine, in_quarantine),
        ):
            readable.append(check_files(audit, table, recorded, meter, workers=workers))
    check_records(audit, batches, *readable)
    return audit


def _recorded(commits: Sequence[Commit]) -> tuple[list[WrittenFile], list[WrittenFile]]:
    """The files that raw and quarantine must consist of: those that were brought and not replaced."""
    files = [commit.files for commit in commits]
    removed = {file.path for of_one in files for file in (*of_one.removed, *of_one.quarantine_removed)}
    in_raw = [file for of_one in files for file in (*of_one.accepted, *of_one.rewritten)]
    in_quarantine = [file for of_one in files for file in of_one.quarantined]
    return (
        [file for file in in_raw if file.path not in removed],
        [file for file in in_quarantine if file.path not in removed],
    )


def _look(project: Project, catalog: Catalog, dataset: str) -> _Lake:
    """No commit of this machine is half done while the lock is held; one of another is given time to be completed."""
    with held(project, dataset):
        for attempt in range(LOOKS):
            time.sleep(attempt / LOOKS)
            # What a commit does last is looked at first, so that raw has all that is in the others.
            rows = ledger.rows(catalog, dataset) + ledger.compactions(catalog, dataset)
            quarantine = tables.load(catalog, (QUARANTINE, dataset))
            lake = _Lake(rows, tables.load(catalog, (RAW, dataset)), quarantine)
            if _is_recorded(lake, catalog.properties["warehouse"]):
                break
    return lake


def _is_recorded(lake: _Lake, warehouse: str) -> bool:
    """Whether the ledger's rows have every commit of raw that its history has."""
    if lake.raw is None:
        return True
    records = (
        commit_record(snapshot, warehouse)
        for snapshot in ancestors_of(lake.raw.current_snapshot(), lake.raw.metadata)
    )
    known = {row["snapshot_id"] for row in lake.rows}
    return all(record.snapshot_id in known for record in records if record)
