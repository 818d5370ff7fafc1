"""What stages used, which is what they cost: written as they are recorded, and read by `dpipe cost`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from dpipe.state.engine import open_state
from dpipe.state.schema import runs, stage_usage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

    from dpipe.meter import Used
    from dpipe.settings import Project

# What a run used outside of its stages: start-up, imports, looking for work, stages that failed.
REST = "rest"


@dataclass(frozen=True)
class Moved:
    """Bytes of data that a stage says it took in, wrote, and left to be kept; None where it can't say."""

    read: int | None = None
    written: int | None = None
    stored: int | None = None


def add(
    connection: Connection,
    stage: Mapping[str, Any],
    used: Used,
    moved: Moved | None,
    detail: Mapping[str, Any],
    *,
    overlapped: bool,
) -> None:
    """Write down what a stage used, beside its result, in the transaction of `connection`."""
    moved = moved or Moved()
    row = {name: stage[name] for name in ("run_id", "stage", "dataset", "started_at", "seconds")}
    row |= {
        "records": stage["records_in"],
        "bytes_read": moved.read,
        "bytes_written": moved.written,
        "bytes_stored": moved.stored,
        "warehouse_seconds": detail.get("warehouse_seconds"),
        "warehouse_size": detail.get("warehouse_size"),
        "overlapped": overlapped,
    }
    connection.execute(insert(stage_usage).values(**row, **vars(used)))


def listed(project: Project, since: datetime | None = None) -> list[RowMapping]:
    """What every stage used, with the `command` of its run, in the order in which they began."""
    query = (
        select(stage_usage, runs.c.command)
        .join(runs, runs.c.run_id == stage_usage.c.run_id)
        .order_by(stage_usage.c.started_at)
    )
    if since is not None:
        query = query.where(stage_usage.c.started_at >= since)
    with open_state(project).connect() as connection:
        return list(connection.execute(query).mappings())
