"""What `process` and `profile` return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dpipe._kernel import RecordBatches

Value = int | float | str
"""A value of a column: a number, or text; dates, times and timestamps are ISO 8601, timestamps with a zone in UTC."""


@dataclass(frozen=True)
class Violation:
    """How many `records` broke one rule; one record counts once for each rule that it broke.

    `column` is the way to the value (`items[].price`), None when the record as a whole is broken.
    """

    column: str | None
    rule: str
    records: int


@dataclass(frozen=True)
class Check:
    """What a whole-batch rule of the contract comes to.

    `value` is in the rule's unit, rows or percent (0 to 100); `description` says what it must be. `severity` is what
    the contract makes of it: by an `error` the pipeline would refuse the batch.
    """

    rule: str
    column: str | None
    passed: bool
    value: float
    severity: Literal["error", "warning"]
    description: str


@dataclass(frozen=True)
class Frequency:
    """A value and how many rows have it; where values hardly repeat the number is an estimate."""

    value: Value
    rows: int


@dataclass(frozen=True)
class Lengths:
    """Lengths of a column's texts, in characters (Unicode code points)."""

    least: int
    greatest: int
    mean: float


@dataclass(frozen=True)
class ColumnProfile:
    """What the accepted values of one column are like.

    `rows` counts all rows, `nulls` those without a value. `distinct` is an estimate from some thousand values on.
    `least`, `greatest`, `mean` and `quantiles` (`p01`, `p05`, `p25`, `p50`, `p75`, `p95`, `p99`, estimates) are in the
    column's own unit; `lengths` is there for texts in their stead, whose `least` and `greatest` are cut to 64
    characters. `top` has the ten most frequent values. Of booleans, decimals, times of day, objects and arrays only
    rows and nulls are known, and the rest is None or empty.
    """

    column: str
    type: str
    rows: int
    nulls: int
    distinct: int | None
    least: Value | None
    greatest: Value | None
    mean: float | str | None
    quantiles: Mapping[str, Value]
    lengths: Lengths | None
    top: tuple[Frequency, ...]


@dataclass(frozen=True)
class Counts:
    """What became of the records: `records_in` = `accepted_count` + `rejected_count` + `duplicate_count`.

    `violations` says which rules were broken how often, `unknown_fields` how many records have each field that the
    contract doesn't know.
    """

    records_in: int
    accepted_count: int
    rejected_count: int
    duplicate_count: int
    violations: tuple[Violation, ...]
    unknown_fields: Mapping[str, int]

    def _balance(self) -> str:
        broken = sorted(self.violations, key=lambda violation: -violation.records)
        most = [
            f"{violation.records:,} by `{violation.rule}`"
            + (f" of `{violation.column}`" if violation.column else "")
            for violation in broken[:3]
        ]
        rejected = f"{self.rejected_count:,} rejected" + (f" ({', '.join(most)})" if most else "")
        return (
            f"{self.records_in:,} records in = {self.accepted_count:,} accepted + {rejected} + "
            f"{self.duplicate_count:,} duplicate"
        )


@dataclass(frozen=True, repr=False, eq=False)
class Result(Counts):
    """A source under a contract: every record of it is in `accepted` or in `quarantine`.

    Both are Arrow streams that can be read any number of times: `pyarrow.table(result.accepted)`,
    `polars.DataFrame(result.accepted)` and DuckDB take them over without a copy; `len` is the number of rows.

    `accepted` has the contract's columns in their order, then `_dpipe_batch_id`, `_dpipe_record_no` (a record's number
    in the source, from 1) and `_dpipe_contract` (the contract's hash), a row each accepted record, in the order of
    the source. `quarantine` has a row each rejected or duplicate record, in that order too: `disposition`, the record's
    bytes (`raw`; of a columnar source its row as JSON), their place (`byte_offset` and `byte_length` in the
    decompressed source, `line` from 1), every violation (`violations`: column, rule, message), and of a duplicate the
    record that was first (`winner_record_no`).

    `checks` are the contract's whole-batch rules, `profile` has the accepted values of each column (empty without any,
    or when it wasn't asked for). `format` and `compression` are those that were read, `bytes_in` the bytes of the
    decompressed source, of the Parquet file, or of an Arrow stream's columns in memory.
    """

    accepted: RecordBatches
    quarantine: RecordBatches
    checks: tuple[Check, ...]
    profile: tuple[ColumnProfile, ...]
    format: str
    compression: str
    bytes_in: int

    def __repr__(self) -> str:
        failed = [check.rule for check in self.checks if not check.passed]
        checks = f"; failed checks: {', '.join(failed)}" if failed else ""
        return f"<Result: {self._balance()}{checks}>"


@dataclass(frozen=True, repr=False)
class Profile(Counts):
    """What the values of a source's columns are like: those of the records that were accepted.

    Without a contract a record is rejected only where a value has no place in the column's type, as a timestamp that is
    finer than a microsecond. `left_out` are columns without a profile, with their Arrow types.
    """

    columns: tuple[ColumnProfile, ...]
    left_out: Mapping[str, str]

    def __getitem__(self, column: str) -> ColumnProfile:
        """The profile of one column; `KeyError` when there is none."""
        for found in self.columns:
            if found.column == column:
                return found
        raise KeyError(column)

    def __repr__(self) -> str:
        columns = ", ".join(found.column for found in self.columns) or "nothing"
        return f"<Profile of {columns}: {self._balance()}>"
