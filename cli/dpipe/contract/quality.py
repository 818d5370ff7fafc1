"""Whole-batch rules: a number counted over rows, and what it must be."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Metric = Literal["rowCount", "nullValues", "missingValues", "invalidValues", "duplicateValues"]
Unit = Literal["rows", "percent"]
Severity = Literal["error", "warning"]
Value = str | int | None

# ODCS's operators; `mustBeBetween` is "greater than and less than", so its ends are out.
COMPARISONS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "mustBe": ("=", operator.eq),
    "mustNotBe": ("≠", operator.ne),
    "mustBeGreaterThan": (">", operator.gt),
    "mustBeGreaterOrEqualTo": ("≥", operator.ge),
    "mustBeLessThan": ("<", operator.lt),
    "mustBeLessOrEqualTo": ("≤", operator.le),
}
RANGES = ("mustBeBetween", "mustNotBeBetween")
OPERATORS = (*COMPARISONS, *RANGES)


@dataclass(frozen=True)
class QualityRule:
    """A rule on a batch as a whole; `thresholds` holds one number, or the two ends of a range.

    `columns` are those that the metric looks at: none for `rowCount`, one for a column's metric, one or more
    for `duplicateValues`. `values` are the arguments of `missingValues` and `invalidValues`, `pattern` the
    other one of `invalidValues`. With the unit `percent`, numbers are 0 to 100, and no rows count as 0.
    """

    name: str
    metric: Metric
    operator: str
    thresholds: tuple[float, ...]
    columns: tuple[str, ...] = ()
    unit: Unit = "rows"
    severity: Severity = "error"
    dimension: str | None = None
    values: tuple[Value, ...] = ()
    pattern: str | None = None
    description: str = ""

    @property
    def column(self) -> str | None:
        """The column that the rule is about, when it is about one."""
        return self.columns[0] if len(self.columns) == 1 else None

    def sql(self, relation: str) -> str:
        """A DuckDB query that yields the metric as one number.

        `relation` is SQL for what to read and goes in as it is: a quoted name, `read_parquet([…])`, a query
        in brackets. Nulls are neither invalid nor duplicates; a duplicate is each row after the first with
        its values. The gate counts duplicate records into `rowCount`, which no file of accepted rows holds.
        """
        if self.metric == "rowCount":
            return f"select count(*) from {relation} as batch"  # noqa: S608 - identifiers and texts are quoted
        if self.metric == "duplicateValues":
            row = f"({', '.join(quoted(column) for column in self.columns)})"
            present = " and ".join(f"{quoted(column)} is not null" for column in self.columns)
            count = f"count(*) filter (where {present}) - count(distinct {row}) filter (where {present})"
        else:
            count = f"count(*) filter (where {self._condition()})"
        if self.unit == "percent":
            count = f"coalesce(100.0 * ({count}) / nullif(count(*), 0), 0.0)"
        return f"select {count} from {relation} as batch"  # noqa: S608

    def holds(self, value: float) -> bool:
        """Whether the metric's value is what the rule asks for."""
        if self.operator in COMPARISONS:
            return COMPARISONS[self.operator][1](value, self.thresholds[0])
        inside = self.thresholds[0] < value < self.thresholds[1]
        return inside if self.operator == "mustBeBetween" else not inside

    def describe(self) -> str:
        """The rule in a few words: `null values of wind_gust < 90 percent`."""
        words = {
            "rowCount": "row count",
            "nullValues": "null values",
            "missingValues": "missing values",
            "invalidValues": "invalid values",
            "duplicateValues": "duplicate values",
        }
        of = f" of {', '.join(self.columns)}" if self.columns else ""
        if self.operator in COMPARISONS:
            asked = f"{COMPARISONS[self.operator][0]} {_number(self.thresholds[0])}"
        else:
            low, high = self.thresholds
            asked = f"{'not ' if self.operator == 'mustNotBeBetween' else ''}between {_number(low)} and {_number(high)}"
        return f"{words[self.metric]}{of} {asked}{' percent' if self.unit == 'percent' else ''}"

    def _condition(self) -> str:
        column = quoted(self.columns[0])
        if self.metric == "nullValues":
            return f"{column} is null"
        if self.metric == "missingValues":
            tests = [f"{column} is null"] if None in self.values else []
            return " or ".join(tests + _membership(column, "in", self.values))
        if self.pattern is not None:
            return f"not regexp_matches({column}, {_literal(self.pattern)})"
        return f"{column} is not null and {_membership(column, 'not in', self.values)[0]}"


def quoted(identifier: str) -> str:
    """An SQL identifier in double quotes."""
    doubled = identifier.replace('"', '""')
    return f'"{doubled}"'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:g}"


def _membership(column: str, test: str, values: Sequence[Value]) -> list[str]:
    present = [_literal(value) for value in values if value is not None]
    return [f"{column} {test} ({', '.join(present)})"] if present else []


def _literal(value: str | int | Decimal) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, int):
        return str(value)
    doubled = value.replace("'", "''")
    return f"'{doubled}'"
