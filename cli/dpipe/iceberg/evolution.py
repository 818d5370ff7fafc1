"""What a contract asks of a raw table that is there already, and doing it.

Columns keep their field ids, so that files stay as they are and old snapshots can be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pyiceberg.types import (
    DecimalType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    NestedField,
    StructType,
)

from dpipe.iceberg import schema as schemas
from dpipe.iceberg.evolved import evolved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.table.update.schema import UpdateSchema

    from dpipe.contract import Plan

Kind = Literal["rename", "add", "widen", "make optional", "describe", "repartition", "drop", "impossible"]


@dataclass(frozen=True)
class Change:
    """One difference between a table and its contract.

    `column` is the contract's, of a `drop` the table's; `before` is what a renamed one is called there; `text` is a
    sentence. To `repartition`, which has no column, is to write all files anew. After a `drop` only old snapshots have
    the values; what is `impossible` needs another column or dataset.
    """

    kind: Kind
    column: str
    text: str
    before: str | None = None


def changes(table: Table, plan: Plan) -> list[Change]:
    """What has to be done to a table so that it fits the plan, renames first; nothing when it does.

    A column that the table lets be null fits a required one: the kernel sees to it. Where unknown fields become
    columns, those that records brought stay.
    """
    there = {field.name: field for field in table.schema().fields}
    wanted = {field.name: field for field in schemas.raw_schema(plan).fields}
    renames = plan.renames(there.keys())
    found = [Change("rename", new, f"column `{old}` becomes `{new}`", old) for new, old in renames.items()]
    stays = {*wanted, *renames.values(), *evolved(plan, table)}
    gone = [name for name in there if name not in stays]
    for name, field in wanted.items():
        before = there.get(renames.get(name, name))
        if before is None:
            found.append(_added(name, field, gone))
        else:
            found += _altered(name, before, field)
    now, then = _partitions(table), _wanted_partitions(plan, renames)
    if set(now) != set(then):
        text = f"it becomes partitioned by {_listed(then)}, and was by {_listed(now)}: all files are written anew"
        found.append(Change("repartition", "", text))
    found += [Change("drop", name, f"column `{name}` is not in the contract any more") for name in gone]
    return found


def apply(table: Table, plan: Plan, wanted: Sequence[Change]) -> None:
    """Make the changes of columns in one commit; others are the caller's.

    Raises `CommitFailedException` when another writer was quicker.
    """
    schema = schemas.raw_schema(plan)
    renames = plan.renames(table.schema().column_names)
    with table.transaction() as transaction:
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for change in wanted:
                _apply(update, change, schema, renames)
        then = _wanted_partitions(plan, renames)
        names = {key: part.name for key, part in zip(then, plan.partition, strict=True)}
        pairs = zip(table.spec().fields, _partitions(table), strict=True)
        asked = [(field.name, names.get(key, field.name)) for field, key in pairs]
        moved = [(before, after) for before, after in asked if before != after]
        if moved:
            with transaction.update_spec() as spec:
                for before, after in moved:
                    spec.rename_field(before, after)


def _apply(update: UpdateSchema, change: Change, schema: Schema, renames: dict[str, str]) -> None:
    name = change.column
    if change.kind == "drop":
        update.delete_column(name)
        return
    field = schema.find_field(name)
    match change.kind:
        case "rename":
            update.rename_column(renames[name], name)
        case "add":
            # Rows that are there have no value, whatever the contract asks of those to come.
            update.add_column(name, field.field_type, doc=field.doc)
        case "widen":
            update.update_column(renames.get(name, name), field_type=field.field_type)
        case "make optional":
            update.make_column_optional(renames.get(name, name))
        case "describe":
            update.update_column(renames.get(name, name), doc=field.doc or "")


def _added(name: str, field: NestedField, gone: Sequence[str]) -> Change:
    text = f"column `{name}` of type {_shape(field.field_type)} is new"
    if gone:
        text += f"; if it is `{gone[0]}` by another name, say so: `dpipe.renamedFrom: {gone[0]}`"
    return Change("add", name, text)


def _altered(name: str, before: NestedField, after: NestedField) -> list[Change]:
    found = []
    types = f"{_shape(before.field_type)} becomes {_shape(after.field_type)}"
    if _shape(before.field_type) != _shape(after.field_type):
        if _is_wider(after.field_type, before.field_type):
            found.append(Change("widen", name, f"column `{name}`: {types}"))
        else:
            text = (
                f"column `{name}`: {types}, which no value can be turned into: add a column of another name"
            )
            found.append(Change("impossible", name, text))
    if before.required and not after.required:
        found.append(Change("make optional", name, f"column `{name}` may be null from now on"))
    if (before.doc or "") != (after.doc or ""):
        found.append(Change("describe", name, f"column `{name}` is described otherwise"))
    return found


def _shape(kind: IcebergType) -> str:
    """The type in words; ids of what is in it are the table's, and a new table's would be others."""
    if isinstance(kind, StructType):
        parts = (
            f"{field.name}: {'required' if field.required else 'optional'} {_shape(field.field_type)}"
            for field in kind.fields
        )
        return f"struct<{', '.join(parts)}>"
    if isinstance(kind, ListType):
        return f"list<{'required' if kind.element_required else 'optional'} {_shape(kind.element_type)}>"
    return str(kind)


def _is_wider(after: IcebergType, before: IcebergType) -> bool:
    """Whether Iceberg reads every value of the one type as the other."""
    if isinstance(after, LongType) and isinstance(before, IntegerType):
        return True
    return (
        isinstance(after, DecimalType)
        and isinstance(before, DecimalType)
        and after.scale == before.scale
        and after.precision > before.precision
    )


def _partitions(table: Table) -> list[tuple[str, str]]:
    """Transforms and columns of the table's partition."""
    schema = table.schema()
    return [
        (str(field.transform), schema.find_column_name(field.source_id) or "")
        for field in table.spec().fields
    ]


def _wanted_partitions(plan: Plan, renames: dict[str, str]) -> list[tuple[str, str]]:
    return [
        (str(schemas.TRANSFORMS[field.transform]), renames.get(field.column, field.column))
        for field in plan.partition
    ]


def _listed(partitions: Sequence[tuple[str, str]]) -> str:
    named = (
        column if transform == "identity" else f"{transform}({column})" for transform, column in partitions
    )
    return ", ".join(named) or "nothing"
