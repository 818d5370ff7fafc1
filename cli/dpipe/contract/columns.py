"""ODCS properties → columns of the plan."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dpipe.contract import custom, formats, limits
from dpipe.contract.findings import listed
from dpipe.contract.plan import Column, Kind, Rule

if TYPE_CHECKING:
    from open_data_contract_standard.model import SchemaProperty

    from dpipe.contract.findings import Report
    from dpipe.contract.source import DocumentPath

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
NAME_HINT = "use a-z, 0-9 and `_`, begin with a letter, and stay within 63 characters"

_KINDS: dict[str, Kind] = {"number": "float64", "string": "string", "boolean": "boolean", "date": "date"}
_INTEGERS: dict[str, Kind] = {"i8": "int32", "i16": "int32", "i32": "int32", "i64": "int64"}
_INSTEAD = {
    "time": "use `string` with a `pattern`",
    "object": "give each of its fields a column",
    "array": "give its items a dataset of their own",
    "map": "give each key a column",
    "vector": "keep it out of the contract",
}
_DECIMAL = re.compile(r"\s*(decimal|dec|numeric|number|bignumeric)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Compiled:
    """A column with what its property says beyond the plan: custom properties and its place."""

    column: Column
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
    _unsupported(report, definition, at)
    typed = _kind(report, definition, at)
    if typed is None:
        return None
    kind, width = typed
    options = definition.logicalTypeOptions or {}
    options_at = (*at, "logicalTypeOptions")
    limits.check_names(report, definition.logicalType or "", options, options_at)
    rules = limits.rules(report, kind, width, options, options_at)
    rules += _enum(report, definition, kind, at)
    column = Column(
        name=name,
        kind=kind,
        required=bool(definition.required),
        rules=tuple(rules),
        formats=_formats(report, kind, options.get("format"), extra.get("dpipe.formats"), at),
        description=" ".join((definition.description or "").split()),
    )
    return Compiled(column, extra, definition, at)


def _kind(report: Report, definition: SchemaProperty, at: DocumentPath) -> tuple[Kind, str | None] | None:
    """The plan's type, with `int8` or `int16` for integers that are narrower than they are stored."""
    logical = definition.logicalType
    options = definition.logicalTypeOptions or {}
    if logical is None:
        report.error(
            at, f"`{definition.name}` has no `logicalType`", f"write one of {listed(limits.ENFORCED)}"
        )
        return None
    if logical not in limits.ENFORCED:
        message = (
            f"dpipe doesn't read the type `{logical}` yet" if logical in _INSTEAD else f"no type `{logical}`"
        )
        hint = _INSTEAD.get(logical, f"write one of {listed(limits.ENFORCED)}")
        report.error((*at, "logicalType"), message, hint)
        return None
    form = options.get("format")
    form_at = (*at, "logicalTypeOptions", "format")
    if logical == "integer":
        if form is not None and (not isinstance(form, str) or form not in _INTEGERS):
            unsigned = isinstance(form, str) and form.startswith("u")
            report.error(
                form_at,
                f"no integer of the format `{form}`",
                f"write `format: i64`{' and `minimum: 0`' if unsigned else ''}; known: {listed(_INTEGERS)}",
            )
            return None
        return _INTEGERS[form or "i64"], {"i8": "int8", "i16": "int16"}.get(form or "")
    if logical == "number":
        if form not in {None, "f64"}:
            report.error(
                form_at, f"no number of the format `{form}`", "write `format: f64`; numbers have 64 bits"
            )
        if definition.physicalType and _DECIMAL.match(definition.physicalType):
            report.error(
                (*at, "physicalType"),
                f"`{definition.physicalType}` is exact, and dpipe's numbers are floating-point",
                "use an `integer` of the smallest unit (cents), or write `physicalType: DOUBLE`",
            )
    if logical == "timestamp":
        zone = options.get("timezone", False)
        if not isinstance(zone, bool):
            report.error(
                (*at, "logicalTypeOptions", "timezone"), "`timezone` is not a boolean", "write `true`"
            )
        return ("timestamp" if zone is True else "timestamp_ntz"), None
    return _KINDS[logical], None


def _unsupported(report: Report, definition: SchemaProperty, at: DocumentPath) -> None:
    """Keys that promise something which nothing keeps."""
    for key, given, hint in (
        ("properties", definition.properties, "give each field a column"),
        ("items", definition.items, "give the items a dataset of their own"),
        ("map", definition.map, "give each key a column"),
        (
            "relationships",
            definition.relationships,
            "test the reference in `transform/`, and leave it out here",
        ),
        ("encryptedName", definition.encryptedName, "encrypt before ingest, and leave it out here"),
    ):
        if given is not None:
            report.error((*at, key), f"nothing enforces `{key}` yet", hint, key=True)
    if definition.semanticType not in {None, "column"}:
        report.error((*at, "semanticType"), "only columns are stored", "compute measures in `transform/`")
    if definition.physicalName not in {None, definition.name}:
        report.error(
            (*at, "physicalName"), "a column is stored under its `name`", "rename the column, or leave it out"
        )


def _enum(report: Report, definition: SchemaProperty, kind: Kind, at: DocumentPath) -> list[Rule]:
    """ODCS 3.2's `enum`; under 3.1 the quality rule `invalidValues` says the same."""
    if definition.enum is None:
        return []
    here = (*at, "enum")
    if not definition.enum:
        report.error(here, "an `enum` without values", "list them as `- value: …`")
        return []
    places = [(*here, index, "value") for index in range(len(definition.enum))]
    rule = limits.enumeration(report, kind, [item.value for item in definition.enum], places)
    return [rule] if rule else []


def _formats(
    report: Report,
    kind: Kind,
    odcs: object,
    extra: list[str] | None,
    at: DocumentPath,
) -> tuple[str, ...]:
    """Accepted spellings: ODCS's `format`, then `dpipe.formats`."""
    if kind not in {"date", "timestamp", "timestamp_ntz"}:
        if extra:
            where = custom.place(report, at, "dpipe.formats")
            report.error(where, f"`dpipe.formats` on a {kind}", "only dates and timestamps have it")
        return ()
    result: list[str] = []
    where = (*at, "logicalTypeOptions", "format")
    try:
        if odcs is not None:
            result.append(formats.from_java(str(odcs)))
            formats.check(result[-1], kind)
        for index, text in enumerate(extra or []):
            where = (*custom.place(report, at, "dpipe.formats"), index)
            formats.check(text, kind)
            result.append(text)
    except formats.FormatError as error:
        report.error(where, f"format of a {kind}: {error}", error.hint)
    return tuple(dict.fromkeys(result))
