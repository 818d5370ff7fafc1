"""`logicalTypeOptions` → rules that the kernel checks on every value."""

from __future__ import annotations

import math
import re
from decimal import Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from dpipe.contract import moments, patterns
from dpipe.contract.findings import did_you_mean, listed
from dpipe.contract.plan import LIMITS, MAX_PRECISION, Rule
from dpipe.contract.types import STORED_RANGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dpipe.contract.findings import Report
    from dpipe.contract.plan import RuleName
    from dpipe.contract.source import DocumentPath
    from dpipe.contract.types import Type

_INFINITY = Decimal("Infinity")
_WIDE = Context(prec=2 * MAX_PRECISION)
_PLAIN_NUMBER = re.compile(r"[-+]?[0-9]{1,40}(\.[0-9]{1,40})?")
LENGTHS: tuple[RuleName, RuleName] = ("minLength", "maxLength")
MAX_STEP_DIGITS = 18
MAX_LENGTH = (1 << 31) - 1

# What each type's options may be, and what ODCS has beyond that: a rule that nothing enforces yet.
ENFORCED: dict[str, tuple[str, ...]] = {
    "string": (*LENGTHS, "pattern", "format"),
    "integer": (*LIMITS, "multipleOf", "format"),
    "number": (*LIMITS, "multipleOf", "format"),
    "boolean": (),
    "date": (*LIMITS, "format"),
    "timestamp": (*LIMITS, "format", "timezone", "defaultTimezone"),
    "time": (*LIMITS, "format"),
    "object": ("required",),
    "array": ("minItems", "maxItems", "uniqueItems"),
}
NOT_ENFORCED: dict[str, dict[str, str]] = {
    "time": dict.fromkeys(("timezone", "defaultTimezone"), "leave it out: a time of day has no zone"),
    "object": dict.fromkeys(
        ("minProperties", "maxProperties"), "say of each property whether it is `required`"
    ),
}
STRING_FORMATS = (
    "byte",
    "date",
    "date-time",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "time",
    "uri",
    "uuid",
)
# What says how a text is shown or encoded, and nothing that could be checked of it.
ANNOTATIONS = ("binary", "password")


def check_names(report: Report, logical_type: str, options: dict[str, Any], at: DocumentPath) -> None:
    """Report options that ODCS doesn't have for the type, or that nothing enforces."""
    known = ENFORCED[logical_type]
    refused = NOT_ENFORCED.get(logical_type, {})
    for name in options:
        if name in refused:
            hint = refused[name]
            report.error((*at, name), f"nothing enforces `{name}` of a {logical_type} yet", hint, key=True)
        elif name not in known:
            report.error(
                (*at, name), f"`{name}` is no option of a {logical_type}", did_you_mean(name, known), key=True
            )


def rules(report: Report, typed: Type, options: dict[str, Any], at: DocumentPath) -> list[Rule]:
    """Limits, lengths and the pattern of one column."""
    if typed.kind == "string":
        return [
            *_counts(report, LENGTHS, "characters", options, at),
            *_pattern(report, options.get("pattern"), (*at, "pattern")),
            *_string_format(report, options.get("format"), (*at, "format")),
        ]
    if typed.is_exact or typed.kind == "float64":
        multiple = _multiple_of(report, typed, options.get("multipleOf"), (*at, "multipleOf"))
        return [*_limits(report, typed, options, at), *multiple]
    if typed.is_dated:
        return moments.limits(report, typed, options, at)
    if typed.kind == "list":
        return _items(report, options, at)
    return []


def _items(report: Report, options: dict[str, Any], at: DocumentPath) -> list[Rule]:
    """How many items an array has, and whether they differ."""
    result = _counts(report, ("minItems", "maxItems"), "items", options, at)
    unique = options.get("uniqueItems", False)
    if not isinstance(unique, bool):
        report.error((*at, "uniqueItems"), "`uniqueItems` is not a boolean", "write `true`, or leave it out")
    return [*result, *([Rule("uniqueItems", 1)] if unique is True else [])]


def _multiple_of(report: Report, typed: Type, value: Any, at: DocumentPath) -> list[Rule]:  # noqa: ANN401
    """A number that values are multiples of."""
    if value is None:
        return []
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        report.error(at, "`multipleOf` is not a number above 0", "write a number, without quotes")
        return []
    # The kernel multiplies its digits by ten within 128 bits.
    step = Decimal(repr(value))
    if step >= 10**MAX_STEP_DIGITS or -int(step.as_tuple().exponent) > MAX_STEP_DIGITS:
        hint = f"write at most {MAX_STEP_DIGITS} digits on either side of the point"
        report.error(at, "`multipleOf` has too many digits", hint)
        return []
    units = Fraction(step) * 10**typed.scale
    if typed.is_exact and units > max(typed.most, -typed.least):
        report.error(at, "only 0 is a multiple of this in the column's range", "write a smaller number")
    return [Rule("multipleOf", step)]


def _string_format(report: Report, value: Any, at: DocumentPath) -> list[Rule]:  # noqa: ANN401
    """What a text spells; formats that only tell how to show it are said to have no effect."""
    if value is None:
        return []
    if value in ANNOTATIONS:
        report.warn(at, f"nothing can be checked of the format `{value}`", "it stays as documentation")
        return []
    if value not in STRING_FORMATS:
        known = (*STRING_FORMATS, *ANNOTATIONS)
        report.error(at, f"no format `{value}` of a string", f"known: {listed(known)}; or write a `pattern`")
        return []
    return [Rule("format", str(value))]


def _limits(report: Report, typed: Type, options: dict[str, Any], at: DocumentPath) -> list[Rule]:
    given: dict[RuleName, Decimal] = {}
    for name in LIMITS:
        if options.get(name) is not None:
            limit = _limit(report, typed, name, options[name], at)
            if limit is not None:
                given[name] = limit
    if given and not _leaves_a_value(given, typed):
        name = next(name for name in reversed(LIMITS) if name in given)
        report.error(
            (*at, name), "no value keeps these limits", "put the smaller one first, within the type's range"
        )
    if typed.narrow:
        low, high = _ends(given)
        if low < typed.least:
            given["minimum"] = Decimal(typed.least)
        if high > typed.most:
            given["maximum"] = Decimal(typed.most)
    exact = typed.kind == "decimal"
    return [Rule(name, given[name] if exact else float(given[name])) for name in LIMITS if name in given]


def _limit(report: Report, typed: Type, name: str, value: Any, at: DocumentPath) -> Decimal | None:  # noqa: ANN401
    """A limit as an exact number; of a decimal it may be text, for digits that YAML's numbers don't hold."""
    if typed.kind == "decimal" and isinstance(value, str) and _PLAIN_NUMBER.fullmatch(value):
        limit = Decimal(value)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        report.error((*at, name), f"`{name}` is not a number", "write a number, without quotes")
        return None
    else:
        limit = Decimal(repr(value))
    if typed.kind == "decimal":
        if abs(limit) >= 10**MAX_PRECISION or -int(limit.as_tuple().exponent) > MAX_PRECISION:
            hint = f"write at most {MAX_PRECISION} digits"
            report.error((*at, name), f"`{name}` has more digits than a decimal", hint)
            return None
    elif typed.is_exact and abs(value) >= 1 << 53:
        report.error(
            (*at, name), f"`{name}` is beyond 2^53, where limits lose digits", "write a smaller limit"
        )
        return None
    elif typed.is_exact and not STORED_RANGES[typed.kind][0] <= value <= STORED_RANGES[typed.kind][1]:
        report.error(
            (*at, name), f"`{name}` is outside the column's type", "leave it out, or use `format: i64`"
        )
        return None
    return limit


def _leaves_a_value(given: Mapping[RuleName, Decimal], typed: Type) -> bool:
    if typed.is_exact:
        first, last = _whole_range(given, typed)
        return first <= last
    low, high = _ends(given)
    closed = given.get("exclusiveMinimum") != low and given.get("exclusiveMaximum") != high
    return low < high or (low == high and closed)


def _ends(given: Mapping[RuleName, Decimal]) -> tuple[Decimal, Decimal]:
    low = max(given.get("minimum", -_INFINITY), given.get("exclusiveMinimum", -_INFINITY))
    high = min(given.get("maximum", _INFINITY), given.get("exclusiveMaximum", _INFINITY))
    return low, high


def _whole_range(given: Mapping[RuleName, Decimal], typed: Type) -> tuple[int, int]:
    """The first and the last value that the limits and the type leave, in units of the last place."""
    low, high = _ends(given)
    first, last = typed.least, typed.most
    if low != -_INFINITY:
        units = Fraction(low) * 10**typed.scale
        exclusive = given.get("exclusiveMinimum") == low
        first = max(first, math.floor(units) + 1 if exclusive else math.ceil(units))
    if high != _INFINITY:
        units = Fraction(high) * 10**typed.scale
        exclusive = given.get("exclusiveMaximum") == high
        last = min(last, math.ceil(units) - 1 if exclusive else math.floor(units))
    return first, last


def _counts(
    report: Report, names: tuple[RuleName, RuleName], what: str, options: dict[str, Any], at: DocumentPath
) -> list[Rule]:
    """The least and the greatest number of characters or items."""
    given: dict[RuleName, int] = {}
    for name in names:
        value = options.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_LENGTH:
            report.error((*at, name), f"`{name}` is not a count of {what}", "write a whole number from 0")
        else:
            given[name] = value
    least, most = names
    if given.get(least, 0) > given.get(most, MAX_LENGTH):
        report.error((*at, most), f"`{most}` is below `{least}`", "put the smaller number first")
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


def enumeration(
    report: Report, typed: Type, values: Sequence[Any], at: Sequence[DocumentPath]
) -> Rule | None:
    """Values that a column may have, as text; `at` holds the place of each. `None` after a finding."""
    if typed.kind != "string" and not typed.is_exact:
        report.error(
            at[0],
            f"a list of values for {listed([typed.name])}",
            "only strings, integers and decimals have one; use limits",
        )
        return None
    texts = [_listed_value(typed, value) for value in values]
    fine = True
    for index, (value, text, place) in enumerate(zip(values, texts, at, strict=True)):
        if text is None and typed.kind == "string":
            report.error(place, f"`{value}` is not text, and the column is", "quote it")
        elif text is None and typed.kind == "decimal":
            report.error(place, f"`{value}` is not a number of the column's type", f"write a {typed.name}")
        elif text is None:
            report.error(
                place, f"`{value}` is not an integer of the column's type", "write an integer, unquoted"
            )
        elif text in texts[:index]:
            report.error(place, f"`{value}` is there twice", "keep one of the two")
        else:
            continue
        fine = False
    return Rule("enum", tuple(text for text in texts if text is not None)) if fine else None


def _listed_value(typed: Type, value: Any) -> str | None:  # noqa: ANN401 - whatever is written
    """A listed value as the kernel spells it; `None` when it isn't one of the column's type."""
    if typed.kind == "string":
        return value if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if typed.kind == "decimal":
        if isinstance(value, str) and not _PLAIN_NUMBER.fullmatch(value):
            return None
        exact = Fraction(Decimal(value if isinstance(value, str) else repr(value)))
        units = exact * 10**typed.scale
        fits = units.denominator == 1 and typed.least <= units <= typed.most
        return f"{Decimal(int(units)).scaleb(-typed.scale, _WIDE):f}" if fits else None
    if not isinstance(value, int):
        return None
    return str(value) if typed.least <= value <= typed.most else None
