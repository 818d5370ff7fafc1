"""polars' checks of objects and arrays.

`read_ndjson` gives null for a value of another type. So numbers that may be null are read as texts and cast, and a
column is judged by expressions first, inside arrays by `list.eval`; where those leave a doubt, its parts are taken out
level by level, and what is null is looked up in the text by `json_path_match`.

What it does otherwise than the kernel: numbers that may be null pass in quotes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dpipe.bench.work import TEMPORAL, nested, parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import polars as pl

    from dpipe.contract import Column, Plan, Rule

    # An expression of whether a value breaks a rule.
    Broken = Callable[[pl.Expr, Column, Rule], pl.Expr]
    TypeOf = Callable[[Column], Any]


def unable(plan: Plan) -> str | None:
    """What of the nested columns it can't do."""
    for column in nested(plan):
        for path, part in parts((column,)):
            if part.kind in TEMPORAL:
                return f"no dates and times inside nested columns are written for it, `{path}` is one"
    return None


def read_type(column: Column, type_of: TypeOf) -> Any:  # noqa: ANN401 - polars' classes and instances
    """The type that a column or a part of one is read with; `type_of` is that of a plain one."""
    import polars as pl

    if column.kind == "struct":
        return pl.Struct({part.name: read_type(part, type_of) for part in column.fields})
    if column.kind == "list":
        return pl.List(read_type(column.fields[0], type_of))
    # No text can be cast to a boolean.
    return type_of(column) if column.required or column.kind == "boolean" else pl.String()


def typed(
    records: pl.DataFrame, plan: Plan, type_of: TypeOf, broken: Broken
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records with their nested columns typed, and what these break: `_record_no` and `_violations`, one a row."""
    import polars as pl

    doubtful = [f"{column.name} doubtful" for column in nested(plan)]
    seem = [
        (~_seems_fine(column, pl.col(column.name), type_of, broken)).fill_null(value=True).alias(name)
        for column, name in zip(nested(plan), doubtful, strict=True)
    ]
    cast = [pl.col(column.name).cast(_type(column, type_of), strict=False) for column in nested(plan)]
    records = records.lazy().with_columns(*seem).with_columns(cast).collect(engine="streaming")
    found: list[pl.DataFrame] = []
    for column, name in zip(nested(plan), doubtful, strict=True):
        values = records.lazy().filter(name)
        at, value = pl.lit(f"$.{column.name}").alias("_at"), pl.col(column.name).alias("_value")
        values = values.select("_record_no", "_raw", at, value)
        found += _breaches(values.collect(), column, column.name, broken)
    return records.drop(doubtful), pl.concat(found) if found else _breach(records.clear(), "", "")


def _type(column: Column, type_of: TypeOf) -> Any:  # noqa: ANN401 - polars' classes and instances
    import polars as pl

    if column.kind == "struct":
        return pl.Struct({part.name: _type(part, type_of) for part in column.fields})
    return pl.List(_type(column.fields[0], type_of)) if column.kind == "list" else type_of(column)


def _seems_fine(column: Column, value: pl.Expr, type_of: TypeOf, broken: Broken) -> pl.Expr:
    """Whether nothing is wrong with a value as it was read; it isn't when an object, an array or a boolean is null."""
    import polars as pl

    if column.kind == "struct":
        inner = [_seems_fine(part, value.struct.field(part.name), type_of, broken) for part in column.fields]
        return pl.all_horizontal(value.is_not_null(), *inner)
    rules = [~broken(value, column, rule) for rule in column.rules]
    if column.kind == "list":
        items = value.list.eval(_seems_fine(column.fields[0], pl.element(), type_of, broken)).list.all()
        return pl.all_horizontal(value.is_not_null(), items, *rules)
    if column.required or column.kind == "boolean":
        return pl.all_horizontal(value.is_not_null(), *rules)
    cast = value.cast(type_of(column), strict=False)
    rules = [(~broken(cast, column, rule)).fill_null(value=True) for rule in column.rules]
    return pl.all_horizontal(cast.is_not_null() | value.is_null(), *rules)


def _breaches(values: pl.DataFrame, column: Column, path: str, broken: Broken) -> Iterator[pl.DataFrame]:
    """What values break: each has its `_record_no`, the record's `_raw` text, and the path `_at` which it is there."""
    import polars as pl

    value = pl.col("_value")
    nothing = values.filter(value.is_null())
    is_other = pl.col("_raw").str.json_path_match(pl.col("_at")).is_not_null()
    yield _breach(nothing.filter(is_other), path, "type")
    if column.required:
        yield _breach(nothing.filter(~is_other), path, "required")
    there = values.filter(value.is_not_null())
    for rule in column.rules:
        yield _breach(there.filter(broken(value, column, rule)), path, rule.rule)
    if column.kind == "struct":
        for part in column.fields:
            inner = there.with_columns(
                pl.col("_at") + f".{part.name}", value.struct.field(part.name).alias("_value")
            )
            yield from _breaches(inner, part, f"{path}.{part.name}", broken)
    if column.kind == "list":
        place = pl.format("{}[{}]", "_at", "_place").alias("_at")
        items = there.filter(value.list.len() > 0).with_columns(_place=pl.int_ranges(value.list.len()))
        items = items.explode("_value", "_place").with_columns(place).drop("_place")
        yield from _breaches(items, column.fields[0], f"{path}[]", broken)


def _breach(values: pl.DataFrame, path: str, rule: str) -> pl.DataFrame:
    import polars as pl

    one = pl.struct(pl.lit(path).alias("column"), pl.lit(rule).alias("rule")).alias("_violations")
    return values.select("_record_no", one)
