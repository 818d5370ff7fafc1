"""The kernel, called as `dpipe process` calls it."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from dpipe.bench.profile import ColumnProfile, plain
from dpipe.bench.work import BATCH_ID, Job, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from dpipe.bench.flights import Format
    from dpipe.contract import Column, Plan

TITLE = "dpipe"
PACKAGES = ("dpipe",)
KEEPS_BYTES: frozenset[Format] = frozenset({"ndjson", "csv"})
PARALLEL = True
DISTINCT_OFF = 0.1


def unable(plan: Plan, form: Format) -> str | None:
    """It carries out every plan."""
    del plan, form
    return None


def partly(form: Format) -> str | None:
    """It does all of it, and more: SHA-256 of the files, places of the records, and files that outlast a power cut."""
    del form
    return None


def prepare() -> None:
    """Import what the run needs."""
    from dpipe import _kernel  # noqa: F401


def run(job: Job) -> Outcome:
    """Call the kernel."""
    from dpipe import _kernel

    job.data.mkdir(parents=True)
    job.quarantine.mkdir(parents=True)
    answer = _kernel.process(
        job.plan.to_json(),
        [
            {
                "batch_id": BATCH_ID,
                "path": str(job.source),
                "format": job.form,
                "compression": job.compression,
            }
        ],
        data_dir=str(job.data),
        quarantine_dir=str(job.quarantine),
        threads=job.threads,
        profile=job.profile,
    )
    batch = answer["batches"][0]
    return Outcome(
        batch["records_in"],
        batch["accepted"],
        batch["rejected"],
        batch["duplicate"],
        {(broken["column"], broken["rule"]): broken["records"] for broken in batch["violations"]},
        _profiles(job.plan, answer["profile"]) if job.profile else {},
    )


def _profiles(plan: Plan, told: list[dict[str, Any]]) -> dict[str, ColumnProfile]:
    """The kernel tells nothing of columns when there are no rows."""
    summaries = {column["column"]: column["summary"] for column in told}
    return {
        column.name: _profile(column, summaries[column.name])
        if column.name in summaries
        else ColumnProfile(0, 0)
        for column in plan.columns
    }


def _profile(column: Column, summary: dict[str, Any]) -> ColumnProfile:
    rows, nulls = summary["rows"], summary["nulls"]
    if summary["min"] is None:
        return ColumnProfile(rows, nulls)
    reading: dict[str, Callable[[str], date]] = {
        "date": date.fromisoformat,
        "timestamp": datetime.fromisoformat,
        "timestamp_ntz": datetime.fromisoformat,
    }
    read: Callable[[Any], Any] = reading.get(column.kind, lambda value: value)
    length = summary.get("length")
    return ColumnProfile(
        rows,
        nulls,
        summary["distinct"],
        plain(read(summary["min"])),
        plain(read(summary["max"])),
        length["mean"] if length else float(plain(read(summary["mean"]))),
        () if length else tuple(float(plain(read(number))) for number in summary["quantiles"].values()),
        tuple((plain(read(one["value"])), one["count"]) for one in summary["top"]),
        (length["min"], length["max"]) if length else None,
    )
