"""The kernel, called as `dpipe process` calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe.bench.work import BATCH_ID, Job, Outcome

if TYPE_CHECKING:
    from dpipe.bench.flights import Format
    from dpipe.contract import Plan

TITLE = "dpipe"
PACKAGES = ("dpipe",)
KEEPS_BYTES: frozenset[Format] = frozenset({"ndjson", "csv"})
PARALLEL = True


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
    )
    batch = answer["batches"][0]
    return Outcome(
        batch["records_in"],
        batch["accepted"],
        batch["rejected"],
        batch["duplicate"],
        {(broken["column"], broken["rule"]): broken["records"] for broken in batch["violations"]},
    )
