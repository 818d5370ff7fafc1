"""What became of batches: by the ledger, else by who kept them out. The one place that decides a batch's state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dpipe import landing
from dpipe.iceberg import dismissed, ledger, open_catalog, tables
from dpipe.iceberg.catalog import LEDGER
from dpipe.state import processing, refused

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from pyiceberg.catalog import Catalog

    from dpipe.settings import Project
    from dpipe.state.refused import RefusedBatch

State = Literal["accepted", "landed", "processing", "committed", "refused", "dropped"]
COUNTS = ("records_in", "accepted", "rejected", "duplicate")
# Past so many ids all of the dataset's are read sooner than these are looked for.
MOST_LOOKED_FOR = 1_000


@dataclass(frozen=True)
class Outcome:
    """Where a batch is on its way.

    `accepted` is a submission that is on its way to landing, `landed` is durable and waits, `processing` is being
    checked and committed, `committed` is in the tables, `refused` waits for somebody to release or drop it. The counts
    are None until it has been processed, and those of its refusal when refused.

    `reasons` say why it was refused, dropped, or committed although it had been refused; `violations` are the
    ledger's: `column`, `rule` and `records` of each rule that was broken.
    """

    state: State
    records_in: int | None = None
    accepted: int | None = None
    rejected: int | None = None
    duplicate: int | None = None
    reasons: tuple[str, ...] = ()
    violations: tuple[dict[str, Any], ...] = ()
    snapshot_id: int | None = None
    committed_at: datetime | None = None


ACCEPTED, LANDED, PROCESSING = Outcome("accepted"), Outcome("landed"), Outcome("processing")


def committed(row: Mapping[str, Any]) -> Outcome:
    """The outcome of a batch that the ledger has this row of."""
    return Outcome(
        state="committed",
        **{name: row[name] for name in (*COUNTS, "snapshot_id", "committed_at")},
        reasons=(row["released"],) if row.get("released") else (),
        violations=tuple(row["violations"]),
    )


def uncommitted(
    refusal: RefusedBatch | None, dropped: Mapping[str, Any] | None, *, is_processing: bool
) -> Outcome:
    """The outcome of a batch that has landed and that the ledger doesn't have: dropped goes before refused."""
    if refusal is None and dropped is None:
        return PROCESSING if is_processing else LANDED
    counts: dict[str, Any] = {name: refusal.counts.get(name) for name in COUNTS} if refusal else {}
    if dropped is not None:
        return Outcome("dropped", reasons=(dropped["reason"],), **counts)
    return Outcome("refused", reasons=refusal.reasons if refusal else (), **counts)


def of_batches(project: Project, dataset: str, ids: Collection[str]) -> dict[str, Outcome]:
    """What became of each of these batches of a dataset."""
    catalog = open_catalog(project)
    found = {row["batch_id"]: committed(row) for row in ledger.of_batches(catalog, dataset, ids)}
    return found | _uncommitted(project, catalog, dataset, set(ids) - found.keys())


def states(project: Project, dataset: str, ids: Collection[str]) -> dict[str, State]:
    """The state of each of these batches, when that is all that is asked for: many are told in one look."""
    catalog = open_catalog(project)
    done: set[str] = set()
    if tables.load(catalog, LEDGER) is not None:  # which is not made for whoever only looks
        few = len(ids) <= MOST_LOOKED_FOR
        done = ledger.known(catalog, dataset, ids) if few else ledger.batch_ids(catalog, dataset)
    others = _uncommitted(project, catalog, dataset, set(ids) - done)
    return {one: others[one].state if one in others else "committed" for one in ids}


def _uncommitted(project: Project, catalog: Catalog, dataset: str, ids: set[str]) -> dict[str, Outcome]:
    """The outcomes of batches that the ledger doesn't have."""
    if not ids:
        return {}
    dropped = dismissed.batches(catalog, dataset)
    refusals = {batch.batch_id: batch for batch in refused.listed(project, dataset)}
    under_way = processing.listed(project, dataset)
    found = {
        one: uncommitted(refusals.get(one), dropped.get(one), is_processing=one in under_way) for one in ids
    }
    waiting = {one for one, outcome in found.items() if outcome is LANDED}
    if waiting:
        landed = landing.batch_ids(project, dataset)
        found |= dict.fromkeys(waiting - landed, ACCEPTED)
    return found
