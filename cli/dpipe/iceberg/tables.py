"""Making the lake's tables, and seeing that a contract still fits its table."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError
from pyiceberg.io import load_file_io
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.schema import index_by_name
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table.metadata import TableMetadataV2
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

from dpipe.errors import ConfigError
from dpipe.iceberg import schema as schemas
from dpipe.iceberg.catalog import COMPACTIONS, DISMISSED, LEDGER, QUARANTINE, RAW, TABLE_PROPERTIES
from dpipe.iceberg.evolution import changes

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

    from dpipe.contract import Plan

Name = tuple[str, str]


def raw_table(catalog: Catalog, plan: Plan) -> Table:
    """The dataset's raw table, made when it isn't there.

    A table without a snapshot is made anew when the contract has changed meanwhile. Raises `ConfigError` when
    the contract's columns or partitions aren't the table's and rows are there.
    """
    name = (RAW, plan.dataset)
    schema = schemas.raw_schema(plan)
    spec = schemas.raw_partition_spec(plan, schema)
    table = _ensure(catalog, name, schema, spec)
    needed = [change for change in changes(table, plan) if change.kind != "describe"]
    if not needed:
        return table
    if table.current_snapshot() is not None:
        raise ConfigError(
            f"the contract of `{plan.dataset}` no longer fits its table `raw.{plan.dataset}`: "
            + "; ".join(change.text for change in needed),
            hint=f"`dpipe contract plan {plan.dataset}` shows what `dpipe contract apply` would do to the table",
        )
    catalog.drop_table(name)
    return _ensure(catalog, name, schema, spec)


def quarantine_table(catalog: Catalog, dataset: str) -> Table:
    """The dataset's quarantine table, made when it isn't there."""
    return _ensure(catalog, (QUARANTINE, dataset), schemas.quarantine_schema(), UNPARTITIONED_PARTITION_SPEC)


def ledger_table(catalog: Catalog) -> Table:
    """The ledger of all batches, made when it isn't there; columns that an older one lacks are added."""
    schema = schemas.ledger_schema()
    table = _ensure(catalog, LEDGER, schema, schemas.by_dataset())
    if set(schema.column_names) - set(table.schema().column_names):
        with table.update_schema() as update:
            update.union_by_name(schema)
    return table


def compactions_table(catalog: Catalog) -> Table:
    """The compactions of all datasets, made when it isn't there."""
    return _ensure(catalog, COMPACTIONS, schemas.compactions_schema(), schemas.by_dataset())


def dismissed_table(catalog: Catalog) -> Table:
    """The dismissed records of all datasets, made when it isn't there."""
    return _ensure(catalog, DISMISSED, schemas.dismissed_schema(), schemas.by_dataset())


def load(catalog: Catalog, name: Name) -> Table | None:
    """The table, or None when it isn't there."""
    try:
        return catalog.load_table(name)
    except NoSuchTableError:
        return None


def field_ids(table: Table) -> dict[str, int]:
    """The ids of the table's fields by path: `items`, `items.element.price`."""
    return index_by_name(table.schema())


def quarantine_ids(table: Table) -> list[int]:
    """The ids of the quarantine table's fields in their order, then of what is in them, as the kernel takes them.

    A catalog may have numbered them in its own way.
    """
    ids = field_ids(table)
    inner = "violations.element"
    nested = (inner, f"{inner}.column", f"{inner}.rule", f"{inner}.message")
    return [ids[field.name] for field in schemas.quarantine_schema().fields] + [ids[path] for path in nested]


def _ensure(catalog: Catalog, name: Name, schema: Schema, spec: PartitionSpec) -> Table:
    table = load(catalog, name)
    if table is not None:
        return table
    try:
        return _create(catalog, name, schema, spec)
    except TableAlreadyExistsError:
        return catalog.load_table(name)  # another process was quicker


def _create(catalog: Catalog, name: Name, schema: Schema, spec: PartitionSpec) -> Table:
    """Register a table with the field ids of `schema`; `Catalog.create_table` would number them anew.

    A REST catalog writes its tables' metadata itself.
    """
    if not isinstance(catalog, MetastoreCatalog):
        return catalog.create_table(name, schema, partition_spec=spec, properties=TABLE_PROPERTIES)
    location = f"{catalog.properties['warehouse']}/{name[0]}/{name[1]}"
    metadata = TableMetadataV2.model_validate(
        {
            "location": location,
            "schemas": [schema],
            "current-schema-id": schema.schema_id,
            "last-column-id": schema.highest_field_id,
            "partition-specs": [spec],
            "default-spec-id": spec.spec_id,
            "last-partition-id": spec.last_assigned_field_id,
            "sort-orders": [UNSORTED_SORT_ORDER],
            "default-sort-order-id": UNSORTED_SORT_ORDER.order_id,
            "properties": TABLE_PROPERTIES,
            "table-uuid": uuid.uuid4(),
        }
    )
    path = f"{location}/metadata/00000-{uuid.uuid4()}.metadata.json"
    ToOutputFile.table_metadata(metadata, load_file_io(catalog.properties, path).new_output(path))
    return catalog.register_table(name, path)
