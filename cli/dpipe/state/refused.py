"""Batches that were refused; they stay out until asked for again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from dpipe.state.engine import open_state
from dpipe.state.schema import refused_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpipe.settings import Project


@dataclass(frozen=True)
class RefusedBatch:
    """A refused batch: why (one sentence a broken rule) and the kernel's counts of it."""

    dataset: str
    batch_id: str
    reasons: tuple[str, ...]
    counts: dict[str, int]
    refused_at: datetime


def remember(
    project: Project, dataset: str, batch_id: str, reasons: Sequence[str], counts: dict[str, Any]
) -> None:
    """Store a refusal; a later one of the same batch replaces it."""
    row = {
        "dataset": dataset,
        "batch_id": batch_id,
        "refused_at": datetime.now(UTC),
        "reasons": json.dumps(list(reasons)),
        "counts": json.dumps(counts),
    }
    with open_state(project).begin() as connection:
        connection.execute(_of(dataset, batch_id))
        connection.execute(insert(refused_batches).values(**row))


def forget(project: Project, dataset: str, batch_id: str | None = None) -> None:
    """Let a refused batch of the dataset be processed again, or all of them."""
    which = delete(refused_batches).where(refused_batches.c.dataset == dataset)
    with open_state(project).begin() as connection:
        connection.execute(which if batch_id is None else _of(dataset, batch_id))


def listed(project: Project, dataset: str | None = None) -> list[RefusedBatch]:
    """Refused batches, the latest last."""
    query = select(refused_batches).order_by(refused_batches.c.refused_at)
    if dataset is not None:
        query = query.where(refused_batches.c.dataset == dataset)
    with open_state(project).connect() as connection:
        rows = connection.execute(query).mappings().all()
    return [
        RefusedBatch(
            row["dataset"],
            row["batch_id"],
            tuple(json.loads(row["reasons"])),
            json.loads(row["counts"]),
            row["refused_at"],
        )
        for row in rows
    ]


def _of(dataset: str, batch_id: str) -> Any:  # noqa: ANN401 - a SQLAlchemy statement
    return delete(refused_batches).where(
        refused_batches.c.dataset == dataset, refused_batches.c.batch_id == batch_id
    )
