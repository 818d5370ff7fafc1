"""The Arrow types of a plan's columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from dpipe.contract.plan import Column

_TYPES: dict[str, pa.DataType] = {
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "time": pa.time64("us"),
}


def arrow_type(column: Column) -> pa.DataType:
    """The type that a column has in Arrow."""
    if column.kind in {"struct", "list"}:
        fields = [pa.field(part.name, arrow_type(part), not part.required) for part in column.fields]
        return pa.struct(fields) if column.kind == "struct" else pa.list_(fields[0])
    if column.kind == "decimal":
        return pa.decimal128(column.precision, column.scale)
    return _TYPES[column.kind]
