"""A property's `logicalType`, its `format` and `physicalType` → the type of its column."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpipe.contract.findings import did_you_mean, listed
from dpipe.contract.plan import MAX_PRECISION, DefaultOffset

if TYPE_CHECKING:
    from typing import Any

    from open_data_contract_standard.model import SchemaProperty

    from dpipe.contract.findings import Report
    from dpipe.contract.plan import Kind
    from dpipe.contract.source import DocumentPath

LOGICAL_TYPES = ("string", "integer", "number", "boolean", "date", "timestamp", "time", "object", "array")

_KINDS: dict[str, Kind] = {
    "string": "string",
    "boolean": "boolean",
    "date": "date",
    "time": "time",
    "object": "struct",
    "array": "list",
}
_INSTEAD = {
    "map": "give each key a column",
    "vector": "keep it out of the contract",
}
STORED_RANGES: dict[Kind, tuple[int, int]] = {
    "int32": (-(1 << 31), (1 << 31) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
}
DATED: frozenset[Kind] = frozenset({"date", "timestamp", "timestamp_ntz", "time"})
_DECIMAL = re.compile(r"\s*(decimal|dec|numeric|number|bignumeric)\b\s*(.*?)\s*", re.IGNORECASE | re.DOTALL)
_DIGITS = re.compile(r"\(\s*([0-9]{1,3})\s*(?:,\s*([0-9]{1,3})\s*)?\)")
_FIXED_ZONE = re.compile(r"(?:Z|(?:Etc/)?(?:UTC|GMT)|([-+])(0[0-9]|1[0-4]):([0-5][0-9]))")
_FIXED_WIDTH = re.compile(r"\s*(u?)int(8|16|32|64|128)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Type:
    """A column's type; `least` and `most` bound exact numbers, in units of their last place.

    `narrow` says that the stored type alone would hold more than that.
    """

    kind: Kind
    precision: int = 0
    scale: int = 0
    least: int = 0
    most: int = 0
    narrow: bool = False
    default_offset: DefaultOffset | None = None

    @property
    def is_exact(self) -> bool:
        """Whether values are whole counts of a unit: integers and decimals."""
        return self.kind in {"int32", "int64", "decimal"}

    @property
    def is_dated(self) -> bool:
        """Whether values are days or times."""
        return self.kind in DATED

    @property
    def name(self) -> str:
        """The type in a word for messages."""
        return f"decimal({self.precision},{self.scale})" if self.kind == "decimal" else self.kind


def _integer_type(signed: bool, bits: int) -> Type:
    """The narrowest stored type that holds an integer of so many bits; past 64 bits, 38 digits are held."""
    least, most = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    for kind, (low, high) in STORED_RANGES.items():
        if low <= least and most <= high:
            return Type(kind, least=least, most=most, narrow=(low, high) != (least, most))
    precision = min(len(str(most)), MAX_PRECISION)
    widest = 10**precision - 1
    least, most = max(least, -widest), min(most, widest)
    return Type("decimal", precision, 0, least, most, narrow=(least, most) != (-widest, widest))


INTEGERS: dict[str, Type] = {
    f"{'i' if signed else 'u'}{bits}": _integer_type(signed, bits)
    for signed in (True, False)
    for bits in (8, 16, 32, 64, 128)
}


def column_type(report: Report, definition: SchemaProperty, at: DocumentPath) -> Type | None:
    """The type, or `None` after a finding."""
    logical = definition.logicalType
    if logical is None:
        name, hint = definition.name, f"write one of {listed(LOGICAL_TYPES)}"
        report.error(at, f"`{name}` has no `logicalType`", hint)
        return None
    if logical not in LOGICAL_TYPES:
        known = logical in _INSTEAD
        message = f"dpipe doesn't read the type `{logical}` yet" if known else f"no type `{logical}`"
        hint = _INSTEAD.get(logical, f"write one of {listed(LOGICAL_TYPES)}")
        report.error((*at, "logicalType"), message, hint)
        return None
    options = definition.logicalTypeOptions or {}
    if logical == "integer":
        return _integer(report, definition, options.get("format"), at)
    if logical == "number":
        return _number(report, definition, options.get("format"), at)
    if logical == "timestamp":
        return _timestamp(report, options, at)
    return Type(_KINDS[logical])


def _integer(report: Report, definition: SchemaProperty, form: Any, at: DocumentPath) -> Type | None:  # noqa: ANN401
    physical = definition.physicalType or ""
    if form is not None and (not isinstance(form, str) or form not in INTEGERS):
        hint = did_you_mean(str(form), INTEGERS)
        report.error((*at, "logicalTypeOptions", "format"), f"no integer of the format `{form}`", hint)
        return None
    if _DECIMAL.fullmatch(physical):
        decimal = _decimal(report, physical, at)
        if decimal and decimal.scale:
            hint = "write `logicalType: number`, or a scale of 0"
            report.error((*at, "physicalType"), f"an integer as `{physical}`", hint)
        if form is not None:
            report.error(
                (*at, "physicalType"), f"`{physical}` beside `format: {form}`", "keep one of the two"
            )
        return decimal
    named = _FIXED_WIDTH.fullmatch(physical)
    if named is None:
        return INTEGERS[form or "i64"]
    width = f"{'u' if named[1] else 'i'}{named[2]}"
    if form not in {None, width}:
        report.error((*at, "physicalType"), f"`{physical}` beside `format: {form}`", "keep one of the two")
    return INTEGERS[width]


def _number(report: Report, definition: SchemaProperty, form: Any, at: DocumentPath) -> Type | None:  # noqa: ANN401
    if form not in {None, "f64"}:
        report.error(
            (*at, "logicalTypeOptions", "format"),
            f"no number of the format `{form}`",
            "write `format: f64`; numbers have 64 bits",
        )
    physical = definition.physicalType or ""
    if not _DECIMAL.fullmatch(physical):
        return Type("float64")
    if form is not None:
        report.error(
            (*at, "physicalType"),
            f"`{physical}`, which is exact, beside `format: {form}`",
            "keep one of the two",
        )
    return _decimal(report, physical, at)


def _decimal(report: Report, physical: str, at: DocumentPath) -> Type | None:
    """`decimal(10,2)` and its other names; the scale is 0 when it isn't written, as in SQL."""
    matched = _DECIMAL.fullmatch(physical)
    digits = _DIGITS.fullmatch(matched[2]) if matched else None
    where = (*at, "physicalType")
    if digits is None:
        message = f"`{physical[:80]}` doesn't say how many digits it has"
        report.error(where, message, "write `decimal(18,2)`: 18 digits, 2 of them after the point")
        return None
    precision, scale = int(digits[1]), int(digits[2] or 0)
    if not 1 <= precision <= MAX_PRECISION:
        report.error(where, f"a decimal of {precision} digits", f"write 1 to {MAX_PRECISION} digits")
        return None
    if scale > precision:
        report.error(
            where, f"{scale} of {precision} digits after the point", "put the number of all digits first"
        )
        return None
    widest = 10**precision - 1
    return Type("decimal", precision, scale, -widest, widest)


def _timestamp(report: Report, options: dict[str, Any], at: DocumentPath) -> Type:
    """An instant when every value says its zone or has a default one, else a wall clock's time."""
    zone = options.get("timezone", False)
    options_at = (*at, "logicalTypeOptions")
    if not isinstance(zone, bool):
        report.error((*options_at, "timezone"), "`timezone` is not a boolean", "write `true`")
    default = options.get("defaultTimezone")
    if default is None:
        return Type("timestamp" if zone is True else "timestamp_ntz")
    matched = _FIXED_ZONE.fullmatch(default) if isinstance(default, str) else None
    if matched is None:
        report.error(
            (*options_at, "defaultTimezone"),
            f"`{default}` is not a zone of one fixed offset",
            "write `UTC` or an offset like `'+01:00'`; where clocks are put back, an hour has no one meaning",
        )
        return Type("timestamp")
    minutes = int(matched[2] or 0) * 60 + int(matched[3] or 0)
    return Type(
        "timestamp", default_offset=DefaultOffset(-minutes if matched[1] == "-" else minutes, zone is True)
    )
