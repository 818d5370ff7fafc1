"""A contract as JSON Schema, for clients that check a record before they send it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dpipe.contract import json_numbers, json_texts
from dpipe.contract.ecma import to_ecma
from dpipe.contract.json_examples import accepted, made
from dpipe.contract.patterns import PatternError
from dpipe.contract.plan import LIMITS
from dpipe.contract.types import DATED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from open_data_contract_standard.model import SchemaProperty

    from dpipe.contract.contract import Contract
    from dpipe.contract.plan import Column, Kind, Rule, RuleName

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TYPES: dict[Kind, str] = {
    "int32": "integer",
    "int64": "integer",
    "float64": "number",
    "boolean": "boolean",
    "struct": "object",
    "list": "array",
}


def json_schema(contract: Contract) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one record of the dataset as JSON.

    It refuses no record that the kernel accepts from NDJSON or a JSON array. Where JSON Schema can't say a rule, or
    validators differ, it accepts more, and the description tells the rule. `$id` is `urn:dpipe:<dataset>:<hash>`;
    `examples` are values that the kernel accepts.
    """
    definition = (contract.document.schema_ or [])[0]
    is_closed = contract.plan.unknown_fields == "reject"
    made_of = _Object(is_closed).keywords(contract.plan.columns, definition.properties or [])
    comparisons = contract.plan.comparisons
    # Values that are fine by themselves may break a rule over two of them.
    record = None if comparisons else _example(contract.plan.columns, made_of["properties"])
    held_to = "; ".join(rule.describe() for rule in comparisons)
    description = " ".join(
        filter(None, [contract.description, f"Also held to: {held_to}." if held_to else ""])
    )
    return {
        "$schema": DIALECT,
        "$id": f"urn:dpipe:{contract.dataset}:{contract.hash}",
        "title": definition.businessName or contract.dataset,
        **({"description": description} if description else {}),
        "type": "object",
        **made_of,
        **({"examples": [record]} if record else {}),
    }


def _example(columns: Sequence[Column], properties: dict[str, Any]) -> dict[str, Any] | None:
    """A record of the columns' own examples, and of made values where there are none."""
    record = {}
    for column in columns:
        values = properties[column.name].get("examples") or made(column)
        if values:
            record[column.name] = values[0]
        elif column.required:
            return None
    return record


class _Object:
    """Schemas of objects, which may be closed to fields that the contract doesn't know."""

    def __init__(self, is_closed: bool) -> None:
        self.is_closed = is_closed

    def keywords(self, columns: Sequence[Column], definitions: Sequence[SchemaProperty]) -> dict[str, Any]:
        """The keywords for an object of the columns, each with what ODCS says of it."""
        known = {definition.name: definition for definition in definitions}
        required = [column.name for column in columns if column.required]
        return {
            "properties": {column.name: self.column(column, known.get(column.name)) for column in columns},
            **({"required": required} if required else {}),
            **({"additionalProperties": False} if self.is_closed else {}),
        }

    def column(self, column: Column, definition: SchemaProperty | None) -> dict[str, Any]:
        """The schema of one column or part; a column that may be missing may be null, too."""
        schema = _Schema(column)
        if column.kind == "struct":
            parts = (definition.properties if definition else None) or []
            schema.keywords |= self.keywords(column.fields, parts)
        elif column.kind == "list":
            schema.keywords["items"] = self.column(column.fields[0], definition.items if definition else None)
        title = definition.businessName if definition else None
        description = " ".join(filter(None, [column.description, *schema.said()]))
        examples = accepted(column, (definition.examples if definition else None) or [])
        return {
            **({"title": title} if title else {}),
            **({"description": description} if description else {}),
            **schema.keywords,
            **({"examples": examples} if examples else {}),
        }


class _Schema:
    """The keywords for one column's type and rules, and in words what they don't say."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self.words: list[str] = []
        self.unsaid: list[Rule] = []
        name = _TYPES.get(column.kind, "string")
        if column.kind == "decimal":
            name = "integer" if column.scale == 0 else "number"
        self.keywords: dict[str, Any] = {"type": name if column.required else [name, "null"]}
        if name in {"integer", "number"}:
            self.keywords |= json_numbers.limits(column)
        if column.kind == "decimal" and column.scale:
            digits = f"{column.precision} digits, {column.scale} of them after the point"
            self.words.append(f"Exact decimal of {digits}.")
        if column.kind in DATED:
            keywords, words = json_texts.dated(column)
            self.keywords |= keywords
            self.words.append(words)
        for rule in column.rules:
            self.rule(rule)

    def said(self) -> list[str]:
        """Sentences for the description."""
        unsaid = "; ".join(rule.describe() for rule in self.unsaid)
        return [*filter(None, self.words), *([f"Also held to: {unsaid}."] if unsaid else [])]

    def rule(self, rule: Rule) -> None:
        """Add the keywords for a rule, or note that there are none."""
        keywords = self.for_rule(rule)
        if keywords is None:
            self.unsaid.append(rule)
        elif any(self.keywords.get(name, value) != value for name, value in keywords.items()):
            self.keywords.setdefault("allOf", []).append(keywords)
        else:
            self.keywords |= keywords

    def for_rule(self, rule: Rule) -> dict[str, Any] | None:
        """The keywords for a rule; `None` when JSON Schema can't say it."""
        if rule.rule in LIMITS:
            # Those of numbers are there already. Days and times can't be compared.
            return None if self.column.kind in DATED else {}
        if rule.rule == "multipleOf":
            return json_numbers.multiple(self.column, rule, self.keywords)
        if rule.rule == "uniqueItems":
            return {"uniqueItems": True} if _is_told_apart(self.column.fields[0]) else None
        if isinstance(rule.value, tuple):
            return self.enumeration(rule.value)
        if rule.rule in {"pattern", "format"}:
            return self.text(rule.rule, str(rule.value))
        return {rule.rule: rule.value}

    def text(self, name: RuleName, value: str) -> dict[str, Any] | None:
        """The keywords for what a text spells."""
        if name == "format":
            keywords = json_texts.FORMATS[value]
            if "format" not in keywords:
                self.words.append(f"Text of the format `{value}`.")
            return keywords
        try:
            return {"pattern": to_ecma(value)}
        except PatternError as error:
            self.keywords["$comment"] = f"the pattern is left out, since engines differ: {error}"
            return None

    def enumeration(self, texts: tuple[str, ...]) -> dict[str, Any] | None:
        """The keyword for listed values."""
        is_text = self.column.kind == "string"
        values = list(texts) if is_text else json_numbers.listed(self.column, texts)
        if values is None:
            return None
        # A rule of its own passes null, which a list of values has to name.
        return {"enum": [*values, *([] if self.column.required else [None])]}


def _is_told_apart(column: Column) -> bool:
    """Whether values that the kernel tells apart are two to every validator, also to one that reads floats.

    The kernel has made floats of numbers itself. Where it takes two spellings for one value, the schema accepts more.
    """
    if column.kind == "int64":
        return all(abs(limit) <= json_numbers.MAX_SAFE for limit in json_numbers.limits(column).values())
    if column.kind == "decimal":
        return column.precision <= json_numbers.FLOAT_DIGITS
    return all(_is_told_apart(part) for part in column.fields)
