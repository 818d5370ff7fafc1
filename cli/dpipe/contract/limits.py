"""`logicalTypeOptions` → rules that the kernel checks on every value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dpipe.contract import patterns
from dpipe.contract.findings import did_you_mean, listed
from dpipe.contract.plan import Rule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dpipe.contract.findings import Report
    from dpipe.contract.plan import Kind, RuleName
    from dpipe.contract.source import DocumentPath

LIMITS: tuple[RuleName, ...] = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
LENGTHS: tuple[RuleName, ...] = ("minLength", "maxLength")
MAX_LENGTH = (1 << 31) - 1

# What each type's options may be, and what ODCS has beyond that: a rule that nothing enforces yet.
ENFORCED: dict[str, tuple[str, ...]] = {
    "string": (*LENGTHS, "pattern"),
    "integer": (*LIMITS, "format"),
    "number": (*LIMITS, "format"),
    "boolean": (),
    "date": ("format",),
    "timestamp": ("format", "timezone"),
}
_TEST_IT = "leave it out, or test it in `transform/`"
NOT_ENFORCED: dict[str, dict[str, str]] = {
    "string": {"format": "write the format as `pattern`"},
    "integer": {"multipleOf": "leave it out, or list the values with `invalidValues`"},
    "number": {"multipleOf": _TEST_IT},
    "boolean": {},
    "date": dict.fromkeys(map(str, LIMITS), _TEST_IT),
    "timestamp": {
        **dict.fromkeys(map(str, LIMITS), _TEST_IT),
        "defaultTimezone": "write `timezone: true`, so that every value says its zone",
    },
}
RANGES = {"int8": (-(1 << 7), (1 << 7) - 1), "int16": (-(1 << 15), (1 << 15) - 1)}
BITS: dict[str, int] = {"int32": 31, "int64": 63}


def check_names(report: Report, logical_type: str, options: dict[str, Any], at: DocumentPath) -> None:
    """Report options that ODCS doesn't have for the type, or that nothing enforces."""
    known = ENFORCED[logical_type]
    for name in options:
        if name in NOT_ENFORCED[logical_type]:
            hint = NOT_ENFORCED[logical_type][name]
            report.error((*at, name), f"nothing enforces `{name}` of a {logical_type} yet", hint, key=True)
        elif name not in known:
            report.error(
                (*at, name), f"`{name}` is no option of a {logical_type}", did_you_mean(name, known), key=True
            )


def rules(
    report: Report, kind: Kind, width: str | None, options: dict[str, Any], at: DocumentPath
) -> list[Rule]:
    """Limits, lengths and the pattern of one column.

    `width` is `int8` or `int16` for a column that is stored in 32 bits and holds fewer.
    """
    if kind == "string":
        return [*_lengths(report, options, at), *_pattern(report, options.get("pattern"), (*at, "pattern"))]
    if kind in {"int32", "int64", "float64"}:
        return _limits(report, kind, width, options, at)
    return []


def _limits(
    report: Report, kind: Kind, width: str | None, options: dict[str, Any], at: DocumentPath
) -> list[Rule]:
    given: dict[RuleName, float] = {}
    for name in LIMITS:
        value = options.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            report.error((*at, name), f"`{name}` is not a number", "write a number, without quotes")
        elif abs(value) >= 1 << 53 and kind != "float64":
            report.error(
                (*at, name), f"`{name}` is beyond 2^53, where limits lose digits", "write a smaller limit"
            )
        elif kind in BITS and not -(1 << BITS[kind]) <= value < 1 << BITS[kind]:
            report.error(
                (*at, name), f"`{name}` is outside the column's type", "leave it out, or use `format: i64`"
            )
        else:
            given[name] = float(value)
    if given and not _leaves_a_value(given, kind, width):
        name = next(name for name in reversed(LIMITS) if name in given)
        report.error(
            (*at, name), "no value keeps these limits", "put the smaller one first, within the type's range"
        )
    if width:
        least, most = RANGES[width]
        if max(given.get("minimum", -math.inf), given.get("exclusiveMinimum", -math.inf)) < least:
            given["minimum"] = float(least)
        if min(given.get("maximum", math.inf), given.get("exclusiveMaximum", math.inf)) > most:
            given["maximum"] = float(most)
    return [Rule(name, given[name]) for name in LIMITS if name in given]


def _leaves_a_value(given: Mapping[RuleName, float], kind: Kind, width: str | None) -> bool:
    low = max(given.get("minimum", -math.inf), given.get("exclusiveMinimum", -math.inf))
    high = min(given.get("maximum", math.inf), given.get("exclusiveMaximum", math.inf))
    without_low = given.get("exclusiveMinimum") == low
    without_high = given.get("exclusiveMaximum") == high
    if kind == "float64":
        return low < high or (low == high and not without_low and not without_high)
    least, most = RANGES[width] if width else (-(1 << BITS[kind]), (1 << BITS[kind]) - 1)
    first = least if low == -math.inf else max(least, math.floor(low) + 1 if without_low else math.ceil(low))
    last = most if high == math.inf else min(most, math.ceil(high) - 1 if without_high else math.floor(high))
    return first <= last


def _lengths(report: Report, options: dict[str, Any], at: DocumentPath) -> list[Rule]:
    given: dict[RuleName, int] = {}
    for name in LENGTHS:
        value = options.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_LENGTH:
            report.error((*at, name), f"`{name}` is not a count of characters", "write a whole number from 0")
        else:
            given[name] = value
    if given.get("minLength", 0) > given.get("maxLength", MAX_LENGTH):
        report.error((*at, "maxLength"), "`maxLength` is below `minLength`", "put the smaller number first")
    return [Rule(name, value) for name, value in given.items()]


def _pattern(report: Report, value: Any, at: DocumentPath) -> list[Rule]:  # noqa: ANN401 - whatever is written
    if value is None:
        return []
    if not isinstance(value, str):
        report.error(at, "`pattern` is not text", "quote the expression")
        return []
    return [Rule("pattern", value)] if pattern_holds(report, value, at) else []


def pattern_holds(report: Report, pattern: str, at: DocumentPath) -> bool:
    """Whether every engine reads the pattern alike; if not, a finding says why."""
    try:
        patterns.check(pattern)
    except patterns.PatternError as error:
        report.error(at, f"pattern: {error}", error.hint)
        return False
    return True


def enumeration(report: Report, kind: Kind, values: Sequence[Any], at: Sequence[DocumentPath]) -> Rule | None:
    """Values that a column may have, as text; `at` holds the place of each. `None` after a finding."""
    if kind not in {"string", "int32", "int64"}:
        report.error(
            at[0], f"a list of values for {listed([kind])}", "only strings and integers have one; use limits"
        )
        return None
    fine = True
    for index, (value, place) in enumerate(zip(values, at, strict=True)):
        if kind == "string" and not isinstance(value, str):
            report.error(place, f"`{value}` is not text, and the column is", "quote it")
        elif kind != "string" and not _is_integer(value, kind):
            report.error(
                place, f"`{value}` is not an integer of the column's type", "write an integer, unquoted"
            )
        elif value in values[:index]:
            report.error(place, f"`{value}` is there twice", "keep one of the two")
        else:
            continue
        fine = False
    return Rule("enum", tuple(str(value) for value in values)) if fine else None


def _is_integer(value: Any, kind: Kind) -> bool:  # noqa: ANN401 - whatever is written
    if isinstance(value, bool) or not isinstance(value, int):
        return False
    return bool(-(1 << BITS[kind]) <= value < 1 << BITS[kind])
