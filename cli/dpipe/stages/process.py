"""Process: landed batches become rows of `raw` and `quarantine`, each batch once, every record accounted for.

The order is files → gate → commit to raw → quarantine → ledger (`docs/guarantees.md`). Until the commit
nothing is visible; from the commit on, whatever dies, the next run completes what is missing.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dpipe.contract import archive, contract_for, known_datasets
from dpipe.errors import DataError
from dpipe.folders import temporary_folder
from dpipe.iceberg import dismissed, ledger, open_catalog
from dpipe.iceberg.recovery import recover
from dpipe.iceberg.storage import is_local
from dpipe.landing import Manifest, batch_ids, manifests
from dpipe.quality import alerts
from dpipe.stages.group import commit_group
from dpipe.stages.locks import held
from dpipe.stages.work import Refusal, Work
from dpipe.state import processing, refused, runs
from dpipe.state.usage import Moved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dpipe.settings import Project
    from dpipe.state import Run

__all__ = ["ProcessResult", "Refusal", "grouped", "process"]

MOST_BATCHES_A_COMMIT = 256
ALERTED = 20
MOST_BYTES_A_COMMIT = 4 << 30


@dataclass(frozen=True)
class ProcessResult:
    """What was committed of a dataset in this run, and what was refused.

    `superseded` are rows that were in raw before and that accepted records took the place of.
    `snapshot_id` is that of the last commit to raw, None without one; `still_refused` counts batches that an
    earlier run refused and this one left alone.
    """

    dataset: str
    batches: int
    records_in: int
    accepted: int
    rejected: int
    duplicate: int
    superseded: int
    refused: tuple[Refusal, ...]
    still_refused: int
    snapshot_id: int | None
    seconds: float
    bytes_in: int

    def describe(self) -> str:
        """What was committed, in a line."""
        return (
            f"committed: {self.batches:,} batch(es), {self.records_in:,} records in = {self.accepted:,} accepted "
            f"+ {self.rejected:,} rejected + {self.duplicate:,} duplicate"
        )


def check_refused(refusals: Sequence[Refusal], then: str) -> None:
    """Raise `DataError` when batches were refused; `then` is what to do after a look at the files."""
    if refusals:
        said = "; ".join(f"`{refusal.batch_id}`: {', '.join(refusal.reasons)}" for refusal in refusals)
        raise DataError(
            f"refused {len(refusals)} batch(es): {said}", hint=f"look into `{refusals[0].files}`; {then}"
        )


def process(
    project: Project,
    datasets: Sequence[str] | None = None,
    *,
    run: Run,
    retry_refused: bool = False,
    released: Mapping[str, str] | None = None,
    holding: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> list[ProcessResult]:
    """Commit the pending batches of the datasets, of all that have a contract by default.

    A refused batch holds up no other: it is in the result, and left alone by later runs unless `retry_refused`. The
    gate lets `released` ones pass, for the reasons that are given. The caller may be `holding` the datasets' locks
    already. `stop` is asked before each commit's batches are begun; once it says so, the rest stays pending. Raises
    `UsageError` for an unknown dataset, `ConfigError` for a contract that can't be carried out.
    """
    contracts = [contract_for(project, name) for name in datasets or known_datasets(project)]
    alerts.check(project)
    catalog = open_catalog(project)
    works = [
        Work(project, run, contract, catalog, released=released or {}, stop=stop) for contract in contracts
    ]
    return [_process(work, retry_refused=retry_refused, holding=holding) for work in works]


def _process(work: Work, *, retry_refused: bool, holding: bool) -> ProcessResult:
    project = work.project
    lock = nullcontext(0) if holding else held(project, work.dataset)
    with lock, _outbox(project) as work.outbox:
        started_at, start = datetime.now(UTC), time.perf_counter()
        recover(work.catalog, work.dataset)
        if retry_refused:
            refused.forget(project, work.dataset)
        out = {batch.batch_id for batch in refused.listed(project, work.dataset)} - work.released.keys()
        done = (
            ledger.batch_ids(work.catalog, work.dataset)
            | dismissed.batches(work.catalog, work.dataset).keys()
        )
        pending = batch_ids(project, work.dataset) - done
        for group in grouped(manifests(project, work.dataset, pending - out), work.contract.plan.write_mode):
            if work.stop():
                break
            archive.keep(project, work.contract)
            with processing.noted(work.run, work.dataset, [manifest.batch_id for manifest in group]):
                commit_group(work, group)
        result = _result(work, still_refused=len(pending & out), seconds=time.perf_counter() - start)
    if result.batches or result.refused:
        _record(work, result, started_at)
    if result.refused:
        _alert(project, result)
    return result


def _alert(project: Project, result: ProcessResult) -> None:
    """Once a run and dataset; a batch that stays refused is not told of again."""
    lines = [
        f"{refusal.batch_id} ({refusal.source}): {'; '.join(refusal.reasons)}" for refusal in result.refused
    ]
    look = (
        "Look at them with `dpipe batches list`, then `dpipe batches release` or `drop` each with a reason."
    )
    alerts.send(
        project,
        f"dpipe {project.settings.name}: {len(lines)} batch(es) of `{result.dataset}` refused",
        "\n".join(
            [*lines[:ALERTED], *([f"and {len(lines) - ALERTED} more"] if len(lines) > ALERTED else []), look]
        ),
    )


@contextmanager
def _outbox(project: Project) -> Iterator[Path | None]:
    """Where files wait that are to be uploaded; None when the tables are on this machine's disk."""
    if is_local(project.warehouse):
        yield None
        return
    with temporary_folder(project.spool) as folder:
        yield folder


def grouped(pending: Sequence[Manifest], write_mode: str = "append") -> Iterator[list[Manifest]]:
    """Batches in their order, as many a commit as its bounds and the write mode allow.

    One that replaces partitions comes alone, and so do replays of an upsert, whose records came with other batches.
    """

    def is_alone(manifest: Manifest) -> bool:
        return write_mode == "overwrite_partition" or (write_mode == "upsert" and manifest.origin is not None)

    group: list[Manifest] = []
    size = 0
    for manifest in pending:
        is_full = len(group) == MOST_BATCHES_A_COMMIT or size + manifest.bytes > MOST_BYTES_A_COMMIT
        if group and (is_full or is_alone(group[-1]) or is_alone(manifest)):
            yield group
            group, size = [], 0
        group.append(manifest)
        size += manifest.bytes
    if group:
        yield group


def _result(work: Work, *, still_refused: int, seconds: float) -> ProcessResult:
    done = work.committed
    return ProcessResult(
        dataset=work.dataset,
        batches=len(done),
        records_in=sum(entry.records_in for entry in done),
        accepted=sum(entry.accepted for entry in done),
        rejected=sum(entry.rejected for entry in done),
        duplicate=sum(entry.duplicate for entry in done),
        superseded=sum(sum(entry.superseded.values()) for entry in done),
        refused=tuple(work.refused),
        still_refused=still_refused,
        snapshot_id=work.snapshot_id,
        seconds=seconds,
        bytes_in=sum(entry.bytes for entry in done),
    )


def _record(work: Work, result: ProcessResult, started_at: datetime) -> None:
    runs.add_stage(
        work.run,
        "process",
        dataset=result.dataset,
        started_at=started_at,
        seconds=result.seconds,
        records_in=result.records_in,
        accepted=result.accepted,
        rejected=result.rejected,
        duplicate=result.duplicate,
        snapshot_id=result.snapshot_id,
        detail={
            "batches": result.batches,
            "bytes_in": result.bytes_in,
            "refused": [refusal.batch_id for refusal in result.refused],
            "profile": _profile(work),
        },
        moved=Moved(read=result.bytes_in, written=work.bytes_written, stored=work.bytes_written),
    )


def _profile(work: Work) -> list[dict[str, Any]]:
    """What the accepted values of each column are like, over all commits of the run."""
    from dpipe import _kernel

    return [
        {"column": column["column"], "type": column["kind"], **column["summary"]}
        for column in _kernel.merge_profiles(work.profiles)
    ]
