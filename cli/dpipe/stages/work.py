"""A dataset under way: what it works with, and what has been committed and refused so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dpipe import output
from dpipe.iceberg import ledger
from dpipe.iceberg.evolved import evolved
from dpipe.iceberg.recovery import unrecorded
from dpipe.state import refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from dpipe.contract import Contract, Plan
    from dpipe.iceberg.attempt import BatchEntry
    from dpipe.landing import Manifest
    from dpipe.settings import Project
    from dpipe.state import Run


@dataclass(frozen=True)
class Refusal:
    """A batch that was refused in this run: why, and where its files are for a look.

    Those are what the kernel wrote, or what has landed when the kernel couldn't process it.
    """

    batch_id: str
    source: str
    reasons: tuple[str, ...]
    files: str


@dataclass
class Work:
    """A dataset under way: what it works with, and what has been committed and refused so far."""

    project: Project
    run: Run
    contract: Contract
    catalog: Catalog
    committed: list[BatchEntry] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    profiles: list[list[dict[str, Any]]] = field(default_factory=list)
    bytes_written: int = 0
    """Of the files that were committed."""
    snapshot_id: int | None = None
    outbox: Path | None = None
    """Where files wait to be uploaded; None when the tables are on this machine's disk."""
    released: Mapping[str, str] = field(default_factory=dict)
    """Batches that are committed whatever the gate says, and why."""
    received: dict[str, datetime] = field(default_factory=dict)
    received_until: int | None = None
    """When committed batches were received, as of that snapshot of raw."""
    stop: Callable[[], bool] = lambda: False
    """Asked before each commit's batches are begun; once it says so, the rest stays pending."""
    left_out: set[str] = field(default_factory=set)
    """Fields that the contract doesn't know and that can't become columns."""

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self.contract.dataset

    def plan(self, table: Table) -> Plan:
        """The contract's plan, with the columns that records brought."""
        return self.contract.plan.grown(evolved(self.contract.plan, table))

    @property
    def overwrites(self) -> bool:
        """Whether a batch replaces whole partitions."""
        return self.contract.plan.write_mode == "overwrite_partition"

    def refused_folder(self, manifest: Manifest) -> Path:
        """Where the files of a refused batch are kept for a look."""
        return self.project.refused / self.dataset / manifest.batch_id

    def refuse(self, refusal: Refusal, counts: dict[str, int]) -> None:
        """Remember that a batch stays out, and say so."""
        refused.remember(self.project, self.dataset, refusal.batch_id, refusal.reasons, counts)
        self.refused.append(refusal)
        output.warn(
            f"batch `{refusal.batch_id}` of `{self.dataset}` is refused: {'; '.join(refusal.reasons)}"
        )

    def newer(self, table: Table, group: Sequence[Manifest]) -> dict[str, set[str]]:
        """For each batch those that were received after it; after a replay's origin, of a replay."""
        head = table.current_snapshot()
        if head is not None and head.snapshot_id != self.received_until:
            # A commit that another writer hasn't told the ledger of yet counts, and is asked for again.
            waiting = unrecorded(self.catalog, table, self.dataset)
            self.received = ledger.received(self.catalog, self.dataset)
            self.received |= received(entry for record in waiting for entry in record.batches)
            self.received_until = None if waiting else head.snapshot_id
        newer = {}
        for manifest in group:
            own = self.received.get(manifest.origin or "", datetime.fromisoformat(manifest.received_at))
            newer[manifest.batch_id] = {batch_id for batch_id, at in self.received.items() if at > own}
        return newer


def received(batches: Iterable[BatchEntry]) -> dict[str, datetime]:
    """When batches were received; a replay's records came with its origin."""
    return {
        batch.batch_id: datetime.fromisoformat(batch.received_at) for batch in batches if batch.origin is None
    }
