"""How many bytes keys may submit a day, and have today: one count for all servers that share the database.

Days are those of UTC. A server that dies while a body is on its way leaves it counted, until the day ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import case, select, update

from dpipe.state.schema import api_quotas

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import ColumnElement, Engine


def reserve(engine: Engine, key_id: str, size: int, day: date) -> bool:
    """Count bytes of a key, unless they are more than it has left for the day; whether they were counted."""
    today = _today(day)
    fits = update(api_quotas).where(api_quotas.c.key_id == key_id, today + size <= api_quotas.c.bytes_per_day)
    with engine.begin() as connection:
        done = connection.execute(fits.values(bytes=today + size, day=day.isoformat()))
    return done.rowcount == 1


def release(engine: Engine, key_id: str, size: int, day: date) -> None:
    """Count them no longer, unless the day is over."""
    counted = update(api_quotas).where(api_quotas.c.key_id == key_id, api_quotas.c.day == day.isoformat())
    with engine.begin() as connection:
        connection.execute(counted.values(bytes=api_quotas.c.bytes - size))


def used(engine: Engine, day: date) -> dict[str, int]:
    """Bytes that the keys which have a quota submitted on a day, by the key's id."""
    with engine.connect() as connection:
        rows = connection.execute(select(api_quotas.c.key_id, _today(day).label("bytes"))).mappings().all()
    return {row["key_id"]: row["bytes"] for row in rows}


def _today(day: date) -> ColumnElement[int]:
    return case((api_quotas.c.day == day.isoformat(), api_quotas.c.bytes), else_=0)
