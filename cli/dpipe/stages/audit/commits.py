"""The ledger by itself, and against the raw table's snapshots: the chain of commits, and each batch's sum."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from dpipe.iceberg.attempt import BatchEntry, Files, WrittenFile, commit_record
from dpipe.iceberg.chain import entry_hash
from dpipe.iceberg.existing import EPOCH

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from dpipe.stages.audit.findings import DatasetAudit

ENTRY = tuple(field.name for field in fields(BatchEntry))


@dataclass(frozen=True)
class Commit:
    """The ledger's rows of one raw snapshot; a compaction brings no batches."""

    snapshot_id: int
    batches: tuple[BatchEntry, ...]
    files: Files
    previous_hash: str | None
    entry_hash: str | None
    committed_at_ms: int
    agree: bool
    """Whether the rows say the same of what they share."""

    @property
    def subject(self) -> str:
        """The commit in a finding."""
        return f"snapshot {self.snapshot_id}"


def commits_of(rows: list[dict[str, Any]]) -> list[Commit]:
    """The commits of a dataset's rows (`ledger.rows` and `ledger.compactions`), in no particular order."""
    in_order = sorted(rows, key=lambda row: int(row["snapshot_id"]))
    return [_commit(list(of_one)) for _, of_one in groupby(in_order, key=lambda row: int(row["snapshot_id"]))]


def _commit(rows: list[dict[str, Any]]) -> Commit:
    shared = [
        (row["files"], row.get("previous_hash"), row.get("entry_hash"), row["committed_at"]) for row in rows
    ]
    files, previous, own, _ = shared[0]
    return Commit(
        snapshot_id=rows[0]["snapshot_id"],
        batches=tuple(_entry(row) for row in rows if "batch_id" in row),
        files=_files(files),
        previous_hash=previous,
        entry_hash=own,
        committed_at_ms=(rows[0]["committed_at"] - EPOCH) // timedelta(milliseconds=1),
        agree=all(one == shared[0] for one in shared),
    )


def _entry(row: dict[str, Any]) -> BatchEntry:
    values: dict[str, Any] = {name: row.get(name) for name in ENTRY}
    return BatchEntry(**values | {"received_at": row["received_at"].isoformat(timespec="microseconds")})


def _files(files: list[dict[str, Any]]) -> Files:
    by_kind: dict[str, list[WrittenFile]] = {}
    for file in files:
        written = WrittenFile(file["path"], file["rows"], file["bytes"], file["sha256"])
        by_kind.setdefault(file["kind"], []).append(written)
    return Files.of_kinds(by_kind)


def check_balance(audit: DatasetAudit, commits: list[Commit]) -> None:
    """Records in = accepted + rejected + duplicate, batch by batch, and no batch twice."""
    seen: set[str] = set()
    for commit in commits:
        for batch in commit.batches:
            if batch.records_in != batch.accepted + batch.rejected + batch.duplicate:
                audit.find(
                    "balance",
                    batch.batch_id,
                    f"{batch.records_in:,} records in are not {batch.accepted:,} accepted "
                    f"+ {batch.rejected:,} rejected + {batch.duplicate:,} duplicate",
                )
            if batch.batch_id in seen:
                audit.find("balance", batch.batch_id, "the ledger has the batch twice")
            seen.add(batch.batch_id)


def check_chain(audit: DatasetAudit, commits: list[Commit], raw: Table | None, warehouse: str) -> None:
    """Every commit has the hash that its content gives, and goes on from the one before; snapshots say the same."""
    for commit in commits:
        if not commit.agree:
            audit.find("chain", commit.subject, "its batches' rows differ in files or hashes")
        elif commit.entry_hash is None:
            audit.find("chain", commit.subject, "it has no hash: an older dpipe, which had no chain, made it")
        elif commit.entry_hash != _hash_of(audit.dataset, commit):
            audit.find("chain", commit.subject, "its rows in the ledger aren't those that were committed")
    _check_links(audit, commits)
    _check_snapshots(audit, {commit.snapshot_id: commit for commit in commits}, raw, warehouse)


def _hash_of(dataset: str, commit: Commit) -> str:
    return entry_hash(dataset, commit.previous_hash, commit.batches, commit.files)


def _check_links(audit: DatasetAudit, commits: list[Commit]) -> None:
    """One commit is the first, and every other goes on from another one, each from one of its own."""
    linked = [commit for commit in commits if commit.entry_hash is not None]
    by_hash = {commit.entry_hash: commit for commit in linked}
    followers: dict[str | None, Commit] = {}
    for commit in linked:
        before = commit.previous_hash
        if before is not None and before not in by_hash:
            audit.find("chain", commit.subject, "the commit that it goes on from is not in the ledger")
        if before in followers:
            where = "are both the first" if before is None else f"both go on from {by_hash[before].subject}"
            audit.find("chain", commit.subject, f"it and {followers[before].subject} {where}")
        followers.setdefault(before, commit)


def _check_snapshots(
    audit: DatasetAudit, commits: dict[int, Commit], raw: Table | None, warehouse: str
) -> None:
    """What a snapshot that isn't expired says of its commit is what the ledger says."""
    for snapshot in raw.snapshots() if raw else []:
        record = commit_record(snapshot, warehouse)
        if record is None:
            continue
        commit = commits.get(snapshot.snapshot_id)
        subject = f"snapshot {snapshot.snapshot_id}"
        if commit is None:
            ids = ", ".join(batch.batch_id for batch in record.batches) or "a compaction"
            audit.find(
                "chain",
                subject,
                f"the ledger doesn't have it ({ids}); `dpipe process` completes a commit that broke off",
            )
        elif commit.entry_hash != record.entry_hash:
            audit.find("chain", subject, "its summary has another hash than the ledger")
        elif record.entry_hash != entry_hash(
            audit.dataset, record.previous_hash, record.batches, record.files
        ):
            audit.find("chain", subject, "its summary isn't the one that was committed")
        elif commit.committed_at_ms != record.committed_at_ms:
            audit.find("chain", subject, "the ledger has it at another time")
