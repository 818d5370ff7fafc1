"""What accepted values are like, column by column: one shape for every engine, and when two of them say the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpipe.contract import Column

Value = int | float | str
# Of the numbers below a quantile; how many of the most frequent values are told; characters of texts that are.
SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TOP = 10
TEXT_CHARS = 64
# As many rows show whether a column's values hardly repeat: quantiles and frequent values are then those of a sample.
TRIAL, SAMPLE = 1 << 14, 1 << 12

# Up to so many distinct values the kernel counts exactly, and up to so many it knows how often each occurs.
DISTINCT_EXACT, TOP_EXACT = 256, 1024
# How far shares of the values below a quantile, and means, may lie apart.
RANK_OFF, MEAN_OFF = 0.05, 1e-9


@dataclass(frozen=True)
class ColumnProfile:
    """The accepted values of a column; of booleans, objects and arrays only `rows` and `nulls`.

    Dates are days, timestamps microseconds since 1970. Texts are cut to `TEXT_CHARS`; they have `lengths` in
    characters, whose mean is theirs, instead of quantiles. `top` is values with how often they occur.
    """

    rows: int
    nulls: int
    distinct: int = 0
    least: Value | None = None
    greatest: Value | None = None
    mean: float | None = None
    quantiles: tuple[float, ...] = ()
    top: tuple[tuple[Value, int], ...] = ()
    lengths: tuple[int, int] | None = None


def is_profiled(column: Column) -> bool:
    """Whether more is told of it than rows and nulls."""
    return column.kind not in {"boolean", "struct", "list"}


def hardly_repeat(rows: int, distinct: int) -> bool:
    """Whether so many distinct values in the first rows make a sample do, as in the kernel."""
    return distinct > rows - rows // 4


def plain(value: object) -> Value:
    """A value as profiles have it."""
    match value:
        case str():
            return value[:TEXT_CHARS]
        case datetime():
            zoned = value if value.tzinfo else value.replace(tzinfo=UTC)
            return (zoned - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        case date():
            return value.toordinal() - date(1970, 1, 1).toordinal()
        case int() | float():
            return value
        case _:
            raise TypeError(f"no column has values like `{value!r}`")


def number_sql(column: Column, value: str) -> str:
    """DuckDB's SQL of a value that is no text as profiles have it."""
    match column.kind:
        case "date":
            return f"({value} - DATE '1970-01-01')"
        case "timestamp" | "timestamp_ntz":
            return f"epoch_us({value})"
        case _:
            return value


def from_figures(figures: dict[str, Any]) -> ColumnProfile:
    """A profile of what SQL or an expression gives: numbers as they are, texts uncut, null where there are no values.

    `values` are the rows with one; `top` is pairs of `value` and `times`.
    """
    rows, values = int(figures["rows"]), int(figures["values"])
    if not values or "least" not in figures:
        return ColumnProfile(rows, rows - values)
    return ColumnProfile(
        rows,
        rows - values,
        figures["distinct"],
        plain(figures["least"]),
        plain(figures["greatest"]),
        figures["mean"],
        tuple(float(number) for number in figures.get("quantiles") or ()),
        tuple((plain(one["value"]), int(one["times"])) for one in figures.get("top") or ()),
        tuple(figures["lengths"]) if figures.get("lengths") else None,
    )


def difference(
    ours: ColumnProfile,
    theirs: ColumnProfile,
    ranks: tuple[Sequence[tuple[float, float]], Sequence[tuple[float, float]]],
    *,
    distinct_off: float,
) -> str | None:
    """The figure that isn't the same; `ours` is the kernel's.

    `ranks` are for each quantile of ours and of theirs the shares of the rows' values below it, and up to it.
    """
    for name in ("rows", "nulls", "least", "greatest", "lengths"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        if mine != other:
            return f"`{name}` is {other!r} where the kernel has {mine!r}"
    if not _is_near(ours, theirs):
        return f"the mean is {theirs.mean!r} where the kernel has {ours.mean!r}"
    off = abs(ours.distinct - theirs.distinct)
    # The kernel takes the zero below the other for a value of its own.
    if off > (
        distinct_off * ours.distinct if ours.distinct > DISTINCT_EXACT else isinstance(ours.least, float)
    ):
        return f"there are {theirs.distinct:,} distinct values where the kernel has {ours.distinct:,}"
    if len(ours.quantiles) != len(theirs.quantiles):
        return f"there are {len(theirs.quantiles)} quantiles"
    for share, mine, other in zip(SHARES, *ranks, strict=False):
        if max(mine[0] - other[1], other[0] - mine[1]) > RANK_OFF:
            return f"the quantile of {share} lies elsewhere among the values"
    return (
        None
        if _has_same_top(ours, theirs)
        else "the most frequent values are others, or occur more or less often"
    )


def _is_near(ours: ColumnProfile, theirs: ColumnProfile) -> bool:
    if ours.mean is None or theirs.mean is None:
        return ours.mean is theirs.mean
    ends = ours.lengths or (ours.least, ours.greatest)
    # The kernel's mean of dates and timestamps is a whole day or microsecond.
    rounding = 0.5 if isinstance(ours.least, int) else 0.0
    most = max(abs(end) for end in ends if isinstance(end, int | float))
    return math.isclose(ours.mean, theirs.mean, rel_tol=MEAN_OFF, abs_tol=MEAN_OFF * most + rounding)


def _has_same_top(ours: ColumnProfile, theirs: ColumnProfile) -> bool:
    """Where the kernel's counts are exact; of values as frequent as the last, which are told is chance."""
    shown = [value for value, _ in ours.top]
    is_cut = any(isinstance(value, str) and len(value) == TEXT_CHARS for value in shown)
    # The two zeros are equal here.
    if ours.distinct > TOP_EXACT or is_cut or len(set(shown)) < len(shown):
        return True
    counts = [[count for _, count in top] for top in (ours.top, theirs.top)]
    if counts[0] != counts[1]:
        return False
    least = counts[0][-1] if len(counts[0]) == TOP else 0
    more = [{value for value, count in top if count > least} for top in (ours.top, theirs.top)]
    return more[0] == more[1]
