"""DuckDB's checks of objects and arrays.

`json_transform` reads them typed, but gives null for a value of another type, and an object of nulls for another value
in the place of an object. So a column is judged by its typed values and by how many there are in the text, which
settles nearly all records; the others are judged value by value beside their JSON, which tells what is broken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dpipe.bench.work import TEMPORAL, parts
from dpipe.quality.from_contract import duckdb_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dpipe.contract import Column, Plan, Rule

BREACH = 'STRUCT("column" VARCHAR, "rule" VARCHAR)'
NOTHING = f"[]::{BREACH}[]"


def unable(plan: Plan) -> str | None:
    """What of the nested columns it can't do."""
    top = {column.name for column in plan.columns}
    for path, column in parts(plan.columns):
        if path not in top and column.kind in TEMPORAL:
            return f"`json_transform` guesses how dates and times are spelt, `{path}` is one inside a nested column"
    return None


def structure(column: Column) -> Any:  # noqa: ANN401 - JSON
    """The column as `json_transform` is told of it; times of day and days are read as texts."""
    if column.kind == "struct":
        return {part.name: structure(part) for part in column.fields}
    if column.kind == "list":
        return [structure(column.fields[0])]
    return "VARCHAR" if column.kind in TEMPORAL else duckdb_type(column)


def fine(column: Column, broken: Callable[[str, Rule], str]) -> str:
    """SQL of whether nothing is wrong with a column; `broken` is SQL of whether a value breaks a rule."""
    top = f'"{column.name}"'
    seems = " AND ".join(
        [_seems_fine(column, top, broken), *_as_many(column, top, f"$.{column.name}", in_array=False)]
    )
    found = breaches(column, broken)
    return f"CASE WHEN {seems} THEN true ELSE len({found}) = 0 END"


def breaches(column: Column, broken: Callable[[str, Rule], str]) -> str:
    """SQL of a list of everything that is wrong with a column."""
    return _breaches(
        column, column.name, f'"{column.name}"', f"json_extract(_raw, '$.{column.name}')", broken
    )


def _seems_fine(column: Column, value: str, broken: Callable[[str, Rule], str]) -> str:
    """Whether a value is as it should be, unless it is null instead of a value of another type."""
    if column.kind == "struct":
        inner = [_seems_fine(part, _part(value, part), broken) for part in column.fields]
        # Of another value all parts are null.
        held = f"coalesce({', '.join(_is_there(_part(value, part)) for part in column.fields)}) AND "
        held += " AND ".join(inner)
    elif column.kind == "list":
        item = _variable(value)
        inner_fine = _seems_fine(column.fields[0], item, broken)
        limits = [f"NOT ({_breaks_count(value, rule)})" for rule in column.rules]
        all_fine = f"NOT list_contains(list_transform({value}, lambda {item}: {inner_fine}), false)"
        held = " AND ".join([*limits, all_fine])
    else:
        held = " AND ".join(f"NOT ({broken(value, rule)})" for rule in column.rules) or "true"
    return f"CASE WHEN {value} IS NULL THEN {str(not column.required).lower()} ELSE {held} END"


def _as_many(column: Column, values: str, path: str, *, in_array: bool) -> Iterator[str]:
    """Whether there are as many values of each part that may be null as there are in the text.

    `values` is SQL of the value, in an array of all of them.
    """
    if not column.required and column.kind != "struct":
        text = f"json_extract_string(_raw, '{path}')"
        yield (
            f"list_count({values}) = list_count({text})"
            if in_array
            else f"({values} IS NOT NULL OR {text} IS NULL)"
        )
    for part in column.fields:
        if column.kind == "struct" and in_array:
            one = _variable(values)
            inner = f"list_transform({values}, lambda {one}: {_part(one, part)})"
            yield from _as_many(part, inner, f"{path}.{part.name}", in_array=True)
        elif column.kind == "struct":
            yield from _as_many(part, _part(values, part), f"{path}.{part.name}", in_array=False)
        else:
            inner = f"flatten({values})" if in_array else values
            yield from _as_many(part, inner, f"{path}[*]", in_array=True)


def _breaches(column: Column, path: str, value: str, text: str, broken: Callable[[str, Rule], str]) -> str:
    """The same for a part; `text` is SQL of its JSON."""
    absent = f"json_extract_string({text}, '$') IS NULL"
    missing = f"[{breach(path, 'required')}]" if column.required else NOTHING
    if column.kind == "struct":
        is_other = f"json_type({text}) <> 'OBJECT'"
        inner = [
            _breaches(
                part,
                f"{path}.{part.name}",
                _part(value, part),
                f"json_extract({text}, '$.{part.name}')",
                broken,
            )
            for part in column.fields
        ]
    elif column.kind == "list":
        is_other = f"json_type({text}) <> 'ARRAY'"
        item = _variable(value)
        items = _breaches(column.fields[0], f"{path}[]", f"{item}[1]", f"{item}[2]", broken)
        pairs = f"list_zip({value}, json_extract({text}, '$[*]'))"
        inner = [_when(_breaks_count(value, rule), path, rule.rule) for rule in column.rules] + [
            f"flatten(list_transform({pairs}, lambda {item}: {items}))"
        ]
    else:
        is_other = f"{value} IS NULL"
        inner = [_when(broken(value, rule), path, rule.rule) for rule in column.rules]
    told = f"list_concat({', '.join([NOTHING, *inner])})"
    return f"CASE WHEN {absent} THEN {missing} WHEN {is_other} THEN [{breach(path, 'type')}] ELSE {told} END"


def breach(path: str | None, rule: str) -> str:
    """SQL of one breach."""
    name = "NULL" if path is None else f"'{path}'"
    return f"{{'column': {name}, 'rule': '{rule}'}}::{BREACH}"


def _when(condition: str, path: str, rule: str) -> str:
    return f"CASE WHEN {condition} THEN [{breach(path, rule)}] ELSE {NOTHING} END"


def _breaks_count(value: str, rule: Rule) -> str:
    return f"len({value}) {'<' if rule.rule == 'minItems' else '>'} {rule.value}"


def _part(value: str, part: Column) -> str:
    return f'({value})."{part.name}"'


def _is_there(value: str) -> str:
    """True, or null where there is no value."""
    return f"CASE WHEN {value} IS NOT NULL THEN true END"


def _variable(value: str) -> str:
    """A name for an item of an array that is none in the SQL of the array."""
    return f"one_{value.count('lambda') + value.count('one_')}"
