"""Another partition for a table with rows: its files are written anew, spread as the contract asks."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.transforms import IdentityTransform

from dpipe.iceberg import schema as schemas
from dpipe.iceberg.datafiles import data_location
from dpipe.iceberg.existing import as_stored, files_by_partition, whole_rows
from dpipe.iceberg.rewrite import in_order, removed_files, write_rows, written_anew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyiceberg.table import FileScanTask, Table, Transaction

    from dpipe.contract import Plan
    from dpipe.contract.plan import PartitionField
    from dpipe.iceberg.attempt import WrittenFile

# Rows are spread in memory, so many at a time.
MOST_ROWS = 4_000_000
Spread = tuple[list["WrittenFile"], list["WrittenFile"]]


def partition_by(transaction: Transaction, wanted: Sequence[PartitionField]) -> None:
    """Have the table partitioned so from the end of the transaction on."""
    schema = transaction.table_metadata.schema()
    there = {
        (str(field.transform), schema.find_column_name(field.source_id)): field.name
        for field in transaction.table_metadata.spec().fields
    }
    asked = {(str(schemas.TRANSFORMS[field.transform]), field.column): field for field in wanted}
    with transaction.update_spec() as update:
        for key in there.keys() - asked.keys():
            update.remove_field(there[key])
        for key, field in asked.items():
            if key not in there:
                update.add_field(field.column, schemas.TRANSFORMS[field.transform], field.name)


def respread(
    table: Table, plan: Plan, sort_by: Sequence[str], on_progress: Callable[[int, int], None]
) -> Spread:
    """Write the rows of the table's snapshot as loaded into files of the plan's partitions, in the columns' order.

    Returns the new files, which are durable and known to nobody yet, and the old ones. When one fails, no new one is
    left. Raises `DpipeError` when one can't be read or written, or has rows that a delete file deletes.
    """
    tasks = [task for of_partition in files_by_partition(table).values() for task in of_partition]
    with written_anew(table, "then run `dpipe contract apply` again") as written:
        for group in _bounded(tasks):
            rows = pa.concat_tables([whole_rows(table, task) for task in group])
            for partition, part in _spread(table, plan, rows, sort_by):
                location = f"{data_location(table)}/{uuid.uuid4()}.parquet"
                written.append(write_rows(table, location, part, partition))
                on_progress(sum(file.rows for file in written), sum(file.bytes for file in written))
    return written, removed_files(tasks)


def _bounded(tasks: Sequence[FileScanTask]) -> Iterator[list[FileScanTask]]:
    group: list[FileScanTask] = []
    rows = 0
    for task in tasks:
        if group and rows + task.file.record_count > MOST_ROWS:
            yield group
            group, rows = [], 0
        group.append(task)
        rows += task.file.record_count
    if group:
        yield group


def _spread(
    table: Table, plan: Plan, rows: pa.Table, sort_by: Sequence[str]
) -> Iterator[tuple[dict[str, Any], pa.Table]]:
    """The rows of each partition, with its values by field name as Iceberg stores them."""
    names = rows.column_names
    marks = [f"_dpipe_partition_{index}" for index in range(len(plan.partition))]
    for mark, field in zip(marks, plan.partition, strict=True):
        values = rows[field.column]
        rows = rows.append_column(
            mark, values if field.transform == "identity" else pc.floor_temporal(values, unit=field.transform)
        )
    rows = in_order(rows, [*marks, *sort_by])
    if not marks:
        yield {}, rows
        return
    # Without threads groups come in the order of the rows, which is that of the partitions.
    groups = rows.select(marks).group_by(marks, use_threads=False).aggregate([([], "count_all")])
    start = 0
    for group in groups.to_pylist():
        partition = {
            field.name: _value(table, field, group[mark])
            for mark, field in zip(marks, plan.partition, strict=True)
        }
        yield partition, rows.slice(start, group["count_all"]).select(names)
        start += group["count_all"]


def _value(table: Table, field: PartitionField, value: Any) -> Any:  # noqa: ANN401 - of any partition
    stored = as_stored(value)
    transform = schemas.TRANSFORMS[field.transform]
    if isinstance(transform, IdentityTransform):
        return stored
    return transform.transform(table.schema().find_field(field.column).field_type)(stored)
