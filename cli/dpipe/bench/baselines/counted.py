"""A column's profile in plain Python, from how often each value occurs: one look at a value instead of one a figure."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from dpipe.bench.profile import (
    SAMPLE,
    SHARES,
    TOP,
    TRIAL,
    ColumnProfile,
    hardly_repeat,
    is_profiled,
    plain,
)
from dpipe.bench.work import TEMPORAL

if TYPE_CHECKING:
    from collections import Counter

    from dpipe.contract import Column


def profile_of(column: Column, counts: Counter[Any]) -> ColumnProfile:
    """The profile; what is counted under None are nulls."""
    rows = counts.total()
    nulls = counts.pop(None, 0)
    if not counts or not is_profiled(column):
        return ColumnProfile(rows, nulls)
    top = tuple((plain(value), count) for value, count in counts.most_common(TOP))
    least, greatest = plain(min(counts)), plain(max(counts))
    if column.kind == "string":
        lengths = [len(text) for text in counts]
        total = sum(length * count for length, count in zip(lengths, counts.values(), strict=True))
        return ColumnProfile(
            rows,
            nulls,
            len(counts),
            least,
            greatest,
            total / (rows - nulls),
            top=top,
            lengths=(min(lengths), max(lengths)),
        )
    numbers: list[tuple[Any, int]] = list(counts.items())
    if column.kind in TEMPORAL:
        numbers = [(plain(value), count) for value, count in numbers]
    mean = sum(number * count for number, count in numbers) / (rows - nulls)
    return ColumnProfile(rows, nulls, len(counts), least, greatest, mean, _quantiles(numbers), top)


def _quantiles(numbers: list[tuple[Any, int]]) -> tuple[float, ...]:
    """By rank; a sample does where there are many numbers that hardly repeat."""
    if len(numbers) > TRIAL and hardly_repeat(sum(count for _, count in numbers), len(numbers)):
        numbers = numbers[:: max(1, len(numbers) // SAMPLE)]
    numbers.sort()
    up_to = list(accumulate(count for _, count in numbers))
    return tuple(float(numbers[bisect_left(up_to, share * up_to[-1])][0]) for share in SHARES)
