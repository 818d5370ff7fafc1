"""A table's columns in Snowflake: their types, how a Parquet file's values become them, and changes of the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from dpipe.contract.quality import quoted
from dpipe.errors import ConfigError
from dpipe.warehouse.snowflake.names import column

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pyiceberg.schema import Schema
    from pyiceberg.types import IcebergType

# Says which partition's files a row is from, so that a partition can be loaded anew.
PARTITION = "_DPIPE_PARTITION"
# Snowflake's own names without a precision: with a narrower one, an incremental model's new rows would have another
# type than the table that dbt made for its contract.
TYPES: dict[type[IcebergType], str] = {
    BooleanType: "boolean",
    IntegerType: "integer",
    LongType: "integer",
    FloatType: "float",
    DoubleType: "float",
    StringType: "varchar",
    UUIDType: "varchar",
    DateType: "date",
    TimeType: "time",
    TimestampType: "timestamp_ntz",
    # An instant, whatever the session's time zone.
    TimestamptzType: "timestamp_ltz",
    BinaryType: "binary",
    StructType: "variant",
    ListType: "variant",
    MapType: "variant",
}


@dataclass(frozen=True)
class Column:
    """A column by the id that its field has in the lake, whatever it is called."""

    field_id: int
    name: str
    type: str

    @property
    def definition(self) -> str:
        """As `create table` and `add column` have it."""
        return f"{column(self.name)} {self.type}"


def columns_of(schema: Schema) -> list[Column]:
    """The columns of a table's copy. Raises `ConfigError` for two names that differ only in case."""
    found = [Column(field.field_id, field.name, _type(field.field_type)) for field in schema.fields]
    names = [one.name.upper() for one in found]
    twice = next((one.name for one in found if names.count(one.name.upper()) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"the column `{twice}` and another one have the same name in Snowflake, where case doesn't count",
            hint="rename one of them in the contract, then `dpipe contract apply`",
        )
    return found


def changes(have: Sequence[Column], want: Sequence[Column], there: Collection[str]) -> list[str]:
    """What follows `alter table …` so that the copy has the columns that it is to have, in the order to be run.

    `have` are those it was last given, `there` the names in capitals that it has now: a change that was made already,
    before a crash, is not made again.
    """
    was = {one.field_id: one for one in have}
    wanted = {one.field_id for one in want}
    dropped = [one for one in have if one.field_id not in wanted and one.name.upper() in there]
    left = {*there} - {one.name.upper() for one in dropped}
    kept = [(was[one.field_id], one) for one in want if one.field_id in was]
    renames = {
        before.name.upper(): one.name.upper()
        for before, one in kept
        if before.name.upper() != one.name.upper() and before.name.upper() in left
    }
    return [
        *(f"drop column {column(one.name)}" for one in dropped),
        *_renamed(renames, left),
        *(
            f"add column {one.definition}"
            for one in want
            if one.field_id not in was and one.name.upper() not in left
        ),
        *(
            f"alter column {column(one.name)} set data type {one.type}"
            for before, one in kept
            if before.type != one.type
        ),
    ]


def _renamed(renames: Mapping[str, str], there: Collection[str]) -> list[str]:
    """Renames one after the other, each to a name that is free by then, as in a chain from its end."""
    waiting, taken, found = dict(renames), {*there}, []
    while waiting:
        old = next((old for old, new in waiting.items() if new not in taken), None)
        if old is None:
            names = ", ".join(f"`{name.lower()}`" for name in sorted(waiting))
            raise ConfigError(
                f"the columns {names} have changed names with each other",
                hint="`dpipe warehouse load --afresh TABLE` makes the copy anew",
            )
        new = waiting.pop(old)
        taken = taken - {old} | {new}
        found.append(f"rename column {quoted(old)} to {quoted(new)}")
    return found


def selected(want: Sequence[Column], in_file: Mapping[int, str]) -> list[str]:
    """What `copy into` selects of files whose columns have these names by field id, one for each column.

    A column that was added later has no values in older files.
    """
    return [
        f"$1:{_path(in_file[one.field_id])}::{one.type}" if one.field_id in in_file else f"null::{one.type}"
        for one in want
    ]


def _path(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _type(of: IcebergType) -> str:
    if isinstance(of, DecimalType):
        return f"number({of.precision},{of.scale})"
    found = TYPES.get(type(of))
    if found is None:
        raise ConfigError(
            f"Snowflake's copy of a table can't have the type `{of}`",
            hint="docs/snowflake.md lists those it can",
        )
    return found
