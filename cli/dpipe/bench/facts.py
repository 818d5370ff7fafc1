"""Whether two engines came to the same result, by the files that they wrote and the counts that they gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dpipe.bench import profile
from dpipe.contract.plan import PROVENANCE
from dpipe.quality.from_contract import duckdb_type

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from dpipe.bench.profile import ColumnProfile
    from dpipe.bench.work import Job, Outcome
    from dpipe.contract import Column


@dataclass(frozen=True)
class Facts:
    """A result in figures that don't depend on the order of rows or on how many files hold them.

    `accepted` and `kept` are numbers of rows and sums of their hashes: of every column of accepted rows, and of number,
    disposition and violations of the others. `raw` is the same of the bytes that are kept. `ranks` are for each of a
    profile's quantiles the shares of the accepted values below it, and up to it.
    """

    counts: dict[str, int]
    violations: dict[str, int]
    accepted: tuple[int, int]
    kept: tuple[int, int]
    raw: tuple[int, int]
    profile: dict[str, ColumnProfile]
    ranks: dict[str, list[tuple[float, float]]]


def facts(job: Job, outcome: Outcome) -> Facts:
    """What a job that is done came to."""
    import duckdb

    columns = ", ".join(_hashed(column) for column in job.plan.columns)
    provenance = ", ".join(PROVENANCE)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")

        def summed(folder: Path, row: str) -> tuple[int, int]:
            rows = _rows(folder)
            if rows is None:
                return 0, 0
            found: Any = connection.execute(
                f"SELECT count(*), coalesce(sum(hash({row})), 0) FROM {rows}"
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
            profile=outcome.profile,
            ranks=_ranks(connection, job, outcome.profile),
        )


def _hashed(column: Column) -> str:
    """SQL of a column's values, of which every difference is one of their hashes, too.

    DuckDB hashes no array, an empty one and one of a null alike, and so with objects.
    """
    value = f'"{column.name}"::{duckdb_type(column)}'
    return f"to_json({value})" if column.fields else value


def _rows(folder: Path) -> str | None:
    """SQL that reads a folder's files, if there are any."""
    if not any(folder.rglob("*.parquet")):
        return None
    files = str(folder / "**" / "*.parquet").replace("'", "''")
    return f"read_parquet('{files}', hive_partitioning = false)"


def _ranks(
    connection: DuckDBPyConnection, job: Job, profiles: dict[str, ColumnProfile]
) -> dict[str, list[tuple[float, float]]]:
    told = [
        column for column in job.plan.columns if column.name in profiles and profiles[column.name].quantiles
    ]
    if not told:
        return {}
    shares = []
    for column in told:
        number = profile.number_sql(column, f'"{column.name}"::{duckdb_type(column)}')
        pairs = (
            f"[count_if({number} < {quantile!r}), count_if({number} <= {quantile!r})]"
            for quantile in profiles[column.name].quantiles
        )
        shares.append(f"[{', '.join(pairs)}], count({number})")
    found: Any = connection.execute(f"SELECT {', '.join(shares)} FROM {_rows(job.data)}").fetchone()
    return {
        column.name: [(below / values, up_to / values) for below, up_to in pairs]
        for column, pairs, values in zip(told, found[::2], found[1::2], strict=True)
    }


def difference(ours: Facts, theirs: Facts, *, with_bytes: bool, distinct_off: float = 0.1) -> str | None:
    """What is different, the most telling first; None when it is the same result.

    `ours` is the kernel's; `distinct_off` as in `dpipe.bench.profile.difference`.
    """
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
    return _difference_of_profiles(ours, theirs, distinct_off)


def _difference_of_profiles(ours: Facts, theirs: Facts, distinct_off: float) -> str | None:
    for name, mine in ours.profile.items():
        ranks = ours.ranks.get(name, []), theirs.ranks.get(name, [])
        said = profile.difference(mine, theirs.profile[name], ranks, distinct_off=distinct_off)
        if said:
            return f"in the profile of `{name}` {said}"
    return None
