"""Columns of a plan that take an Arrow type's values as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.types as of

from dpipe.contract.plan import MAX_PRECISION, Column

if TYPE_CHECKING:
    from collections.abc import Callable

    from dpipe.contract.plan import Kind

# Digits of 2⁶⁴ - 1.
_UNSIGNED_DIGITS = 20
_SMALL = (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16())

_KINDS: tuple[tuple[Callable[[pa.DataType], bool], Kind], ...] = (
    (lambda kind: kind in _SMALL, "int32"),
    (lambda kind: kind in {pa.int64(), pa.uint32()}, "int64"),
    (of.is_floating, "float64"),
    (of.is_boolean, "boolean"),
    (of.is_date, "date"),
    (lambda kind: of.is_timestamp(kind) and kind.tz is not None, "timestamp"),
    (of.is_timestamp, "timestamp_ntz"),
    (of.is_time, "time"),
    (lambda kind: of.is_string(kind) or of.is_large_string(kind) or of.is_string_view(kind), "string"),
    (of.is_null, "string"),
)


def column_of(field: pa.Field) -> Column | None:
    """The column for a field; None when no kind of column holds all of its values."""
    return _column(field.name, field.type)


def _column(name: str, kind: pa.DataType) -> Column | None:
    kind = _plain(kind)
    if of.is_list(kind) or of.is_large_list(kind) or of.is_fixed_size_list(kind):
        return _nested(name, "list", [kind.value_field.with_name("element")])
    if of.is_struct(kind):
        return _nested(name, "struct", list(kind.fields))
    if of.is_decimal(kind):
        fits = kind.precision <= MAX_PRECISION and 0 <= kind.scale <= kind.precision
        return Column(name, "decimal", precision=kind.precision, scale=kind.scale) if fits else None
    if of.is_uint64(kind):
        return Column(name, "decimal", precision=_UNSIGNED_DIGITS)
    return next((Column(name, found) for holds, found in _KINDS if holds(kind)), None)


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values, however they are encoded or called."""
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    return _plain(kind.value_type) if of.is_dictionary(kind) or of.is_run_end_encoded(kind) else kind


def _nested(name: str, kind: Kind, fields: list[pa.Field]) -> Column | None:
    parts = [column for column in map(column_of, fields) if column is not None]
    is_whole = len(parts) == len(fields) and parts
    return Column(name, kind, fields=tuple(parts)) if is_whole else None
