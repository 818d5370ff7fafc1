"""Columns of a raw table that its contract doesn't name: records brought them (`dpipe.unknownFields: evolve`)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dpipe.iceberg.catalog import RAW
from dpipe.iceberg.retry import with_retries
from dpipe.iceberg.schema import iceberg_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from dpipe.contract import Column, Plan
    from dpipe.contract.plan import Kind

# The table's property with their types by name.
EVOLVED = "dpipe.evolved"


def evolved(plan: Plan, table: Table | None) -> dict[str, Kind]:
    """The table's columns that records brought, by name; none where unknown fields don't become columns."""
    if plan.unknown_fields != "evolve" or table is None:
        return {}
    own = {column.name for column in plan.columns} | {column.renamed_from for column in plan.columns}
    there = set(table.schema().column_names)
    return {name: kind for name, kind in _kinds(table).items() if name in there and name not in own}


def add(catalog: Catalog, dataset: str, columns: Mapping[Column, str]) -> None:
    """Add optional columns, each with the batch that brought it, in one commit; those that are there stay."""

    def once() -> None:
        table = catalog.load_table((RAW, dataset))
        there = set(table.schema().column_names)
        new = {column: batch_id for column, batch_id in columns.items() if column.name not in there}
        if not new:
            return
        kinds = _kinds(table) | {column.name: column.kind for column in new}
        with table.transaction() as transaction:
            with transaction.update_schema() as update:
                for column, batch_id in new.items():
                    kind = iceberg_type(column, {}, column.name)
                    update.add_column(column.name, kind, doc=f"not in the contract; came with {batch_id}")
            transaction.set_properties({EVOLVED: json.dumps(kinds)})

    with_retries(once, f"{RAW}.{dataset}")


def _kinds(table: Table) -> dict[str, Kind]:
    kinds: dict[str, Kind] = json.loads(table.properties.get(EVOLVED, "{}"))
    return kinds
