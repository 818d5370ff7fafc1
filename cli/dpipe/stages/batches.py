"""What became of every batch: landing, the ledger and the refusals put together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dpipe import outcomes
from dpipe.errors import UsageError
from dpipe.iceberg import dismissed, history, ledger, open_catalog
from dpipe.landing import batch_ids, manifests
from dpipe.landing import datasets as landed_datasets
from dpipe.state import processing, refused

if TYPE_CHECKING:
    from dpipe.landing import Manifest
    from dpipe.outcomes import Outcome, State
    from dpipe.settings import Project
    from dpipe.state.refused import RefusedBatch


@dataclass(frozen=True)
class Batch:
    """A batch; its counts are None until it has been processed, and those of its refusal when refused."""

    dataset: str
    batch_id: str
    state: State
    name: str
    source: str
    bytes: int
    sha256: str
    received_at: str
    records_in: int | None = None
    accepted: int | None = None
    rejected: int | None = None
    duplicate: int | None = None
    snapshot_id: int | None = None
    committed_at: str | None = None
    contract_version: str | None = None
    run_id: str | None = None
    reasons: tuple[str, ...] = ()
    """Why it was refused, dropped, or committed although it had been refused."""
    violations: tuple[dict[str, Any], ...] = ()
    files: tuple[dict[str, Any], ...] = ()
    superseded: int | None = None
    origin: str | None = None
    """Of a replay: the batch whose records it holds."""


def batches(project: Project, dataset: str | None = None, *, as_of: datetime | None = None) -> list[Batch]:
    """Every batch of a dataset, or of all, in the order of arrival; the ledger's even without landing.

    With `as_of` those that had been received by then, as far as they had come.
    """
    catalog = history.at(open_catalog(project), as_of)
    committed = {(row["dataset"], row["batch_id"]): row for row in ledger.rows(catalog, dataset)}
    kept_out = {
        (batch.dataset, batch.batch_id): batch
        for batch in refused.listed(project, dataset)
        if as_of is None or batch.refused_at <= as_of
    }
    names = [dataset] if dataset else landed_datasets(project)
    # What landed of a committed batch is for the audit to look at.
    waiting = {
        name: batch_ids(project, name) - {batch_id for of, batch_id in committed if of == name}
        for name in names
    }
    landed = {(name, one.batch_id): one for name in names for one in manifests(project, name, waiting[name])}
    dropped = {name: dismissed.batches(catalog, name) for name in names}
    under_way = {name: processing.listed(project, name) if as_of is None else set() for name in names}
    found = [_committed(row) for row in committed.values()]
    found += [
        _landed(
            manifest,
            kept_out.get(key),
            dropped[key[0]].get(key[1]),
            is_processing=key[1] in under_way[key[0]],
        )
        for key, manifest in landed.items()
        if key not in committed and (as_of is None or datetime.fromisoformat(manifest.received_at) <= as_of)
    ]
    return sorted(found, key=lambda batch: (batch.dataset, batch.received_at, batch.batch_id))


def find_batch(project: Project, batch_id: str) -> Batch:
    """The one batch whose id is or begins with `batch_id`; raises `UsageError` unless there is just one."""
    matching = [batch for batch in batches(project) if batch.batch_id.startswith(batch_id)]
    if not matching:
        raise UsageError(
            f"no batch has an id that begins with `{batch_id}`", hint="`dpipe batches list` shows them"
        )
    if len(matching) > 1:
        among = ", ".join(f"`{batch.batch_id}` of `{batch.dataset}`" for batch in matching[:5])
        raise UsageError(f"`{batch_id}` names several batches", hint=f"give more of the id: {among}")
    return matching[0]


def _committed(row: dict[str, Any]) -> Batch:
    same = ("dataset", "batch_id", "source", "bytes", "sha256", "contract_version", "run_id")
    return Batch(
        **{name: row[name] for name in same},
        **_told(outcomes.committed(row)),
        name=row["source"].rpartition("/")[2],
        received_at=row["received_at"].isoformat(timespec="microseconds"),
        files=tuple(row["files"]),
        superseded=sum(row["superseded"].values()),
        origin=row.get("origin"),
    )


def _landed(
    manifest: Manifest, refusal: RefusedBatch | None, dropped: dict[str, Any] | None, *, is_processing: bool
) -> Batch:
    return Batch(
        dataset=manifest.dataset,
        batch_id=manifest.batch_id,
        **_told(outcomes.uncommitted(refusal, dropped, is_processing=is_processing)),
        name=manifest.name,
        source=manifest.source,
        bytes=manifest.bytes,
        sha256=manifest.sha256,
        received_at=manifest.received_at,
        origin=manifest.origin,
    )


def _told(outcome: Outcome) -> dict[str, Any]:
    at = outcome.committed_at
    return vars(outcome) | {"committed_at": at.isoformat(timespec="milliseconds") if at else None}
