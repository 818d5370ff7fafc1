"""From a contract's plan to Iceberg schemas and partition specs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import (
    DayTransform,
    HourTransform,
    IdentityTransform,
    MonthTransform,
    Transform,
    YearTransform,
)
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
)

from dpipe.contract import plan as plans

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dpipe.contract import Column, Plan

_TYPES: dict[str, IcebergType] = {
    "int32": IntegerType(),
    "int64": LongType(),
    "float64": DoubleType(),
    "boolean": BooleanType(),
    "string": StringType(),
    "date": DateType(),
    "timestamp": TimestamptzType(),
    "timestamp_ntz": TimestampType(),
    "time": TimeType(),
}
TRANSFORMS: dict[str, Transform] = {  # type: ignore[type-arg]
    "identity": IdentityTransform(),
    "year": YearTransform(),
    "month": MonthTransform(),
    "day": DayTransform(),
    "hour": HourTransform(),
}
FIRST_PARTITION_FIELD_ID = 1000

BATCH_ID, RECORD_NO, CONTRACT = plans.PROVENANCE
PROVENANCE: tuple[tuple[str, IcebergType, str], ...] = (
    (BATCH_ID, StringType(), "batch that brought the row"),
    (RECORD_NO, LongType(), "number of the record in its batch, from 1"),
    (CONTRACT, StringType(), "SHA-256 of the contract that the row met"),
)


def iceberg_type(column: Column, ids: Mapping[str, int], path: str) -> IcebergType:
    """The type that a column has in its table; `ids` are those of what is in it by path."""
    if column.kind == "struct":
        fields = (_field(part, ids, f"{path}.{part.name}") for part in column.fields)
        return StructType(*fields)
    if column.kind == "list":
        (item,) = column.fields
        inner = f"{path}.{item.name}"
        return ListType(ids[inner], iceberg_type(item, ids, inner), element_required=item.required)
    if column.kind == "decimal":
        return DecimalType(column.precision, column.scale)
    return _TYPES[column.kind]


def raw_schema(plan: Plan) -> Schema:
    """The plan's columns, then the provenance columns; ids 1..n in that order, and then what is in columns."""
    ids = plan.field_ids()
    columns = [_field(column, ids, column.name) for column in plan.columns]
    provenance = [
        NestedField(ids[name], name, kind, required=True, doc=doc) for name, kind, doc in PROVENANCE
    ]
    return Schema(*columns, *provenance)


def _field(column: Column, ids: Mapping[str, int], path: str) -> NestedField:
    return NestedField(
        ids[path],
        column.name,
        iceberg_type(column, ids, path),
        required=column.required,
        doc=column.description or None,
    )


def raw_partition_spec(plan: Plan, schema: Schema) -> PartitionSpec:
    """The plan's partition fields in their order."""
    return PartitionSpec(
        *(
            PartitionField(
                source_id=schema.find_field(field.column).field_id,
                field_id=FIRST_PARTITION_FIELD_ID + index,
                transform=TRANSFORMS[field.transform],
                name=field.name,
            )
            for index, field in enumerate(plan.partition)
        )
    )


def quarantine_schema() -> Schema:
    """One row a rejected or duplicate record."""
    violation = StructType(
        NestedField(17, "column", StringType(), required=False, doc="None when the whole record is meant"),
        NestedField(18, "rule", StringType(), required=True),
        NestedField(19, "message", StringType(), required=True),
    )
    return Schema(
        NestedField(1, BATCH_ID, StringType(), required=True, doc="batch that the record came in"),
        NestedField(2, RECORD_NO, LongType(), required=True, doc="number of the record in its batch, from 1"),
        NestedField(3, CONTRACT, StringType(), required=True, doc="SHA-256 of the contract that judged it"),
        NestedField(4, "disposition", StringType(), required=True, doc="rejected or duplicate"),
        NestedField(5, "duplicate_kind", StringType(), required=False, doc="identical or conflicting"),
        NestedField(6, "member", StringType(), required=False, doc="file in an archive"),
        NestedField(7, "byte_offset", LongType(), required=False, doc="in the decompressed stream, from 0"),
        NestedField(8, "byte_length", LongType(), required=False),
        NestedField(9, "line", LongType(), required=False, doc="from 1"),
        NestedField(
            10,
            "raw_format",
            StringType(),
            required=True,
            doc="ndjson, json (also of Parquet rows), csv, or unknown",
        ),
        NestedField(11, "raw_header", BinaryType(), required=False, doc="the CSV header line"),
        NestedField(12, "raw", BinaryType(), required=True, doc="the record's bytes as they came"),
        NestedField(
            13,
            "violations",
            ListType(element_id=16, element=violation, element_required=True),
            required=True,
            doc="every rule that it broke",
        ),
        NestedField(14, "winner_batch_id", StringType(), required=False, doc="of the row that has its key"),
        NestedField(15, "winner_record_no", LongType(), required=False, doc="of the row that has its key"),
    )


def ledger_schema() -> Schema:
    """One row a batch."""
    return Schema(
        NestedField(1, "batch_id", StringType(), required=True),
        NestedField(2, "dataset", StringType(), required=True),
        NestedField(3, "kind", StringType(), required=True, doc="file, job or replay"),
        NestedField(4, "source", StringType(), required=True, doc="where it came from"),
        NestedField(5, "sha256", StringType(), required=True, doc="of the landed bytes"),
        NestedField(6, "bytes", LongType(), required=True, doc="of the landed file"),
        NestedField(7, "contract", StringType(), required=True, doc="SHA-256 of the contract"),
        NestedField(8, "contract_version", StringType(), required=True),
        NestedField(9, "records_in", LongType(), required=True),
        NestedField(10, "accepted", LongType(), required=True),
        NestedField(11, "rejected", LongType(), required=True),
        NestedField(12, "duplicate", LongType(), required=True),
        NestedField(13, "snapshot_id", LongType(), required=True, doc="of the raw table"),
        NestedField(14, "committed_at", TimestamptzType(), required=True),
        NestedField(15, "run_id", StringType(), required=True),
        NestedField(16, "received_at", TimestamptzType(), required=True),
        NestedField(17, "violations", StringType(), required=True, doc="JSON: counts by column and rule"),
        NestedField(
            18,
            "files",
            ListType(element_id=20, element=_committed_file(21), element_required=True),
            required=True,
            doc="of the commit that brought the batch; files may be shared with the commit's other batches",
        ),
        NestedField(26, "previous_hash", StringType(), required=False, doc="of the dataset's commit before"),
        NestedField(
            27, "entry_hash", StringType(), required=False, doc="of the commit; goes on from the one before"
        ),
        NestedField(28, "origin", StringType(), required=False, doc="batch whose records a replay holds"),
        NestedField(
            29,
            "superseded",
            StringType(),
            required=False,
            doc="JSON: rows that it took the place of, by batch",
        ),
        NestedField(
            30,
            "released",
            StringType(),
            required=False,
            doc="why it was committed though the gate refused it",
        ),
        NestedField(
            31,
            "replayed",
            StringType(),
            required=False,
            doc="JSON: ranges of the origin's records that a replay brought",
        ),
        NestedField(
            32,
            "evolved",
            StringType(),
            required=False,
            doc="JSON: columns that records had brought and that judged it beside the contract's",
        ),
    )


def compactions_schema() -> Schema:
    """One row a compaction, which like a batch is a commit of raw."""
    return Schema(
        NestedField(1, "snapshot_id", LongType(), required=True, doc="of the raw table"),
        NestedField(2, "dataset", StringType(), required=True),
        NestedField(3, "committed_at", TimestamptzType(), required=True),
        NestedField(
            4,
            "files",
            ListType(element_id=10, element=_committed_file(11), element_required=True),
            required=True,
        ),
        NestedField(5, "previous_hash", StringType(), required=False, doc="of the dataset's commit before"),
        NestedField(
            6, "entry_hash", StringType(), required=True, doc="of the commit; goes on from the one before"
        ),
    )


def _committed_file(first_id: int) -> StructType:
    kinds = "accepted, quarantine, rewritten, removed or quarantine_removed"
    return StructType(
        NestedField(first_id, "path", StringType(), required=True),
        NestedField(first_id + 1, "kind", StringType(), required=True, doc=kinds),
        NestedField(first_id + 2, "rows", LongType(), required=True),
        NestedField(first_id + 3, "bytes", LongType(), required=True),
        NestedField(first_id + 4, "sha256", StringType(), required=True),
    )


def dismissed_schema() -> Schema:
    """One row a quarantined record, or a refused batch, that somebody decided to leave alone."""
    return Schema(
        NestedField(1, "batch_id", StringType(), required=True, doc="batch that the record came in"),
        NestedField(2, "dataset", StringType(), required=True),
        NestedField(
            3, "record_no", LongType(), required=True, doc="of the record, from 1; 0 is the whole batch"
        ),
        NestedField(4, "reason", StringType(), required=True, doc="as it was given"),
        NestedField(5, "dismissed_at", TimestamptzType(), required=True),
        NestedField(6, "run_id", StringType(), required=True),
    )


def row_order(key: Sequence[str]) -> list[str]:
    """The columns that rows of files written anew are in the order of; without a key they stay as they came."""
    return [*key, BATCH_ID, RECORD_NO] if key else []


def by_dataset() -> PartitionSpec:
    """By dataset, the second field, so that one dataset's rows are found without reading the others'."""
    return PartitionSpec(PartitionField(2, FIRST_PARTITION_FIELD_ID, IdentityTransform(), "dataset"))
