"""What a commit tells the ledger of its batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe.iceberg.attempt import Attempt, BatchEntry
from dpipe.iceberg.evolved import evolved
from dpipe.iceberg.existing import records_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from pyiceberg.table import Table

    from dpipe.iceberg.dismissed import RecordId
    from dpipe.landing import Manifest
    from dpipe.stages.kernel import BatchCounts, KernelResult
    from dpipe.stages.work import Work


def attempt_of(work: Work, table: Table, group: Sequence[Manifest], result: KernelResult) -> Attempt:
    """The commit of a group whose files the kernel wrote on top of the table as loaded."""
    counts = {batch.batch_id: batch for batch in result.batches}
    replays = any(manifest.origin for manifest in group)
    brought = records_in(table, (file.path for file in result.files.accepted)) if replays else set()
    head = table.current_snapshot()
    return Attempt(
        dataset=work.dataset,
        batches=[_entry(work, table, manifest, counts[manifest.batch_id], brought) for manifest in group],
        files=result.files,
        read_snapshot_id=head.snapshot_id if head else None,
        depends_on_rows=work.contract.plan.compares_rows or work.overwrites or replays,
    )


def _entry(
    work: Work,
    table: Table,
    manifest: Manifest,
    counts: BatchCounts,
    brought: Collection[RecordId],
) -> BatchEntry:
    """A batch for the ledger; `brought` are the accepted records, needed for a replay only."""
    return BatchEntry(
        batch_id=manifest.batch_id,
        kind=manifest.kind,
        source=manifest.source,
        sha256=manifest.sha256,
        bytes=manifest.bytes,
        received_at=manifest.received_at,
        contract=work.contract.hash,
        contract_version=work.contract.version,
        run_id=work.run.run_id,
        records_in=counts.records_in,
        accepted=counts.accepted,
        rejected=counts.rejected,
        duplicate=counts.duplicate,
        violations=counts.violations,
        origin=manifest.origin,
        released=work.released.get(manifest.batch_id),
        superseded={batch_id: len(numbers) for batch_id, numbers in counts.superseded.items()},
        replayed=_ranges(
            number for number in manifest.record_nos or () if (manifest.origin, number) in brought
        ),
        evolved=evolved(work.contract.plan, table),
    )


def _ranges(numbers: Iterable[int]) -> list[list[int]]:
    """The numbers as ranges from the first to the last."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges
