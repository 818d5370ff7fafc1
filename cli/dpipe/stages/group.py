"""One group of landed batches through kernel, gate and commit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dpipe import failpoints, output
from dpipe.errors import DpipeError, UnavailableError
from dpipe.iceberg import ledger, quarantine, storage, tables
from dpipe.iceberg.commit import Committed, commit
from dpipe.iceberg.datafiles import data_location
from dpipe.iceberg.existing import ExistingRows, accepted_numbers
from dpipe.iceberg.recovery import complete, recover
from dpipe.iceberg.rewrite import rewrite
from dpipe.iceberg.schema import row_order
from dpipe.iceberg.storage import local_path
from dpipe.landing import payload_place
from dpipe.stages import partitions
from dpipe.stages.entries import attempt_of
from dpipe.stages.gate import Verdict, judge
from dpipe.stages.kernel import (
    BatchCounts,
    KernelResult,
    UnprocessableError,
    discard,
    remove_folder,
    run_kernel,
)
from dpipe.stages.unknown import grow
from dpipe.stages.work import Refusal, received
from dpipe.state import quality

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyiceberg.table import Table

    from dpipe.iceberg.attempt import Attempt, BatchEntry, CommitRecord, WrittenFile
    from dpipe.landing import Manifest
    from dpipe.stages.work import Work


def commit_group(work: Work, group: list[Manifest]) -> None:
    """Take a group through kernel, gate and commit; one by one when a batch of it stops the kernel.

    A batch that stops the kernel by itself is refused.
    """
    try:
        _commit_together(work, group)
    except UnprocessableError as error:
        if len(group) == 1:
            _refuse_unprocessable(work, group[0], error)
            return
        done = {batch.batch_id for batch in work.refused} | {batch.batch_id for batch in work.committed}
        for manifest in group:
            if manifest.batch_id not in done:
                commit_group(work, [manifest])


def _commit_together(work: Work, group: list[Manifest]) -> None:
    """Take a group through kernel, gate and commit; again without what is refused or committed meanwhile.

    It is one commit, unless a batch of an upsert replaces rows of another: what that one brings is committed first.
    """
    most = len(group)
    while group and not work.stop():
        table = tables.raw_table(work.catalog, work.contract.plan)
        group = _without_replayed(work, table, group)
        if not group:
            return
        existing = _existing(work, table, group[:most])
        result = _run_kernel(work, table, group[:most], existing)
        failpoints.reach("after-kernel")
        part = group[: len(result.batches)]
        try:
            if work.overwrites and part[0].origin is None:
                result = partitions.overwriting(table, result)
            verdicts = _judge(work, table, part, result)
            out = {verdict.batch_id: verdict for verdict in verdicts if verdict.refused}
            if (
                not out
                and work.contract.plan.unknown_fields == "evolve"
                and grow(work, table, part, result.batches)
            ):
                discard(result)
                continue  # once more, with the new columns
            if not out:
                result = _delivered(work, table, existing, result)
        except BaseException:
            discard(result)
            raise
        failpoints.reach("after-gate")
        if out:
            discard(result)
            if work.contract.plan.compares_rows:
                # What is new of a batch depends on those before it: it is judged when they are in.
                most = next(at for at, manifest in enumerate(part) if manifest.batch_id in out) or 1
                if part[0].batch_id not in out:
                    continue
                out = {part[0].batch_id: out[part[0].batch_id]}
            counts = {batch.batch_id: batch for batch in result.batches}
            for manifest in part:
                if manifest.batch_id in out:
                    _refuse(work, table, manifest, out[manifest.batch_id], counts[manifest.batch_id])
            group = [manifest for manifest in group if manifest.batch_id not in out]
            continue
        attempt = attempt_of(work, table, part, result)
        outcome = commit(work.catalog, attempt)
        if isinstance(outcome, Committed):
            _committed(work, part, attempt, outcome.record)
            quality.add_results(work.run, [check for verdict in verdicts for check in verdict.results])
            work.profiles.append(result.profile)
            group = group[len(part) :]
            # Where keys come again and again, the kernel isn't asked for many batches in vain each time.
            most = 2 * len(part)
            continue
        files = result.files
        storage.delete(file.path for file in (*files.accepted, *files.quarantined, *files.rewritten))
        recover(work.catalog, work.dataset)
        done = ledger.batch_ids(work.catalog, work.dataset)
        group = [manifest for manifest in group if manifest.batch_id not in done]


def _committed(work: Work, part: Sequence[Manifest], attempt: Attempt, record: CommitRecord) -> None:
    """Complete the ledger, and take note of the commit."""
    failpoints.reach("after-raw-commit")
    complete(work.catalog, work.dataset, record)
    work.committed += record.batches
    work.snapshot_id = record.snapshot_id
    files = attempt.files
    work.bytes_written += sum(file.bytes for file in (*files.accepted, *files.quarantined, *files.rewritten))
    if work.received_until == attempt.read_snapshot_id:
        work.received |= received(record.batches)
        work.received_until = record.snapshot_id
    _warn_of_lost_ends(record.batches, work.dataset)
    for manifest in part:
        remove_folder(work.refused_folder(manifest))  # of an earlier refusal


def _run_kernel(
    work: Work,
    table: Table,
    group: Sequence[Manifest],
    existing: ExistingRows | None,
    folder: Path | None = None,
) -> KernelResult:
    """Run the kernel into the tables' folders, or into `folder` for files that are only to be looked at.

    Files for a bucket are written on this machine's disk first.
    """
    kept = tables.quarantine_table(work.catalog, work.dataset)
    folder = folder or work.outbox
    data_dir = folder / "accepted" if folder else Path(local_path(data_location(table)))
    quarantine_dir = folder / "quarantine" if folder else Path(local_path(data_location(kept)))
    try:
        return run_kernel(
            work.project,
            work.plan(table).to_json(tables.field_ids(table), tables.quarantine_ids(kept)),
            group,
            data_dir=data_dir,
            quarantine_dir=quarantine_dir,
            existing=existing,
            newer=work.newer(table, group) if work.contract.plan.write_mode == "upsert" else {},
            label=f"process {work.dataset}",
        )
    except DpipeError as error:
        if existing is not None and existing.failure is not None:
            raise existing.failure from error
        raise


def _existing(work: Work, table: Table, group: Sequence[Manifest]) -> ExistingRows | None:
    """The rows that keys and unique values are compared with; none where a batch replaces them."""
    plan = work.plan(table)
    if not plan.compares_rows or (work.overwrites and not any(manifest.origin for manifest in group)):
        return None
    return ExistingRows(table, plan)


def _delivered(work: Work, table: Table, existing: ExistingRows | None, result: KernelResult) -> KernelResult:
    """The result with its files where the tables' are, and those written anew that hold superseded rows."""
    files = result.files
    if existing is not None and result.superseded and not files.removed:
        order = row_order(work.contract.plan.key)
        rewritten, removed = rewrite(table, existing.touched, result.superseded, order)
        files = replace(files, rewritten=rewritten, removed=removed)
    if work.outbox is not None:
        kept = tables.quarantine_table(work.catalog, work.dataset)
        files = replace(
            files,
            accepted=_uploaded(table, work.outbox / "accepted", files.accepted),
            quarantined=_uploaded(kept, work.outbox / "quarantine", files.quarantined),
        )
    return replace(result, files=files)


def _uploaded(table: Table, folder: Path, files: list[WrittenFile]) -> list[WrittenFile]:
    """The files below the table's location, and no longer on this machine's disk."""
    there = data_location(table)
    try:
        storage.upload(table.io, folder, there)
    except OSError as error:
        raise UnavailableError(
            f"files can't be written below `{there}`: {error}",
            hint="check the bucket and the credentials for it, then run `dpipe process` again; nothing was changed",
        ) from error
    remove_folder(folder)
    return [
        replace(file, path=f"{there}/{Path(local_path(file.path)).relative_to(folder).as_posix()}")
        for file in files
    ]


def _without_replayed(work: Work, table: Table, group: list[Manifest]) -> list[Manifest]:
    """The group without replays of records that are in raw already, which another process brought there."""
    if not any(manifest.origin for manifest in group):
        return group
    kept: list[Manifest] = []
    # Rows of theirs may have been superseded since, and those of a commit under way are in the table only.
    brought = quarantine.replayed(work.catalog, work.dataset)
    for manifest in group:
        numbers = set(manifest.record_nos or ())
        records = {(manifest.origin or "", number) for number in numbers}
        there = {number for _, number in records & brought}
        if manifest.origin is not None:
            there |= accepted_numbers(table, manifest.origin, numbers)
        if there:
            of_all = f"{len(there):,} of {len(numbers):,}"
            reason = f"record {min(there)} of `{manifest.origin}` is in raw, or in another replay, already ({of_all})"
            landed = payload_place(work.project, manifest)
            work.refuse(Refusal(manifest.batch_id, manifest.source, (reason,), landed), {})
        else:
            brought |= records
            kept.append(manifest)
    return kept


def _judge(work: Work, table: Table, group: Sequence[Manifest], result: KernelResult) -> list[Verdict]:
    """Rules on whole batches are for batches as they were delivered, not for records that are replayed."""
    delivered = {manifest.batch_id for manifest in group if manifest.origin is None}
    judged = delivered - work.released.keys()
    batches = [batch for batch in result.batches if batch.batch_id in judged]
    accepted = [local_path(file.path) for file in result.files.accepted]
    verdicts = judge(work.contract, batches, accepted, work.project.settings.max_rejected_share)
    return verdicts if not work.overwrites else _with_outdated(work, table, group[0], result, verdicts)


def _with_outdated(
    work: Work, table: Table, manifest: Manifest, result: KernelResult, verdicts: list[Verdict]
) -> list[Verdict]:
    """The verdicts, and one on a batch whose partitions were delivered anew after it was received."""
    if manifest.batch_id in work.released:
        return verdicts
    newer = work.newer(table, [manifest])[manifest.batch_id]
    reasons = partitions.outdated(table, result, newer, replay=manifest.origin is not None)
    if not verdicts:
        return [Verdict(manifest.batch_id, [], reasons)]
    return [replace(verdict, reasons=verdict.reasons + reasons) for verdict in verdicts]


def _warn_of_lost_ends(batches: Sequence[BatchEntry], dataset: str) -> None:
    """A source that breaks off is one rejected record, whatever it held after that: nobody should overlook it."""
    for batch in batches:
        rules = {violation["rule"] for violation in batch.violations}
        if rules & {"truncated", "unreadable"}:
            output.warn(
                f"batch `{batch.batch_id}` of `{dataset}` (`{batch.source}`) breaks off: what comes after the break is "
                f"in no count; `dpipe quarantine show {dataset} --batch {batch.batch_id}` says where"
            )


def _refuse(work: Work, table: Table, manifest: Manifest, verdict: Verdict, counts: BatchCounts) -> None:
    """Keep the files of a refused batch for a look, and remember that it stays out."""
    folder = work.refused_folder(manifest)
    remove_folder(folder)
    _run_kernel(work, table, [manifest], _existing(work, table, [manifest]), folder)
    quality.add_results(work.run, verdict.results)
    work.refuse(Refusal(manifest.batch_id, manifest.source, verdict.reasons, str(folder)), counts.to_dict())


def _refuse_unprocessable(work: Work, manifest: Manifest, error: UnprocessableError) -> None:
    remove_folder(work.refused_folder(manifest))  # of an earlier refusal
    reasons = (f"the kernel can't process it: {error.__cause__}",)
    landed = payload_place(work.project, manifest)
    work.refuse(Refusal(manifest.batch_id, manifest.source, reasons, landed), {})
