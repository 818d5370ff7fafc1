"""ODCS properties → columns of the plan."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dpipe.contract import custom, formats, limits, types
from dpipe.contract.plan import Column, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from open_data_contract_standard.model import SchemaProperty

    from dpipe.contract.findings import Report
    from dpipe.contract.source import DocumentPath
    from dpipe.contract.types import Type

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
NAME_HINT = "use a-z, 0-9 and `_`, begin with a letter, and stay within 63 characters"


@dataclass(frozen=True)
class Compiled:
    """A column with what its property says beyond the plan: its exact type, custom properties and its place."""

    column: Column
    type: Type
    custom: dict[str, Any]
    definition: SchemaProperty
    at: DocumentPath


def check_name(report: Report, name: str | None, at: DocumentPath, what: str) -> str:
    """The name, or an empty one after a finding."""
    if name is None:
        report.error(at, f"a {what} without a name", "add `name:`")
    elif name.startswith("_dpipe"):
        report.error(
            (*at, "name"), f"`{name}` begins with `_dpipe`", "names like that are dpipe's own columns"
        )
    elif not NAME.fullmatch(name):
        report.error((*at, "name"), f"`{name[:80]}` is not a {what}'s name", NAME_HINT)
    else:
        return name
    return ""


def compile_column(report: Report, definition: SchemaProperty, at: DocumentPath) -> Compiled | None:
    """One property's column, or `None` when its type is not one that dpipe has."""
    name = check_name(report, definition.name, at, "column")
    extra = custom.values(report, definition.customProperties, at, "column")
    typed = types.column_type(report, definition, at)
    if typed is None:
        return None
    column = _column(report, definition, typed, name, extra.get("dpipe.formats"), at)
    column = replace(column, renamed_from=extra.get("dpipe.renamedFrom"))
    return Compiled(column, typed, extra, definition, at)


def _column(
    report: Report,
    definition: SchemaProperty,
    typed: Type,
    name: str,
    spellings: list[str] | None,
    at: DocumentPath,
) -> Column:
    _unsupported(report, definition, typed, at)
    options = definition.logicalTypeOptions or {}
    options_at = (*at, "logicalTypeOptions")
    limits.check_names(report, definition.logicalType or "", options, options_at)
    rules = limits.rules(report, typed, options, options_at)
    rules += _enum(report, definition, typed, at)
    return Column(
        name=name,
        kind=typed.kind,
        required=bool(definition.required),
        rules=tuple(rules),
        formats=_formats(report, typed, options.get("format"), spellings, at),
        description=" ".join((definition.description or "").split()),
        precision=typed.precision,
        scale=typed.scale,
        default_offset=typed.default_offset,
        fields=tuple(_parts(report, definition, typed, at)),
    )


def _parts(report: Report, definition: SchemaProperty, typed: Type, at: DocumentPath) -> Iterator[Column]:
    """What is in a nested column: the properties of an object, the item of an array."""
    if typed.kind == "list":
        if definition.items is None:
            report.error(at, "an array without `items`", "say what its items are: `items: {logicalType: …}`")
        else:
            yield from _part(report, definition.items, "element", (*at, "items"))
    if typed.kind != "struct":
        return
    parts = definition.properties or []
    if not parts:
        report.error(at, "an object without properties", "list them under `properties`")
    asked = (definition.logicalTypeOptions or {}).get("required") or []
    where = (*at, "logicalTypeOptions", "required")
    if not isinstance(asked, list):
        report.error(where, "`required` is not a list", "write the names of properties as `[…]`")
        asked = []
    names = [part.name for part in parts]
    for index, name in enumerate(asked):
        if name not in names:
            report.error((*where, index), f"no property `{name}`", "name one of the object's properties")
    for index, part in enumerate(parts):
        here = (*at, "properties", index)
        if part.name in names[:index]:
            report.error((*here, "name"), f"property `{part.name}` is there twice", "keep one of the two")
        name = check_name(report, part.name, here, "property")
        for column in _part(report, part, name, here):
            yield replace(column, required=column.required or part.name in asked)


def _part(report: Report, definition: SchemaProperty, name: str, at: DocumentPath) -> Iterator[Column]:
    """A property or an item; nothing after a finding about its type."""
    for key in (
        "primaryKey",
        "primaryKeyPosition",
        "partitioned",
        "partitionKeyPosition",
        "unique",
        "quality",
    ):
        if getattr(definition, key) not in (None, False, -1, []):
            report.error((*at, key), f"`{key}` of a part of a column", "only whole columns have it", key=True)
    extra = custom.values(report, definition.customProperties, at, "part")
    typed = types.column_type(report, definition, at)
    if typed is not None:
        yield _column(report, definition, typed, name, extra.get("dpipe.formats"), at)


def _unsupported(report: Report, definition: SchemaProperty, typed: Type, at: DocumentPath) -> None:
    """Keys that promise something which nothing keeps."""
    for key, given, hint in (
        (
            "properties",
            definition.properties if typed.kind != "struct" else None,
            "write `logicalType: object`",
        ),
        ("items", definition.items if typed.kind != "list" else None, "write `logicalType: array`"),
        ("map", definition.map, "give each key a column"),
        (
            "relationships",
            definition.relationships,
            "test the reference in `transform/`, and leave it out here",
        ),
        ("encryptedName", definition.encryptedName, "encrypt before ingest, and leave it out here"),
    ):
        if given is not None:
            message = f"nothing enforces `{key}` of a {definition.logicalType}"
            report.error((*at, key), message, hint, key=True)
    if definition.semanticType not in {None, "column"}:
        report.error((*at, "semanticType"), "only columns are stored", "compute measures in `transform/`")
    if definition.physicalName not in {None, definition.name}:
        report.error(
            (*at, "physicalName"), "a column is stored under its `name`", "rename the column, or leave it out"
        )


def _enum(report: Report, definition: SchemaProperty, typed: Type, at: DocumentPath) -> list[Rule]:
    """ODCS 3.2's `enum`; under 3.1 the quality rule `invalidValues` says the same."""
    if definition.enum is None:
        return []
    here = (*at, "enum")
    if not definition.enum:
        report.error(here, "an `enum` without values", "list them as `- value: …`")
        return []
    places = [(*here, index, "value") for index in range(len(definition.enum))]
    rule = limits.enumeration(report, typed, [item.value for item in definition.enum], places)
    return [rule] if rule else []


def _formats(
    report: Report,
    typed: Type,
    odcs: object,
    extra: list[str] | None,
    at: DocumentPath,
) -> tuple[str, ...]:
    """Accepted spellings: ODCS's `format`, then `dpipe.formats`."""
    if not typed.is_dated:
        if extra:
            where = custom.place(report, at, "dpipe.formats")
            report.error(where, f"`dpipe.formats` on a {typed.name}", "only dates and timestamps have it")
        return ()
    result: list[str] = []
    where = (*at, "logicalTypeOptions", "format")
    kind: str = typed.kind
    if typed.default_offset:
        kind = "timestamp_any" if typed.default_offset.overridable else "timestamp_ntz"
    try:
        if odcs is not None:
            result.append(formats.from_java(str(odcs)))
            formats.check(result[-1], kind)
        for index, text in enumerate(extra or []):
            where = (*custom.place(report, at, "dpipe.formats"), index)
            formats.check(text, kind)
            result.append(text)
    except formats.FormatError as error:
        report.error(where, f"format of a {typed.name}: {error}", error.hint)
    return tuple(dict.fromkeys(result))
