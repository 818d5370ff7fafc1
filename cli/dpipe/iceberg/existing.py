"""Rows that a table already has, for the kernel to compare keys with."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dpipe.iceberg import filters
from dpipe.iceberg.schema import BATCH_ID, RECORD_NO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.table import Table

    from dpipe.contract import Plan

ARROW_TYPES: dict[str, pa.DataType] = {
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONTHS = 12


def existing_rows(table: Table, plan: Plan) -> Callable[[dict[str, Any]], pa.RecordBatchReader | None]:
    """The kernel's `existing` callback for the table's snapshot as loaded, whatever is committed meanwhile.

    It takes partition values by field name and returns the plan's columns, `_dpipe_batch_id` and
    `_dpipe_record_no`, or None when the table is empty.
    """
    snapshot = table.current_snapshot()
    names = [column.name for column in plan.columns] + [BATCH_ID, RECORD_NO]
    types = [ARROW_TYPES[column.kind] for column in plan.columns] + [pa.string(), pa.int64()]
    schema = pa.schema([pa.field(name, kind) for name, kind in zip(names, types, strict=True)])

    def read(partition: dict[str, Any]) -> pa.RecordBatchReader | None:
        if snapshot is None:
            return None
        scan = table.scan(
            row_filter=partition_filter(plan, partition),
            selected_fields=tuple(names),
            snapshot_id=snapshot.snapshot_id,
        )
        return pa.RecordBatchReader.from_batches(schema, _cast(scan.to_arrow_batch_reader(), schema))

    return read


def _cast(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        yield batch.select(schema.names).cast(schema)


def partition_filter(plan: Plan, values: dict[str, Any]) -> BooleanExpression:
    """The rows of one partition, as a condition on the source columns that Iceberg prunes files by."""
    kinds = {column.name: column.kind for column in plan.columns}
    conditions = [
        _condition(field.column, kinds[field.column], field.transform, values[field.name])
        for field in plan.partition
    ]
    return filters.all_of(*conditions)


def _condition(column: str, kind: str, transform: str, value: Any) -> BooleanExpression:  # noqa: ANN401
    if value is None:
        return filters.is_null(column)
    if transform == "identity":
        return filters.equals(column, _literal(kind, value))
    begin = filters.at_least(column, _as_kind(kind, _start(transform, value)))
    try:
        end = _start(transform, value + 1)
    except (ValueError, OverflowError):
        return begin  # the last year that Python's calendar has
    return filters.all_of(begin, filters.below(column, _as_kind(kind, end)))


def _literal(kind: str, value: Any) -> Any:  # noqa: ANN401 - any column's value
    """An Iceberg partition value as the literal that a filter takes."""
    if kind == "date":
        return (EPOCH + timedelta(days=value)).date()
    if kind in ("timestamp", "timestamp_ntz"):
        return _as_kind(kind, EPOCH + timedelta(microseconds=value))
    return value


def _start(transform: str, value: int) -> datetime:
    """The first moment of the year, month, day or hour that lies `value` of them after 1970 began."""
    if transform == "year":
        return EPOCH.replace(year=EPOCH.year + value)
    if transform == "month":
        years, month = divmod(value, MONTHS)
        return EPOCH.replace(year=EPOCH.year + years, month=month + 1)
    return EPOCH + (timedelta(days=value) if transform == "day" else timedelta(hours=value))


def _as_kind(kind: str, moment: datetime) -> date | datetime:
    if kind == "date":
        return moment.date()
    return moment if kind == "timestamp" else moment.replace(tzinfo=None)
