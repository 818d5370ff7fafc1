"""The compiled contract: what the kernel, Iceberg and the checks share."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

Kind = Literal[
    "int32",
    "int64",
    "float64",
    "decimal",
    "boolean",
    "string",
    "date",
    "timestamp",
    "timestamp_ntz",
    "time",
    "struct",
    "list",
]
RuleName = Literal[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "format",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "pattern",
    "enum",
]
Transform = Literal["identity", "year", "month", "day", "hour"]
UnknownFields = Literal["ignore", "reject", "evolve"]
WriteMode = Literal["append", "upsert", "overwrite_partition"]
Operator = Literal["=", "!=", "<", "<=", ">", ">="]

LIMITS: tuple[RuleName, ...] = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
MAX_RECORD_BYTES = 16 << 20
MAX_PRECISION = 38
# Operators in words, for names.
_IN_WORDS: dict[Operator, str] = {
    "=": "equals",
    "!=": "differs_from",
    "<": "below",
    "<=": "at_most",
    ">": "above",
    ">=": "at_least",
}
PROVENANCE = ("_dpipe_batch_id", "_dpipe_record_no", "_dpipe_contract")


@dataclass(frozen=True)
class Rule:
    """A rule on one column's values; nulls pass.

    `value` is a float for limits, a `Decimal` for those of decimals and for multiples, ISO 8601 text for those of
    dates and times, an int for lengths, text for a pattern (searched, not anchored) and a format's name, and a
    tuple of texts for an enumeration.
    """

    rule: RuleName
    value: float | int | Decimal | str | tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The kernel's form of the rule."""
        if isinstance(self.value, tuple):
            return {"rule": self.rule, "values": list(self.value)}
        if self.rule == "uniqueItems":
            return {"rule": self.rule}
        value = f"{self.value:f}" if isinstance(self.value, Decimal) else self.value
        return {"rule": self.rule, "value": value}

    def describe(self) -> str:
        """The rule in a few words."""
        if isinstance(self.value, tuple):
            return f"one of {', '.join(self.value)}"
        if self.rule == "uniqueItems":
            return "no item twice"
        if self.rule == "pattern":
            return f"matches {self.value}"
        if isinstance(self.value, str):
            return f"{self.rule} {self.value}"
        if isinstance(self.value, Decimal):
            return f"{self.rule} {self.value:f}"
        return f"{self.rule} {self.value:.17g}"


@dataclass(frozen=True)
class Comparison:
    """A rule over two columns of one record; it holds when either value is null.

    `name` is what results are stored under, by default what is compared.
    """

    left: str
    operator: Operator
    right: str
    name: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.in_words)

    @property
    def in_words(self) -> str:
        """The rule as a name: `sent_at_at_least_ordered_at`."""
        return f"{self.left}_{_IN_WORDS[self.operator]}_{self.right}"

    @property
    def asks(self) -> tuple[str, Operator, str]:
        """The same of two rules that ask the same: `a < b` is `b > a`."""
        turned: dict[Operator, Operator] = {">": "<", ">=": "<="}
        is_turned = self.operator in turned or (self.operator in {"=", "!="} and self.left > self.right)
        operator = turned.get(self.operator, self.operator)
        return (self.right, operator, self.left) if is_turned else (self.left, operator, self.right)

    def to_json(self) -> dict[str, str]:
        """The kernel's form of the rule."""
        return {"left": self.left, "operator": self.operator, "right": self.right}

    def describe(self) -> str:
        """The rule as the contract has it."""
        return f"{self.left} {self.operator} {self.right}"


@dataclass(frozen=True)
class DefaultOffset:
    """A zone as minutes east of UTC; `overridable` when a value may name one of its own."""

    minutes: int
    overridable: bool


@dataclass(frozen=True)
class Column:
    """A column and what must hold of its values.

    `formats` are `strftime` spellings, none means ISO 8601. Decimals have a `precision`, their digits in all,
    and a `scale`, those after the point. `default_offset` is the zone of timestamps that don't say theirs.
    `fields` are an object's, or the one item of an array, which is called `element`. `renamed_from` is what the
    column was called in its table.
    """

    name: str
    kind: Kind
    required: bool = False
    rules: tuple[Rule, ...] = ()
    formats: tuple[str, ...] = ()
    description: str = ""
    precision: int = 0
    scale: int = 0
    default_offset: DefaultOffset | None = None
    fields: tuple[Column, ...] = ()
    renamed_from: str | None = None

    @property
    def type_name(self) -> str:
        """The type for people: `decimal(10,2)`, `list<struct<price: float64>>`."""
        if self.kind == "list":
            return f"list<{self.fields[0].type_name}>"
        if self.kind == "struct":
            return f"struct<{', '.join(f'{field.name}: {field.type_name}' for field in self.fields)}>"
        return self._plain_type

    @property
    def _plain_type(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.kind == "decimal" else self.kind

    def inner_paths(self, path: str) -> Iterator[str]:
        """The paths of all that is in the column, as Iceberg has them: `items.element.price`."""
        for part in self.fields:
            yield f"{path}.{part.name}"
            yield from part.inner_paths(f"{path}.{part.name}")

    def to_json(self, ids: Mapping[str, int], path: str) -> dict[str, Any]:
        """The kernel's form of the column, with the field ids of itself and of what is in it by their paths."""
        document: dict[str, Any] = {
            "name": self.name,
            "field_id": ids[path],
            "type": self._plain_type,
            "required": self.required,
            "rules": [rule.to_json() for rule in self.rules],
            "formats": list(self.formats),
        }
        if self.default_offset:
            offset = self.default_offset
            document["default_offset"] = {"minutes": offset.minutes, "overridable": offset.overridable}
        if self.fields:
            document["fields"] = [part.to_json(ids, f"{path}.{part.name}") for part in self.fields]
        return document


@dataclass(frozen=True)
class PartitionField:
    """One field of the Iceberg partition: a column, how its value is cut down, and the field's name."""

    column: str
    transform: Transform
    name: str


@dataclass(frozen=True)
class CsvOptions:
    """How CSV text reads. `null_tokens` spell null; a quoted empty field is text all the same.

    `escape` takes the meaning of the character after it in quoted fields; a line that begins with `comment` is no
    record.
    """

    delimiter: str = ","
    quote: str = '"'
    header: bool = True
    null_tokens: tuple[str, ...] = ("",)
    escape: str | None = None
    comment: str | None = None


@dataclass(frozen=True)
class Plan:
    """A dataset's columns, key and layout; `contract` is the contract's hash.

    `unique` are the columns whose values no two rows share, each by itself; a key of one column isn't among them.
    `comparisons` are what must hold between two columns of a record.
    `version` is the column whose larger value wins an upsert; without one the later record does.
    """

    dataset: str
    contract: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    partition: tuple[PartitionField, ...] = ()
    unknown_fields: UnknownFields = "ignore"
    write_mode: WriteMode = "append"
    version: str | None = None
    csv: CsvOptions = field(default_factory=CsvOptions)
    max_record_bytes: int = MAX_RECORD_BYTES

    @property
    def compares_rows(self) -> bool:
        """Whether what becomes of a record depends on the rows that are there."""
        return bool(self.key or self.unique)

    def grown(self, more: Mapping[str, Kind]) -> Plan:
        """The plan with further columns, which may be null and have no rules."""
        return replace(self, columns=(*self.columns, *(Column(name, kind) for name, kind in more.items())))

    def renames(self, earlier: Collection[str]) -> dict[str, str]:
        """Earlier names by those of now, of columns that are among `earlier` under the earlier one only."""
        return {
            column.name: column.renamed_from
            for column in self.columns
            if column.renamed_from is not None
            and column.renamed_from in earlier
            and column.renamed_from not in PROVENANCE
            and column.name not in earlier
        }

    def field_ids(self) -> dict[str, int]:
        """Ids for a new table by path: the columns from 1, the provenance, then what is in nested columns."""
        names = [*(column.name for column in self.columns), *PROVENANCE]
        inner = [path for column in self.columns for path in column.inner_paths(column.name)]
        return {path: number for number, path in enumerate([*names, *inner], start=1)}

    def to_json(
        self, field_ids: Mapping[str, int] | None = None, quarantine_ids: Sequence[int] | None = None
    ) -> str:
        """The plan as the kernel reads it.

        `field_ids` are the Iceberg table's, by path; without them they are those of a new table. When they name
        the provenance columns too, those ids go along. `quarantine_ids` are those of the quarantine table's fields in
        their order, and then of what is in them.
        """
        ids = field_ids or self.field_ids()
        document: dict[str, Any] = {
            "dataset": self.dataset,
            "contract": self.contract,
            "columns": [column.to_json(ids, column.name) for column in self.columns],
            "key": list(self.key),
            "unique": list(self.unique),
            "partition": [
                {"column": part.column, "transform": part.transform, "name": part.name}
                for part in self.partition
            ],
            # The kernel counts the names of fields that are to become columns.
            "unknown_fields": "reject" if self.unknown_fields == "reject" else "ignore",
            # What is replaced whole isn't compared row by row.
            "write_mode": "upsert" if self.write_mode == "upsert" else "append",
            "version": self.version,
            "csv": {
                "delimiter": self.csv.delimiter,
                "quote": self.csv.quote,
                "header": self.csv.header,
                "null_tokens": list(self.csv.null_tokens),
                "escape": self.csv.escape,
                "comment": self.csv.comment,
            },
            "max_record_bytes": self.max_record_bytes,
        }
        if self.comparisons:
            document["compare"] = [rule.to_json() for rule in self.comparisons]
        if field_ids and all(name in ids for name in PROVENANCE):
            document["provenance_ids"] = [ids[name] for name in PROVENANCE]
        if quarantine_ids is not None:
            document["quarantine_ids"] = list(quarantine_ids)
        return json.dumps(document, ensure_ascii=False)
