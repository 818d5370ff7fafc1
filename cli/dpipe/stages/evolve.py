"""Evolve: a raw table is brought up to its contract."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dpipe import output
from dpipe.contract import contract_for
from dpipe.errors import UnavailableError, UsageError
from dpipe.iceberg import open_catalog, tables
from dpipe.iceberg.attempt import Attempt, Files
from dpipe.iceberg.catalog import RAW
from dpipe.iceberg.commit import commit_compaction
from dpipe.iceberg.evolution import Change, apply, changes
from dpipe.iceberg.recovery import recover
from dpipe.iceberg.repartition import respread
from dpipe.iceberg.retry import with_retries
from dpipe.iceberg.schema import row_order
from dpipe.stages.locks import held
from dpipe.state import runs

if TYPE_CHECKING:
    from collections.abc import Collection

    from pyiceberg.catalog import Catalog

    from dpipe.contract import Contract
    from dpipe.settings import Project
    from dpipe.state import Run

TRIES = 5
# What the table is partitioned by must be there before, and may go only after it is partitioned otherwise.
LAST = ("repartition", "drop")


@dataclass(frozen=True)
class Evolution:
    """What a contract asks of its table; `table` tells whether there is one with rows, else it is made as asked."""

    dataset: str
    version: str
    contract: str
    table: bool
    changes: tuple[Change, ...]


def planned(project: Project, dataset: str) -> Evolution:
    """What `evolve` would do. Raises `UsageError` for an unknown dataset."""
    return _evolution(open_catalog(project), contract_for(project, dataset))


def evolve(project: Project, dataset: str, *, run: Run, may_drop: Collection[str] = ()) -> Evolution:
    """Bring the dataset's raw table up to its contract; what was done. Again there is nothing to do.

    Raises `UsageError`, having changed nothing, when a change is impossible, or drops a column that `may_drop` doesn't
    name.
    """
    contract = contract_for(project, dataset)
    catalog = open_catalog(project)
    with held(project, dataset):
        started_at, start = datetime.now(UTC), time.perf_counter()
        recover(catalog, dataset)
        done = with_retries(lambda: _evolve(catalog, contract, may_drop), f"{RAW}.{dataset}")
    if done.changes:
        detail = {
            "version": done.version,
            "contract": done.contract,
            "changes": [change.text for change in done.changes],
        }
        seconds = time.perf_counter() - start
        runs.add_stage(run, "evolve", dataset=dataset, started_at=started_at, seconds=seconds, detail=detail)
    return done


def _evolution(catalog: Catalog, contract: Contract) -> Evolution:
    table = tables.load(catalog, (RAW, contract.dataset))
    has_rows = table is not None and table.current_snapshot() is not None
    found = changes(table, contract.plan) if table is not None and has_rows else []
    return Evolution(contract.dataset, contract.version, contract.hash, has_rows, tuple(found))


def _evolve(catalog: Catalog, contract: Contract, may_drop: Collection[str]) -> Evolution:
    wanted = _evolution(catalog, contract)
    for change in wanted.changes:
        if change.kind == "impossible":
            raise UsageError(
                f"`raw.{contract.dataset}` can't be made to fit its contract: {change.text}",
                hint="take the change of the contract back; nothing was changed",
            )
        if change.kind == "drop" and change.column not in may_drop:
            raise UsageError(
                f"`raw.{contract.dataset}` would lose values: {change.text}",
                hint=f"if it was renamed, say `dpipe.renamedFrom: {change.column}` on the new column; "
                f"if it may go, `--allow-drop {change.column}`; nothing was changed",
            )
    _change(catalog, contract, [change for change in wanted.changes if change.kind not in LAST])
    if any(change.kind == "repartition" for change in wanted.changes):
        _repartition(catalog, contract)
    _change(catalog, contract, [change for change in wanted.changes if change.kind == "drop"])
    return wanted


def _change(catalog: Catalog, contract: Contract, wanted: list[Change]) -> None:
    if wanted:
        apply(catalog.load_table((RAW, contract.dataset)), contract.plan, wanted)


def _repartition(catalog: Catalog, contract: Contract) -> None:
    """Have the table partitioned as the contract asks, and its files with it, in one commit of its chain."""
    with output.progress(f"repartition {contract.dataset}") as on_progress:
        for _ in range(TRIES):
            table = catalog.load_table((RAW, contract.dataset))
            head = table.current_snapshot()
            written, removed = respread(table, contract.plan, row_order(contract.plan.key), on_progress)
            attempt = Attempt(
                dataset=contract.dataset,
                batches=[],
                files=Files(rewritten=written, removed=removed),
                read_snapshot_id=head.snapshot_id if head else None,
                depends_on_rows=True,
                partition=contract.plan.partition,
            )
            if commit_compaction(catalog, attempt):
                return
    raise UnavailableError(
        f"writers were quicker {TRIES} times, so `{RAW}.{contract.dataset}` is still partitioned as it was",
        hint="stop them, or run `dpipe contract apply` again; nothing was changed",
    )
