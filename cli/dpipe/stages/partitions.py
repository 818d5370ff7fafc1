"""Batches that overwrite whole partitions: what they replace, and when they come too late."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dpipe.iceberg.existing import files_beside, records_in
from dpipe.iceberg.rewrite import removed_files

if TYPE_CHECKING:
    from collections.abc import Collection

    from pyiceberg.table import Table

    from dpipe.stages.kernel import KernelResult


def overwriting(table: Table, result: KernelResult) -> KernelResult:
    """The result of one batch with the table's files that are in its partitions, whose rows are superseded."""
    tasks = files_beside(table, result.files.accepted)
    superseded: dict[str, list[int]] = {}
    for batch_id, number in sorted(records_in(table, (task.file.file_path for task in tasks))):
        superseded.setdefault(batch_id, []).append(number)
    (batch,) = result.batches
    return replace(
        result,
        batches=[replace(batch, superseded=superseded)],
        files=replace(result.files, removed=removed_files(tasks)),
    )


def outdated(table: Table, result: KernelResult, newer: Collection[str], *, replay: bool) -> tuple[str, ...]:
    """Why a batch must not go in: its partitions have rows of one of the `newer` ones. Nothing when it may."""
    there = set(result.superseded)
    if replay:  # which supersedes nothing, but would add to what has replaced its origin
        tasks = files_beside(table, result.files.accepted)
        there = {batch_id for batch_id, _ in records_in(table, (task.file.file_path for task in tasks))}
    return tuple(
        f"a partition of it was overwritten by `{batch_id}`, which was received later"
        for batch_id in sorted(there.intersection(newer))
    )
