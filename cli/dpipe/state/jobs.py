"""Jobs: what was submitted to the API, by whom and when. What became of them is the lake's to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import desc, insert, select, tuple_
from sqlalchemy.exc import IntegrityError

from dpipe.state.schema import jobs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

KNOWN_AT_ONCE = 500
TRIES = 5


@dataclass(frozen=True)
class JobRow:
    """A submission; `key_id` is the key that it came with."""

    job_id: str
    dataset: str
    key_id: str
    received_at: datetime
    bytes: int
    sha256: str


def add(engine: Engine, rows: Sequence[JobRow]) -> None:
    """Note submissions that are durable, in one transaction; those that are there stay as they are."""
    for _ in range(TRIES):
        unknown = missing(engine, (row.job_id for row in rows))
        new = {row.job_id: vars(row) for row in rows if row.job_id in unknown}
        if not new:
            return
        try:
            with engine.begin() as connection:
                connection.execute(insert(jobs), list(new.values()))
        except IntegrityError:
            continue  # another server was quicker with one of them
        return


def find(engine: Engine, job_id: str) -> JobRow | None:
    """The submission with this id."""
    with engine.connect() as connection:
        row = connection.execute(select(jobs).where(jobs.c.job_id == job_id)).mappings().first()
    return None if row is None else JobRow(**row)


def listed(
    engine: Engine, datasets: Collection[str], *, limit: int, before: JobRow | None = None
) -> list[JobRow]:
    """The latest submissions of these datasets, latest first; with `before`, those that came before that one."""
    query = select(jobs).where(jobs.c.dataset.in_(datasets))
    if before is not None:
        query = query.where(tuple_(jobs.c.received_at, jobs.c.job_id) < (before.received_at, before.job_id))
    query = query.order_by(desc(jobs.c.received_at), desc(jobs.c.job_id)).limit(limit)
    with engine.connect() as connection:
        return [JobRow(**row) for row in connection.execute(query).mappings()]


def missing(engine: Engine, job_ids: Iterable[str]) -> set[str]:
    """Which of these the database doesn't know."""
    unknown = set(job_ids)
    wanted = sorted(unknown)
    with engine.connect() as connection:
        for start in range(0, len(wanted), KNOWN_AT_ONCE):
            some = jobs.c.job_id.in_(wanted[start : start + KNOWN_AT_ONCE])
            unknown -= set(connection.execute(select(jobs.c.job_id).where(some)).scalars())
    return unknown
