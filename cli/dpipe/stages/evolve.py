"""Evolve: a raw table is brought up to its contract, in one commit."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dpipe.contract import contract_for
from dpipe.errors import UsageError
from dpipe.iceberg import open_catalog, tables
from dpipe.iceberg.catalog import RAW
from dpipe.iceberg.evolution import Change, apply, changes
from dpipe.iceberg.recovery import recover
from dpipe.iceberg.retry import with_retries
from dpipe.stages.locks import held
from dpipe.state import runs

if TYPE_CHECKING:
    from collections.abc import Collection

    from pyiceberg.catalog import Catalog

    from dpipe.contract import Contract
    from dpipe.settings import Project
    from dpipe.state import Run


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
    if wanted.changes:
        apply(catalog.load_table((RAW, contract.dataset)), contract.plan, wanted.changes)
    return wanted
