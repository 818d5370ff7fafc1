"""From Parquet files that the kernel wrote to Iceberg data files, by their footers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

from dpipe.errors import DpipeError
from dpipe.iceberg.storage import local_path
from dpipe.outages import unavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.table import Table

    from dpipe.iceberg.attempt import WrittenFile


class OtherFieldsError(DpipeError):
    """A file was written for the table as it was before a change."""


def data_location(table: Table) -> str:
    """Where the table's data files are."""
    return f"{table.location()}/data"


def data_files(table: Table, written: Sequence[WrittenFile], spec: PartitionSpec) -> list[DataFile]:
    """The data files of `written` for the table's current schema and a partition spec.

    Partition values are the kernel's, since statistics can't give them for every transform. Raises
    `DpipeError` when a file's fields, rows or size aren't what the table and the kernel say.
    """
    return [_data_file(table, file, spec) for file in written]


def live_files(table: Table, paths: Collection[str]) -> list[DataFile]:
    """Those of the table's data files that are at these locations."""
    if not paths:
        return []
    return [task.file for task in table.scan().plan_files() if task.file.file_path in paths]


def _data_file(table: Table, file: WrittenFile, spec: PartitionSpec) -> DataFile:
    try:
        with table.io.new_input(file.path).open() as stream:
            footer = pq.read_metadata(stream)
        size = len(table.io.new_input(file.path))
    except OSError as error:
        raise unavailable(error) or DpipeError(
            f"the file `{local_path(file.path)}` can't be read: {error}",
            hint="it belongs to a commit that isn't complete; restore it, then run `dpipe process` again",
        ) from error
    if (footer.num_rows, size) != (file.rows, file.bytes):
        raise DpipeError(
            f"internal: `{local_path(file.path)}` has {footer.num_rows} rows and {size} bytes, "
            f"but was reported with {file.rows} and {file.bytes}"
        )
    schema = table.schema()
    in_file = {field.name: _field_id(field.metadata) for field in footer.schema.to_arrow_schema()}
    if in_file != {field.name: field.field_id for field in schema.fields}:
        raise OtherFieldsError(f"internal: the fields of `{local_path(file.path)}` aren't those of its table")
    if file.partition.keys() != {field.name for field in spec.fields}:
        raise OtherFieldsError(f"internal: `{local_path(file.path)}` is of a partition that its table hasn't")
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=footer,
        stats_columns=compute_statistics_plan(schema, table.properties),
        parquet_column_mapping=parquet_path_to_id_mapping(schema),
    )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=file.path,
        file_format=FileFormat.PARQUET,
        partition=Record(*(file.partition[field.name] for field in spec.fields)),
        file_size_in_bytes=size,
        sort_order_id=None,
        spec_id=spec.spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )


def _field_id(metadata: dict[bytes, bytes] | None) -> int | None:
    text = (metadata or {}).get(b"PARQUET:field_id")
    return None if text is None else int(text)
