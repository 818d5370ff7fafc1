"""Which batches a warehouse file holds and which it is to take in: the schema `dpipe_meta`.

Values are written into the SQL as literals: the first statement with parameters makes DuckDB import pandas, which takes
longer than all that is done here.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb

from dpipe.warehouse.lake import attach_lake

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LEDGER = "dpipe.batches"
BEGIN = """
create schema if not exists dpipe_meta;
create table if not exists dpipe_meta.transformed_batches (
    dataset varchar, batch_id varchar, snapshot_id bigint, transformed_at timestamptz
);
create or replace table dpipe_meta.batches_begun (dataset varchar, batch_id varchar, snapshot_id bigint);
create or replace table dpipe_meta.batches_to_transform (
    dataset varchar, batch_id varchar, snapshot_id bigint, received_at timestamp
);
"""
FINISH = """
begin;
insert into dpipe_meta.transformed_batches select *, now() from dpipe_meta.batches_begun;
create or replace table dpipe_meta.candidate as
select {candidate_id} as candidate_id, {project_hash} as project_hash, {run_id} as run_id, now() as built_at;
drop table dpipe_meta.batches_begun;
commit;
checkpoint;
"""
# A replay's rows are those of its origin, and count as received with it.
BATCHES = """
select
    batches.dataset,
    batches.batch_id,
    batches.snapshot_id,
    batches.origin,
    coalesce(batches.superseded, '{}') <> '{}',
    cast(coalesce(origins.received_at, batches.received_at) at time zone 'UTC' as varchar)
from lake.dpipe.batches
left join lake.dpipe.batches as origins on batches.dataset = origins.dataset and batches.origin = origins.batch_id
"""


@dataclass(frozen=True)
class Batch:
    """A committed batch, and the snapshot of its raw table that has it."""

    dataset: str
    batch_id: str
    snapshot_id: int
    origin: str | None = field(default=None, compare=False)
    """Of a replay: the batch that its rows belong to."""
    superseded: bool = field(default=False, compare=False)
    """Whether rows of other batches left the table for its rows."""
    received_at: str | None = field(default=None, compare=False)
    """When its rows were received, of a replay those of its origin: a text in UTC without zone, ISO 8601."""


@dataclass(frozen=True)
class Contents:
    """What a warehouse file was made of: the build's id, the dbt project's hash and the batches."""

    candidate_id: str
    project_hash: str
    batches: frozenset[Batch]


def ledger(locations: Mapping[str, str]) -> frozenset[Batch]:
    """Every batch of the lake's ledger at the moment that `locations` fix; empty without a ledger."""
    if LEDGER not in locations:
        return frozenset()
    with duckdb.connect() as connection:
        attach_lake(connection, {LEDGER: locations[LEDGER]})
        found = connection.execute(BATCHES).fetchall()
    return frozenset(Batch(*row) for row in found)


def contents(database: Path) -> Contents:
    """What a warehouse file holds. Raises `duckdb.Error` when it isn't one."""
    with duckdb.connect(str(database), read_only=True) as connection:
        named = connection.execute("select candidate_id, project_hash from dpipe_meta.candidate").fetchall()
        held = connection.execute("select dataset, batch_id, snapshot_id from dpipe_meta.transformed_batches")
        batches = frozenset(Batch(*row) for row in held.fetchall())
    ((candidate_id, project_hash),) = named
    return Contents(candidate_id, project_hash, batches)


def transformed_at(database: Path, dataset: str, batch_id: str) -> datetime | None:
    """When a build took the batch in, None when the warehouse file doesn't hold it. Raises `duckdb.Error`."""
    with duckdb.connect(str(database), read_only=True) as connection:
        held = connection.table("dpipe_meta.transformed_batches")
        wanted = f"dataset = {_literal(dataset)} and batch_id = {_literal(batch_id)}"
        found = held.filter(wanted).aggregate("epoch_ms(min(transformed_at))").fetchone()
    return None if found is None or found[0] is None else datetime.fromtimestamp(found[0] / 1000, UTC)


def begin(database: Path, batches: Iterable[Batch]) -> None:
    """Write down the batches that the build is to take in, and those whose rows incremental models select."""
    begun = list(batches)
    held = {
        "batches_begun": {_row(batch) for batch in begun},
        "batches_to_transform": {_row_of_rows(batch) for batch in rows_to_select(begun)},
    }
    with duckdb.connect(str(database)) as connection:
        connection.execute(BEGIN)
        for table, rows in held.items():
            if rows:
                connection.execute(f"insert into dpipe_meta.{table} values {', '.join(sorted(rows))}")  # noqa: S608 - literals


def rows_to_select(begun: Iterable[Batch]) -> set[Batch]:
    """The batches whose rows incremental models select: a replay's are rows of the batch that it came from."""
    return {replace(batch, batch_id=batch.origin or batch.batch_id) for batch in begun}


def finish(database: Path, project_hash: str, run_id: str) -> str:
    """Record that the build took its batches in, in one transaction; returns the candidate's new id."""
    candidate_id = str(uuid.uuid4())
    names = {"candidate_id": candidate_id, "project_hash": project_hash, "run_id": run_id}
    with duckdb.connect(str(database)) as connection:
        connection.execute(FINISH.format(**{name: _literal(value) for name, value in names.items()}))
    return candidate_id


def tables(database: Path) -> set[str]:
    """The tables that a warehouse file has, `<schema>.<table>`."""
    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute("select schema_name || '.' || table_name from duckdb_tables()")
        return {name for (name,) in found.fetchall()}


def mart_rows(database: Path) -> dict[str, int]:
    """Rows of each table in the schema `marts`, by `marts.<table>`."""
    counts = {}
    with duckdb.connect(str(database), read_only=True) as connection:
        tables = connection.execute(
            "select table_name from duckdb_tables() where schema_name = 'marts' order by 1"
        )
        for (name,) in tables.fetchall():
            quoted = name.replace('"', '""')
            counted = connection.execute(f'select count(*) from marts."{quoted}"').fetchall()  # noqa: S608 - quoted
            counts[f"marts.{name}"] = int(counted[0][0])
    return counts


def _row(batch: Batch) -> str:
    return f"({_literal(batch.dataset)}, {_literal(batch.batch_id)}, {int(batch.snapshot_id)})"


def _row_of_rows(batch: Batch) -> str:
    """The batch, and when its rows were received."""
    received_at = "null" if batch.received_at is None else _literal(batch.received_at)
    return f"{_row(batch).removesuffix(')')}, {received_at})"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
