"""One run of the kernel over a source in memory, and its answer in a result's words."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dpipe.contract import Contract
from dpipe.errors import DpipeError, UsageError
from dpipe.library.result import ColumnProfile, Frequency, Lengths, Violation
from dpipe.library.sources import kernel_errors, opened

if TYPE_CHECKING:
    from dpipe._kernel import RecordBatches
    from dpipe.contract import Plan
    from dpipe.library.sources import Source

BATCH_SIZE = 100_000
MOST_BATCH_SIZE = 1 << 24
MOST_THREADS = 1024


@dataclass(frozen=True)
class Options:
    """How a source is read; raises `UsageError` when that can't be."""

    format: str | None = None
    compression: str | None = None
    batch_id: str | None = None
    batch_size: int = BATCH_SIZE
    threads: int = 0

    def __post_init__(self) -> None:
        _check_number("batch_size", self.batch_size, 1, MOST_BATCH_SIZE)
        _check_number("threads", self.threads, 0, MOST_THREADS)
        if self.batch_id is not None and (not isinstance(self.batch_id, str) or not self.batch_id):
            raise UsageError(f"{self.batch_id!r} is no batch id", hint="write a text that isn't empty")


def _check_number(name: str, given: object, least: int, most: int) -> None:
    if not isinstance(given, int) or isinstance(given, bool) or not least <= given <= most:
        raise UsageError(f"`{name}` is {given!r}", hint=f"write a whole number from {least:,} to {most:,}")


def run(
    source: Source, plan: Plan, options: Options, *, profile: bool = True, keep: bool = True
) -> tuple[dict[str, Any], RecordBatches, RecordBatches]:
    """Run the kernel over a source; without `keep` its rows are counted and profiled only."""
    from dpipe import _kernel

    content, name = opened(source, options.format, options.compression)
    with kernel_errors():
        return _kernel.process_in_memory(
            plan.to_json(),
            content,
            batch_id=options.batch_id or name,
            format=options.format,
            compression=options.compression,
            batch_size=options.batch_size,
            threads=options.threads,
            profile=profile,
            keep=keep,
        )


def contract_of(contract: object) -> Contract:
    """A contract, or the one in the file that it names; `UsageError` when it is neither."""
    if isinstance(contract, Contract):
        return contract
    if isinstance(contract, str | os.PathLike):
        return Contract.load(contract)
    raise UsageError(
        f"an object of type `{type(contract).__qualname__}` is no contract",
        hint="hand over a `dpipe.Contract` (`load`, `from_text`, `from_dict`) or the path of its file",
    )


def counts(batch: dict[str, Any]) -> dict[str, Any]:
    """The kernel's counts by their names in a result; `DpipeError` when a record got lost."""
    counted = {
        "records_in": batch["records_in"],
        "accepted_count": batch["accepted"],
        "rejected_count": batch["rejected"],
        "duplicate_count": batch["duplicate"],
        "violations": tuple(Violation(**violation) for violation in batch["violations"]),
        "unknown_fields": batch["unknown_fields"],
    }
    if batch["records_in"] != batch["accepted"] + batch["rejected"] + batch["duplicate"]:
        raise DpipeError(f"internal: the kernel's counts don't balance: {batch}", hint="please report it")
    return counted


def column_profile(column: dict[str, Any]) -> ColumnProfile:
    """A column's profile as the kernel tells it."""
    said = column["summary"]
    lengths = said.get("length")
    return ColumnProfile(
        column=column["column"],
        type=column["kind"],
        rows=said["rows"],
        nulls=said["nulls"],
        distinct=said["distinct"],
        least=said["min"],
        greatest=said["max"],
        mean=said.get("mean"),
        quantiles=said.get("quantiles", {}),
        lengths=Lengths(lengths["min"], lengths["max"], lengths["mean"]) if lengths else None,
        top=tuple(Frequency(top["value"], top["count"]) for top in said["top"]),
    )
