"""Whether two engines came to the same result, by the files that they wrote and the counts that they gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dpipe.contract.plan import PROVENANCE
from dpipe.quality.from_contract import duckdb_type

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.bench.work import Job, Outcome


@dataclass(frozen=True)
class Facts:
    """A result in figures that don't depend on the order of rows or on how many files hold them.

    `accepted` and `kept` are numbers of rows and sums of their hashes: of every column of accepted rows, and of number,
    disposition and violations of the others. `raw` is the same of the bytes that are kept.
    """

    counts: dict[str, int]
    violations: dict[str, int]
    accepted: tuple[int, int]
    kept: tuple[int, int]
    raw: tuple[int, int]


def facts(job: Job, outcome: Outcome) -> Facts:
    """What a job that is done came to."""
    import duckdb

    columns = ", ".join(f'"{column.name}"::{duckdb_type(column)}' for column in job.plan.columns)
    provenance = ", ".join(PROVENANCE)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")

        def summed(folder: Path, row: str) -> tuple[int, int]:
            if not any(folder.rglob("*.parquet")):
                return 0, 0
            files = str(folder / "**" / "*.parquet").replace("'", "''")
            found: Any = connection.execute(
                f"SELECT count(*), coalesce(sum(hash({row})), 0) "
                f"FROM read_parquet('{files}', hive_partitioning = false)"
            ).fetchone()
            return int(found[0]), int(found[1])

        # The kernel names what a duplicate is among its violations, too.
        broken = """if(disposition = 'duplicate', [],
            list_sort(list_transform(violations, one -> [one.column, one.rule])))"""
        return Facts(
            counts={
                "records_in": outcome.records_in,
                "accepted": outcome.accepted,
                "rejected": outcome.rejected,
                "duplicate": outcome.duplicate,
            },
            violations={
                f"{column or 'record'}: {rule}": number
                for (column, rule), number in sorted(outcome.violations.items(), key=str)
            },
            accepted=summed(job.data, f"{columns}, {provenance}"),
            kept=summed(job.quarantine, f"_dpipe_record_no, disposition, {broken}"),
            raw=summed(job.quarantine, "_dpipe_record_no, raw"),
        )


def difference(ours: Facts, theirs: Facts, *, with_bytes: bool) -> str | None:
    """What is different, the most telling first; None when it is the same result."""
    for name, number in ours.counts.items():
        if theirs.counts[name] != number:
            return f"{name} is {theirs.counts[name]:,} where the kernel has {number:,}"
    for rule in sorted(ours.violations.keys() | theirs.violations.keys()):
        mine, other = ours.violations.get(rule, 0), theirs.violations.get(rule, 0)
        if mine != other:
            return f"{other:,} records break `{rule}` where the kernel has {mine:,}"
    if ours.accepted != theirs.accepted:
        return "the accepted rows differ"
    if ours.kept != theirs.kept:
        return "the rejected and duplicate records differ"
    if with_bytes and ours.raw != theirs.raw:
        return "the bytes of rejected and duplicate records differ"
    return None
