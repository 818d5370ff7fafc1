"""Records held to a contract's rules alone: nothing is written, and no key or unique value is compared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe._kernel import RecordBatches
    from dpipe.contract import Contract, Plan


def judge_records(
    contract: Contract,
    content: Path | bytes,
    *,
    batch_id: str,
    form: str | None,
    compression: str | None,
    threads: int = 0,
    keep: bool = True,
) -> tuple[dict[str, Any], RecordBatches, RecordBatches]:
    """The kernel's counts of a file or of bytes, the records that break nothing, and the others.

    What would be a duplicate, or not unique, is among those that break nothing. Without `keep` both tables are empty.
    Raises `KernelError` for what can't be read.
    """
    answer, accepted, rejected = judge_by(
        contract.plan,
        content,
        batch_id=batch_id,
        form=form,
        compression=compression,
        threads=threads,
        keep=keep,
    )
    (counts,) = answer["batches"]
    return counts, accepted, rejected


def judge_by(
    plan: Plan,
    content: Path | bytes,
    *,
    batch_id: str,
    form: str | None,
    compression: str | None,
    threads: int = 0,
    keep: bool = True,
    profile: bool = False,
) -> tuple[dict[str, Any], RecordBatches, RecordBatches]:
    """The kernel's whole answer by the columns of a plan, and both tables, as `judge_records` does."""
    from dpipe import _kernel

    return _kernel.process_in_memory(
        replace(plan, key=(), unique=(), version=None, partition=()).to_json(),
        content,
        batch_id=batch_id,
        format=form,
        compression=compression,
        threads=threads,
        profile=profile,
        keep=keep,
    )
