"""Limits and multiples of numbers as JSON Schema's keywords.

Validators read a number exactly or as the nearest 64-bit float, and neither may refuse what the kernel accepts. Two
numbers that a decimal tells apart may be one float, and some validators divide floats to find a multiple. So limits
that floats don't hold are moved outward, and multiples are asked of whole numbers within 2^53 only.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from dpipe.contract.plan import LIMITS
from dpipe.contract.types import STORED_RANGES

if TYPE_CHECKING:
    from dpipe.contract.plan import Column, Rule

Number = int | float
# From here on floats no longer tell every integer from the next one.
MAX_SAFE = (1 << 53) - 1
# Decimals of so many digits are told apart by floats.
FLOAT_DIGITS = 15
_SHORT = 10**21


def is_whole(column: Column) -> bool:
    """Whether values are integers, which the kernel takes without point and exponent only."""
    return column.kind in STORED_RANGES or (column.kind == "decimal" and column.scale == 0)


def limits(column: Column) -> dict[str, Number]:
    """The range of a number's type and its limits, the narrowest of each name."""
    result: dict[str, Number] = {}
    stored = _stored(column)
    if stored:
        low, high = stored
        result = {"minimum": _inclusive(column, low, 1), "maximum": _inclusive(column, high, -1)}
    for rule in column.rules:
        if rule.rule not in LIMITS:
            continue
        inward = 1 if rule.rule in {"minimum", "exclusiveMinimum"} else -1
        name, value = _limit(column, rule, inward)
        if math.isfinite(value):
            narrowest = max if inward > 0 else min
            result[name] = narrowest(result.get(name, value), value)
    for name, exclusive, inward in (
        ("minimum", "exclusiveMinimum", 1),
        ("maximum", "exclusiveMaximum", -1),
    ):
        ends = [result[end] for end in (name, exclusive) if end in result]
        if len(ends) > 1 and ends[1] == (max(ends) if inward > 0 else min(ends)):
            del result[name]
    return result


def multiple(column: Column, rule: Rule, within: dict[str, Number]) -> dict[str, Any] | None:
    """The keywords for multiples of the rule's value in a column of these limits; `None` when they can't say it."""
    step = Fraction(Decimal(str(rule.value)))
    if not is_whole(column) and step.denominator != 1:
        return None
    # An integer is a multiple of p/q in lowest terms where it is one of p.
    keyword = {"multipleOf": step.numerator}
    low = max(within.get("minimum", -math.inf), within.get("exclusiveMinimum", -math.inf))
    high = min(within.get("maximum", math.inf), within.get("exclusiveMaximum", math.inf))
    if low >= -MAX_SAFE and high <= MAX_SAFE:
        return keyword
    return {"if": {"minimum": -MAX_SAFE, "maximum": MAX_SAFE}, "then": keyword}


def listed(column: Column, texts: tuple[str, ...]) -> list[Number] | None:
    """The numbers that an enumeration's texts are; `None` when not every validator would find a record's among them."""
    if is_whole(column):
        return [int(text) for text in texts]
    values = [_spelled(Decimal(text)) for text in texts]
    return None if None in values else [value for value in values if value is not None]


def _stored(column: Column) -> tuple[Decimal, Decimal] | None:
    """The least and the greatest value of an exact type."""
    if column.kind == "decimal":
        digits = (9,) * column.precision  # Decimal's arithmetic would round them
        return Decimal((1, digits, -column.scale)), Decimal((0, digits, -column.scale))
    ends = STORED_RANGES.get(column.kind)
    return (Decimal(ends[0]), Decimal(ends[1])) if ends else None


def _limit(column: Column, rule: Rule, inward: int) -> tuple[str, Number]:
    """The keyword for a limit and its value; `inward` is 1 for lower limits and -1 for upper ones."""
    value = Decimal(str(rule.value))
    is_exclusive = rule.rule.startswith("exclusive")
    if not is_exclusive:
        return rule.rule, _inclusive(column, value, inward)
    if column.kind == "float64":
        return rule.rule, _short(float(value))
    if is_whole(column):
        is_kept = value.copy_abs() <= MAX_SAFE
        beside = Decimal(math.floor(value) + 1 if inward > 0 else math.ceil(value) - 1)
    else:
        is_kept = max(column.precision, len(value.as_tuple().digits)) <= FLOAT_DIGITS
        beside = value
    if is_kept and (kept := _spelled(value)) is not None:
        return rule.rule, kept
    return ("minimum" if inward > 0 else "maximum"), _inclusive(column, beside, inward)


def _inclusive(column: Column, value: Decimal, inward: int) -> Number:
    """The limit, or one outside of it that holds however numbers are read."""
    if column.kind == "float64":
        limit = float(value)
        # The kernel has rounded an integer beyond 2^53 to a float before it compares, a validator may not have.
        return _short(limit if abs(limit) <= MAX_SAFE else math.nextafter(limit, -inward * math.inf))
    if is_whole(column) and value == value.to_integral_value():
        return int(value)
    kept = _spelled(value)
    return _outward(value, inward) if kept is None else kept


def _spelled(value: Decimal) -> Number | None:
    """A number whose text is the decimal's, as long as floats of its size tell integers apart."""
    if value.copy_abs() > MAX_SAFE:
        return None
    near = float(value)
    return _short(near) if Decimal(repr(near)) == value else None


def _outward(value: Decimal, inward: int) -> Number:
    """The nearest float that is outside of the limit by its value and by its text."""
    exact, near = Fraction(value), float(value)
    while any((exact - Fraction(form)) * inward < 0 for form in (near, Decimal(repr(near)))):
        near = math.nextafter(near, -inward * math.inf)
    return int(near) if abs(near) > MAX_SAFE else _short(near)


def _short(value: float) -> Number:
    return int(value) if value.is_integer() and abs(value) < _SHORT else value
