"""Maintain: the lake's tables stay quick and small, however many commits there were; no row changes.

Small files are compacted, old history is given up, and files that nothing needs any more are deleted. Every step is a
commit like any other, or touches only what no commit can refer to, so writers and readers may go on meanwhile. Rows of
jobs that are over for long leave the state database, too.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pyiceberg.exceptions import CommitFailedException

from dpipe import failpoints, output
from dpipe.contract import contract_for
from dpipe.errors import DpipeError, UsageError
from dpipe.iceberg import compaction, history, ledger, open_catalog, orphans, storage, tables
from dpipe.iceberg.attempt import Attempt, Files
from dpipe.iceberg.catalog import COMPACTIONS, DISMISSED, LEDGER, NAMESPACES, QUARANTINE, RAW
from dpipe.iceberg.commit import commit_compaction
from dpipe.iceberg.datafiles import data_files, live_files
from dpipe.iceberg.overwrite import replace_files
from dpipe.iceberg.recovery import recover
from dpipe.iceberg.retry import with_retries
from dpipe.iceberg.schema import BATCH_ID, RECORD_NO, row_order
from dpipe.stages.retention import forget_jobs
from dpipe.state import runs
from dpipe.state.usage import Moved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from dpipe.iceberg.attempt import WrittenFile
    from dpipe.iceberg.compaction import Bin, Target
    from dpipe.settings import Project
    from dpipe.state import Run

Name = tuple[str, str]

# A file that no snapshot has may be a running job's until it is so old.
YOUNG = timedelta(days=1)
# What is written between two commits; the more, the likelier that another commit comes between.
MOST_BYTES_A_COMMIT = 1 << 30
# Their names are in the snapshot for as long as it is kept.
MOST_FILES_A_COMMIT = 2_000
TRIES = 5
JOBS = "jobs"


@dataclass
class Upkeep:
    """What was done to a table, or with a dry run would be.

    `compacted_files` became `written_files`; `expired_snapshots` were given up and `kept_snapshots` weren't;
    `removed_files` are off the disk. Bytes are those on disk; what compaction comes to only a real run can tell. `busy`
    is whether writers were quicker every time, so that some small files are left for another run. `removed_rows` are
    only of the table `jobs`, which is the state database's.
    """

    table: str
    compacted_files: int = 0
    compacted_bytes: int = 0
    written_files: int = 0
    written_bytes: int | None = 0
    expired_snapshots: int = 0
    kept_snapshots: int = 0
    removed_files: int = 0
    removed_bytes: int = 0
    removed_rows: int = 0
    busy: bool = False


@dataclass
class _Work:
    project: Project
    catalog: Catalog
    target: Target
    dry_run: bool
    on_progress: Callable[[int, int], None]
    done: dict[Name, Upkeep] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0

    def of(self, name: Name) -> Upkeep:
        return self.done.setdefault(name, Upkeep(".".join(name)))

    def advance(self, rows: int, size: int) -> None:
        """Show that so much more is written."""
        self.rows += rows
        self.bytes += size
        self.on_progress(self.rows, self.bytes)


def maintain(
    project: Project,
    datasets: Sequence[str] | None = None,
    *,
    target: Target,
    keep: timedelta,
    run: Run,
    dry_run: bool = False,
    young: timedelta = YOUNG,
) -> list[Upkeep]:
    """Compact, expire and clean up the tables of the datasets, of all by default, and those that they share.

    Jobs that are over are forgotten after the setting `job_retention_days`. History within `keep` stays readable. Files
    younger than `young` that no snapshot has may be those of a job under way, and stay. With `dry_run` nothing is
    changed. Raises `UsageError` for a dataset of which there is nothing.
    """
    started_at, started = datetime.now(UTC), time.perf_counter()
    catalog = open_catalog(project)
    with output.progress("maintain") as on_progress:
        work = _Work(project, catalog, target, dry_run, on_progress)
        for dataset in _datasets(catalog, datasets):
            if not dry_run:
                recover(catalog, dataset)
            _compact(work, dataset, (RAW, dataset))
            _compact(work, dataset, (QUARANTINE, dataset))
        for name in (LEDGER, COMPACTIONS, DISMISSED):
            _compact_shared(work, name)
        for name in work.done:
            _clean_up(work, name, started_at - keep, started_at - young)
    found = list(work.done.values())
    forgotten = forget_jobs(project, datasets, now=started_at, dry_run=dry_run)
    if forgotten:
        found.append(Upkeep(JOBS, removed_rows=forgotten))
    if not dry_run:
        detail = {"tables": [asdict(upkeep) for upkeep in found]}
        seconds = time.perf_counter() - started
        moved = Moved(
            read=sum(upkeep.compacted_bytes for upkeep in found),
            written=sum(upkeep.written_bytes or 0 for upkeep in found),
        )
        runs.add_stage(run, "maintain", started_at=started_at, seconds=seconds, detail=detail, moved=moved)
    return found


def _datasets(catalog: Catalog, wanted: Sequence[str] | None) -> list[str]:
    # Others' tables may be in a catalog that is shared.
    known = sorted({row["dataset"] for row in ledger.rows(catalog)})
    for name in wanted or ():
        if name not in known:
            raise UsageError(
                f"the lake has no table of a dataset `{name}`", hint=f"it has {', '.join(known) or 'none'}"
            )
    return list(wanted or known)


def _compact(work: _Work, dataset: str, name: Name) -> None:
    """Compact raw or quarantine of a dataset, a part at a time; a part that is beaten is planned anew."""
    if tables.load(work.catalog, name) is None:
        return
    upkeep = work.of(name)
    beaten = 0
    while beaten < TRIES:
        raw = work.catalog.load_table((RAW, dataset))
        # Raw first: what quarantine has is then at least what the commits up to that snapshot of raw brought.
        table = raw if name[0] == RAW else work.catalog.load_table(name)
        parts = compaction.bins(table, work.target)
        if work.dry_run:
            _count(upkeep, parts, None)
            return
        if not parts:
            return
        parts = _first(parts)
        written = _written(work, table, parts, _order(work.project, name, table))
        attempt = _attempt(dataset, raw, name, parts, written)
        if commit_compaction(work.catalog, attempt):
            _count(upkeep, parts, written)
        else:
            beaten += 1
    upkeep.busy = True


def _first(parts: list[Bin]) -> list[Bin]:
    """As many as one commit takes, at least one."""
    taken, size, files = parts[:1], parts[0].bytes, len(parts[0].tasks)
    for part in parts[1:]:
        size += part.bytes
        files += len(part.tasks)
        if size > MOST_BYTES_A_COMMIT or files > MOST_FILES_A_COMMIT:
            break
        taken.append(part)
    return taken


def _written(work: _Work, table: Table, parts: Sequence[Bin], order: Sequence[str]) -> list[WrittenFile]:
    """One durable file for each part; none is left when one fails."""
    written: list[WrittenFile] = []
    try:
        for part in parts:
            written.append(compaction.write(table, part, order))
            work.advance(written[-1].rows, part.bytes)
    except BaseException:
        storage.delete(file.path for file in written)
        raise
    return written


def _order(project: Project, name: Name, table: Table) -> list[str]:
    """Rows lie in the order of their key, so that readers who look for some skip the others."""
    if name[0] == QUARANTINE:
        return [BATCH_ID, RECORD_NO]
    try:
        key = contract_for(project, name[1]).plan.key
    except DpipeError:  # the contract is gone or broken, the table stays
        return []
    names = set(table.schema().column_names)
    return row_order(key) if names.issuperset(key) else []


def _attempt(
    dataset: str, raw: Table, name: Name, parts: Sequence[Bin], written: list[WrittenFile]
) -> Attempt:
    """A commit to raw, whose chain has every change of a dataset's files.

    In raw it is enough that the files are still there. Quarantine follows raw, so what it has is known for one
    snapshot of raw only.
    """
    removed = [file for part in parts for file in part.removed]
    head = raw.current_snapshot()
    files = (
        Files(rewritten=written, removed=removed)
        if name[0] == RAW
        else Files(quarantined=written, quarantine_removed=removed)
    )
    return Attempt(
        dataset=dataset,
        batches=[],
        files=files,
        read_snapshot_id=head.snapshot_id if head else None,
        depends_on_rows=name[0] == QUARANTINE,
    )


def _compact_shared(work: _Work, name: Name) -> None:
    """Compact a table of the ledger; its rows are in the chain, its files aren't."""
    table = tables.load(work.catalog, name)
    if table is None:
        return
    upkeep = work.of(name)
    if work.dry_run:
        _count(upkeep, compaction.bins(table, work.target), None)
        return

    def once() -> tuple[list[Bin], list[WrittenFile]]:
        table = work.catalog.load_table(name)
        parts = compaction.bins(table, work.target)
        written = _written(work, table, parts, ())
        removed = {file.path for part in parts for file in part.removed}
        try:
            if parts:
                replace_files(
                    table.transaction(),
                    added=data_files(table, written, table.spec()),
                    removed=live_files(table, removed),
                    properties={},
                    compaction=True,
                )
        except CommitFailedException:  # and the table was looked at
            storage.delete(file.path for file in written)
            raise
        return parts, written

    parts, written = with_retries(once, ".".join(name))
    _count(upkeep, parts, written)


def _count(upkeep: Upkeep, parts: Sequence[Bin], written: Sequence[WrittenFile] | None) -> None:
    upkeep.compacted_files += sum(len(part.tasks) for part in parts)
    upkeep.compacted_bytes += sum(part.bytes for part in parts)
    upkeep.written_files += len(parts)
    if written is None or upkeep.written_bytes is None:
        upkeep.written_bytes = None if parts else 0
    else:
        upkeep.written_bytes += sum(file.bytes for file in written)


def _clean_up(work: _Work, name: Name, since: datetime, before: datetime) -> None:
    """Give up history from before `since`, then delete what is older than `before` and no longer needed."""
    upkeep = work.of(name)
    there = orphans.stored(work.catalog.load_table(name))
    if not work.dry_run:
        upkeep.expired_snapshots = history.expire(work.catalog, name, since)
        failpoints.reach("after-expiry")
    table = work.catalog.load_table(name)
    _check_alone(work.catalog, table)
    staying = history.kept(table, since) if work.dry_run else table.snapshots()
    upkeep.kept_snapshots = len(staying)
    if work.dry_run:
        upkeep.expired_snapshots = len(table.snapshots()) - len(staying)
    going = orphans.orphans(table, there, staying, before)
    upkeep.removed_files, upkeep.removed_bytes = len(going), sum(file.bytes for file in going)
    if not work.dry_run:
        storage.delete(file.location for file in going)


def _check_alone(catalog: Catalog, table: Table) -> None:
    """Refuse to clean up a folder that has another table's folder in it."""
    own = f"{table.location().rstrip('/')}/"
    for namespace in NAMESPACES:
        for name in catalog.list_tables(namespace):
            location = catalog.load_table(name).location()
            if name[-2:] != table.name()[-2:] and f"{location.rstrip('/')}/".startswith(own):
                raise DpipeError(
                    f"the folder of `{'.'.join(name)}` is inside that of `{'.'.join(table.name())}`, `{own}`",
                    hint="nothing of them was deleted; move one of the tables",
                )


def described(upkeep: Upkeep) -> Iterator[str]:
    """What was done to a table, in words; nothing when there was nothing to do."""
    if upkeep.compacted_files:
        yield f"{upkeep.compacted_files:,} files become {upkeep.written_files:,}"
    if upkeep.expired_snapshots:
        yield f"{upkeep.expired_snapshots:,} snapshots given up"
    if upkeep.removed_files:
        yield f"{upkeep.removed_files:,} files ({upkeep.removed_bytes:,} bytes) removed"
    if upkeep.removed_rows:
        yield f"{upkeep.removed_rows:,} rows removed"
    if upkeep.busy:
        yield "busy: writers were quicker, so small files are left for the next time"
