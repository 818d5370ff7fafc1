"""The files' rows against the ledger: every record of every batch is there, once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from dpipe.iceberg.schema import BATCH_ID, RECORD_NO
from dpipe.iceberg.storage import is_local, local_path
from dpipe.warehouse.lake import load_extensions, reach_storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpipe.iceberg.attempt import BatchEntry
    from dpipe.stages.audit.findings import DatasetAudit

# Record numbers are 1, 2, 3 …, so they are marked in words of 64 bits, and memory is taken for each word; to count
# distinct values it would be for each record.
COUNT = f"""
with words as (
    select {BATCH_ID} as batch_id, {RECORD_NO} // 64 as word,
        count_if(disposition = 'accepted') as accepted, count_if(disposition = 'rejected') as rejected,
        count_if(disposition = 'duplicate') as duplicate, count(*) as rows,
        min({RECORD_NO}) as least, max({RECORD_NO}) as most,
        bit_or(1::ubigint << (abs({RECORD_NO}) % 64)::ubigint) as numbers,
        bit_or(1::ubigint << (abs({RECORD_NO}) % 64)::ubigint) filter (disposition = 'accepted') as accepted_numbers
    from records group by all
)
select batch_id, sum(accepted)::bigint, sum(rejected)::bigint, sum(duplicate)::bigint, sum(rows)::bigint,
    coalesce(sum(bit_count(numbers)), 0)::bigint, min(least), max(most),
    coalesce(sum(bit_count(accepted_numbers)), 0)::bigint
from words group by batch_id order by batch_id
"""  # noqa: S608 - names of columns


@dataclass(frozen=True)
class Counted:
    """What the files have of a batch; `numbers` counts its different record numbers, from `least` to `most`.

    `accepted_numbers` counts those of accepted rows.
    """

    accepted: int = 0
    rejected: int = 0
    duplicate: int = 0
    rows: int = 0
    numbers: int = 0
    least: int = 0
    most: int = 0
    accepted_numbers: int = 0


def check_records(
    audit: DatasetAudit, batches: Sequence[BatchEntry], accepted: Sequence[str], quarantined: Sequence[str]
) -> None:
    """Count raw's and quarantine's rows by batch and disposition; record numbers must be 1 to records in.

    The rows of a replay are the batch's that its records came in.
    """
    try:
        counted = _count(accepted, quarantined)
    except duckdb.Error as error:
        audit.find(
            "records", f"raw.{audit.dataset}", f"its files can't be counted: {str(error).splitlines()[0]}"
        )
        return
    replays: dict[str, list[BatchEntry]] = {}
    for batch in batches:
        if batch.origin is not None:
            replays.setdefault(batch.origin, []).append(batch)
    superseded = sum((Counter(batch.superseded) for batch in batches), Counter())
    for batch in batches:
        if batch.origin is None:
            found = counted.pop(batch.batch_id, Counted())
            problem = _problem(batch, replays.pop(batch.batch_id, []), superseded[batch.batch_id], found)
            if problem:
                audit.find("records", batch.batch_id, problem)
    for origin, of_origin in replays.items():
        audit.find(
            "records",
            of_origin[0].batch_id,
            f"it replays records of `{origin}`, which the ledger doesn't have",
        )
    for batch_id, found in counted.items():
        audit.find(
            "records", batch_id, f"the files have {found.rows:,} rows of it, and the ledger no such batch"
        )


def _problem(batch: BatchEntry, replays: Sequence[BatchEntry], superseded: int, found: Counted) -> str | None:
    """What of the batch isn't as the ledger has it; `superseded` rows of it are in raw no longer."""
    for name in ("accepted", "rejected", "duplicate"):
        there, said = getattr(found, name), sum(getattr(one, name) for one in (batch, *replays))
        said -= superseded if name == "accepted" else 0
        if there != said:
            return f"the files have {there:,} {name} records of it, the ledger {said:,}"
    # A superseded row's number is gone with it, unless it was replayed and has its judgement in quarantine.
    least = batch.records_in - superseded
    most = min(batch.records_in, least + sum(one.accepted for one in replays))
    ends = found.least >= 1 and found.most <= batch.records_in
    if found.rows and not (ends and least <= found.numbers <= most):
        return (
            f"its {found.rows:,} rows have {found.numbers:,} record numbers from {found.least:,} to {found.most:,}, "
            f"not each from 1 to {batch.records_in:,}"
        )
    if found.accepted != found.accepted_numbers:
        return f"{found.accepted - found.accepted_numbers:,} of its records are in raw more than once"
    return None


def _count(accepted: Sequence[str], quarantined: Sequence[str]) -> dict[str, Counted]:
    parts = []
    with duckdb.connect() as connection:
        if not all(map(is_local, (*accepted, *quarantined))):
            load_extensions(connection)
            reach_storage(connection)
        for name, locations, disposition in (
            ("accepted", accepted, "'accepted' as disposition"),
            ("quarantined", quarantined, "disposition"),
        ):
            if locations:
                # The folders are named after partition values, which must not turn into columns.
                rows = connection.read_parquet(
                    [local_path(location) for location in locations],
                    hive_partitioning=False,
                    union_by_name=True,
                )
                rows.select(f"{BATCH_ID}, {RECORD_NO}, {disposition}").create_view(name)
                parts.append(f"from {name}")
        if not parts:
            return {}
        connection.execute(f"create temp view records as {' union all '.join(parts)}")
        return {row[0]: Counted(*row[1:]) for row in connection.execute(COUNT).fetchall()}
