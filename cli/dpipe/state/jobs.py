"""Jobs: what was submitted to the API, by whom and when. What became of them is the lake's to say.

A submission is noted before its bytes land: of two with one id, by whatever servers, only one can have its bytes there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, desc, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from dpipe.state.schema import jobs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

KNOWN_AT_ONCE = 500


@dataclass(frozen=True)
class JobRow:
    """A submission; `key_id` is the key that it came with."""

    job_id: str
    dataset: str
    key_id: str
    received_at: datetime
    bytes: int
    sha256: str


def claim(engine: Engine, rows: Sequence[JobRow]) -> dict[str, JobRow]:
    """Note submissions, in one transaction; of those that were there before, which stay as they are, the rows."""
    new = {row.job_id: vars(row) for row in rows}
    if not new or _are_all_new(engine, new):
        return {}
    statement = _insert(engine).returning(jobs.c.job_id)
    with engine.begin() as connection:
        made: set[str] = set(connection.execute(statement, list(new.values())).scalars())
        return {
            row["job_id"]: JobRow(**row)
            for some in _parts(new.keys() - made)
            for row in connection.execute(select(jobs).where(jobs.c.job_id.in_(some))).mappings()
        }


def _are_all_new(engine: Engine, new: dict[str, dict[str, Any]]) -> bool:
    """Note submissions if none was there before: to have back which ones were takes most of the time."""
    with engine.connect() as connection:
        is_all = connection.execute(_insert(engine), list(new.values())).rowcount == len(new)
        if is_all:
            connection.commit()
        else:
            connection.rollback()
    return is_all


def _insert(engine: Engine) -> Any:  # noqa: ANN401 - the dialects' statements have no type in common
    dialects: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    return dialects[engine.dialect.name](jobs).on_conflict_do_nothing()


def forget(engine: Engine, job_ids: Iterable[str]) -> None:
    """Delete submissions that came to nothing, or that have been over for long."""
    with engine.begin() as connection:
        for some in _parts(job_ids):
            connection.execute(delete(jobs).where(jobs.c.job_id.in_(some)))


def datasets(engine: Engine) -> list[str]:
    """Datasets that anything was submitted to, sorted."""
    with engine.connect() as connection:
        return sorted(connection.execute(select(jobs.c.dataset).distinct()).scalars())


def received_before(engine: Engine, dataset: str, moment: datetime) -> set[str]:
    """Ids of a dataset's submissions that came before a moment."""
    query = select(jobs.c.job_id).where(jobs.c.dataset == dataset, jobs.c.received_at < moment)
    with engine.connect() as connection:
        return set(connection.execute(query).scalars())


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
    with engine.connect() as connection:
        for some in _parts(unknown):
            known = select(jobs.c.job_id).where(jobs.c.job_id.in_(some))
            unknown -= set(connection.execute(known).scalars())
    return unknown


def _parts(job_ids: Iterable[str]) -> Iterator[list[str]]:
    """The ids in lists that a statement can take as parameters."""
    wanted = sorted(job_ids)
    for start in range(0, len(wanted), KNOWN_AT_ONCE):
        yield wanted[start : start + KNOWN_AT_ONCE]
