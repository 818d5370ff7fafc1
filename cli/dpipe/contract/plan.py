"""The compiled contract: what the kernel, Iceberg and the checks share."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["int32", "int64", "float64", "boolean", "string", "date", "timestamp", "timestamp_ntz"]
RuleName = Literal[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "pattern",
    "enum",
]
Transform = Literal["identity", "year", "month", "day", "hour"]
UnknownFields = Literal["ignore", "reject"]

MAX_RECORD_BYTES = 16 << 20
PROVENANCE = ("_dpipe_batch_id", "_dpipe_record_no", "_dpipe_contract")


@dataclass(frozen=True)
class Rule:
    """A rule on one column's values; nulls pass.

    `value` is a float for limits, an int for lengths, text for a pattern (searched, not anchored) and a tuple
    of texts for an enumeration.
    """

    rule: RuleName
    value: float | int | str | tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The kernel's form of the rule."""
        if isinstance(self.value, tuple):
            return {"rule": self.rule, "values": list(self.value)}
        return {"rule": self.rule, "value": self.value}

    def describe(self) -> str:
        """The rule in a few words."""
        if isinstance(self.value, tuple):
            return f"one of {', '.join(self.value)}"
        if isinstance(self.value, str):
            return f"matches {self.value}"
        return f"{self.rule} {self.value:.17g}"


@dataclass(frozen=True)
class Column:
    """A column and what must hold of its values; `formats` are `strftime` spellings, none means ISO 8601."""

    name: str
    kind: Kind
    required: bool = False
    rules: tuple[Rule, ...] = ()
    formats: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True)
class PartitionField:
    """One field of the Iceberg partition: a column, how its value is cut down, and the field's name."""

    column: str
    transform: Transform
    name: str


@dataclass(frozen=True)
class CsvOptions:
    """How CSV text reads. `null_tokens` spell null; a quoted empty field is text all the same."""

    delimiter: str = ","
    quote: str = '"'
    header: bool = True
    null_tokens: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Plan:
    """A dataset's columns, key and layout; `contract` is the contract's hash."""

    dataset: str
    contract: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    partition: tuple[PartitionField, ...] = ()
    unknown_fields: UnknownFields = "ignore"
    csv: CsvOptions = field(default_factory=CsvOptions)
    max_record_bytes: int = MAX_RECORD_BYTES

    def to_json(self, field_ids: Mapping[str, int] | None = None) -> str:
        """The plan as the kernel reads it.

        `field_ids` are the Iceberg table's, by column name; without them columns are numbered from 1. When
        they name the provenance columns too, those ids go along.
        """
        ids = field_ids or {column.name: number for number, column in enumerate(self.columns, start=1)}
        document: dict[str, Any] = {
            "dataset": self.dataset,
            "contract": self.contract,
            "columns": [
                {
                    "name": column.name,
                    "field_id": ids[column.name],
                    "type": column.kind,
                    "required": column.required,
                    "rules": [rule.to_json() for rule in column.rules],
                    "formats": list(column.formats),
                }
                for column in self.columns
            ],
            "key": list(self.key),
            "partition": [
                {"column": part.column, "transform": part.transform, "name": part.name}
                for part in self.partition
            ],
            "unknown_fields": self.unknown_fields,
            "csv": {
                "delimiter": self.csv.delimiter,
                "quote": self.csv.quote,
                "header": self.csv.header,
                "null_tokens": list(self.csv.null_tokens),
            },
            "max_record_bytes": self.max_record_bytes,
        }
        if all(name in ids for name in PROVENANCE):
            document["provenance_ids"] = [ids[name] for name in PROVENANCE]
        return json.dumps(document, ensure_ascii=False)
