"""The commit that decides: one snapshot of `raw.<dataset>` publishes the batches.

A batch is committed when, and only when, a raw snapshot names it. Every try loads the table, looks for its
batches, and appends on top of the very snapshot that it looked at (the catalog refuses any other), so that
two writers can't both publish a batch, nor, where there is a key, a key. Before it appends, it completes what
a writer that died left beneath, so that only the table's head can be a commit that the ledger doesn't have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.snapshots import ancestors_of

from dpipe import failpoints
from dpipe.errors import UnavailableError
from dpipe.iceberg import ledger, storage
from dpipe.iceberg.attempt import ATTEMPT, BATCHES, ENTRY_HASH, Attempt, commit_record, summary_value
from dpipe.iceberg.catalog import RAW
from dpipe.iceberg.datafiles import OtherFieldsError, data_files, live_files
from dpipe.iceberg.overwrite import replace_files
from dpipe.iceberg.recovery import complete, recover, unrecorded
from dpipe.iceberg.repartition import partition_by
from dpipe.iceberg.retry import is_transient, with_retries

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from dpipe.iceberg.attempt import CommitRecord


@dataclass(frozen=True)
class Committed:
    """The batches are published."""

    record: CommitRecord


@dataclass(frozen=True)
class AlreadyCommitted:
    """Another process published some of the batches; nothing of this attempt is visible."""

    batch_ids: frozenset[str]


@dataclass(frozen=True)
class Stale:
    """The table has moved on from the snapshot that was read; nothing of this attempt is visible."""


Outcome = Committed | AlreadyCommitted | Stale


def commit(catalog: Catalog, attempt: Attempt) -> Outcome:
    """Publish the attempt's accepted files and its batches, also when there are no files.

    Unless the outcome is `Committed`, the attempt's files are referenced by nothing and may be deleted.
    Raises `UnavailableError` when the outcome can't be told; then they must stay.
    """
    return with_retries(lambda: _try(catalog, attempt), f"{RAW}.{attempt.dataset}")


def commit_compaction(catalog: Catalog, attempt: Attempt) -> bool:
    """Publish files that hold the rows of others, whole; when writers were quicker they are deleted, and it is False.

    What those writers left undone is completed then, so that the caller may plan anew. Raises as `commit` does.
    """
    failpoints.reach("after-compaction-files")
    outcome = commit(catalog, attempt)
    if isinstance(outcome, Committed):
        failpoints.reach("after-compaction-commit")
        complete(catalog, attempt.dataset, outcome.record)
        return True
    storage.delete(file.path for file in (*attempt.files.rewritten, *attempt.files.quarantined))
    recover(catalog, attempt.dataset)
    return False


def _try(catalog: Catalog, attempt: Attempt) -> Outcome:
    table = catalog.load_table((RAW, attempt.dataset))
    done = _find(catalog, table, attempt)
    if done is not None:
        return done
    for record in unrecorded(catalog, table, attempt.dataset):
        complete(catalog, attempt.dataset, record)
    batch_ids = {entry.batch_id for entry in attempt.batches}
    taken = ledger.known(catalog, attempt.dataset, batch_ids) if batch_ids else None
    if taken:
        return AlreadyCommitted(frozenset(taken))
    head = table.current_snapshot()
    if attempt.depends_on_rows and attempt.read_snapshot_id != (head.snapshot_id if head else None):
        return Stale()
    return _commit(catalog, table, attempt)


def _commit(catalog: Catalog, table: Table, attempt: Attempt) -> Outcome:
    """Commit on top of the table as loaded, and look what became of it."""
    removed = live_files(table, {file.path for file in attempt.files.removed})
    if len(removed) != len(attempt.files.removed):
        return Stale()
    transaction = table.transaction()
    if attempt.partition is not None:
        partition_by(transaction, attempt.partition)
    spec = transaction.table_metadata.spec()
    try:
        added = data_files(table, [*attempt.files.accepted, *attempt.files.rewritten], spec)
    except OtherFieldsError:
        if not attempt.batches:  # the table was changed since a compaction of it began
            return Stale()
        raise
    properties = attempt.summary(catalog.properties["warehouse"], _last_hash(catalog, table, attempt.dataset))
    try:
        replace_files(
            transaction, added=added, removed=removed, properties=properties, compaction=not attempt.batches
        )
    except CommitFailedException:
        raise
    except Exception as error:
        return _look(catalog, attempt, error)
    return _look(catalog, attempt, None)


def _look(catalog: Catalog, attempt: Attempt, error: Exception | None) -> Committed:
    """Find the attempt in the table; only that can say what became of a commit that ended in an error."""
    try:
        done = _find(catalog, catalog.load_table((RAW, attempt.dataset)), attempt)
    except Exception as second:
        if is_transient(second):
            raise  # the next try looks again
        raise _unknown(attempt, error or second) from second
    if done is not None:
        return done
    if error is not None and is_transient(error):
        raise error
    raise _unknown(attempt, error) from error


def _unknown(attempt: Attempt, error: Exception | None) -> UnavailableError:
    return UnavailableError(
        f"the commit to `{RAW}.{attempt.dataset}` did not report back: {type(error).__name__}: {error}",
        hint="run `dpipe process` again: it looks whether the commit happened, and goes on from there",
    )


def _find(catalog: Catalog, table: Table, attempt: Attempt) -> Committed | None:
    for snapshot in table.snapshots():
        if summary_value(snapshot, ATTEMPT) == attempt.attempt_id:
            record = commit_record(snapshot, catalog.properties["warehouse"])
            return None if record is None else Committed(record)
    return None


def _last_hash(catalog: Catalog, table: Table, dataset: str) -> str | None:
    """The hash of the commit that the next one goes on from."""
    for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
        if summary_value(snapshot, BATCHES) is not None:
            return summary_value(snapshot, ENTRY_HASH)
    return ledger.last_hash(catalog, dataset)
