"""The tables of `docs/contract-semantics.md`: what they say, and what really happens.

A cell writes bytes that can't be seen as pictures: `⏎` is a line feed, `␍` a carriage return, `␉` a tab, `␠` a space,
`␀` a NUL and `⟨ff⟩` the byte 0xff.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, cast, get_args

from dpipe.contract import Column, Comparison, CsvOptions, Plan, Rule
from dpipe.contract.plan import Kind, Operator, RuleName
from kernel_runs import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PICTURES = {"⏎": b"\n", "␍": b"\r", "␉": b"\t", "␠": b" ", "␀": b"\0"}
_PICTURE = re.compile(f"[{''.join(_PICTURES)}]|⟨([0-9a-f]{{2}})⟩")
_CODE = re.compile(r"`([^`]*)`")
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    line: int
    shape: tuple[str, ...]
    cells: tuple[str, ...]

    def __getitem__(self, name: str) -> str:
        return self.cells[self.shape.index(name)]

    def __str__(self) -> str:
        return f"line {self.line}"


def tables(text: str) -> Iterator[tuple[int, list[Row]]]:
    """Every table of a Markdown page: its line, and its rows."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if re.fullmatch(r"\|(-+\|)+", line):
            shape = _cells(lines[number - 1])
            rows = []
            for at in range(number + 1, len(lines)):
                if not lines[at].startswith("|"):
                    break
                rows.append(Row(at + 1, shape, _cells(lines[at])))
            yield number, rows


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip().replace(r"\|", "|") for cell in _CELL.split(line)[1:-1])


def code(cell: str) -> list[str]:
    """What a cell has between backticks."""
    return _CODE.findall(cell)


def to_bytes(text: str) -> bytes:
    """The bytes that a piece of code stands for."""
    parts, at = [], 0
    for picture in _PICTURE.finditer(text):
        parts.append(text[at : picture.start()].encode())
        parts.append(bytes.fromhex(picture[1]) if picture[1] else _PICTURES[picture[0]])
        at = picture.end()
    return b"".join([*parts, text[at:].encode()])


def plan_of(columns: tuple[Column, ...], modifiers: Iterable[str]) -> Plan:
    """The plan of some columns, with what a cell says of it (`key a`, `quote '`, …)."""
    plan = Plan("things", "0" * 64, columns)
    for modifier in modifiers:
        word, _, rest = modifier.partition(" ")
        match word:
            case "key" | "unique":
                named: dict[str, Any] = {word: tuple(rest.split())}
                plan = replace(plan, **named)
            case "mode" | "unknown":
                chosen: dict[str, Any] = {"write_mode" if word == "mode" else "unknown_fields": rest}
                plan = replace(plan, **chosen)
            case "types":
                plan = replace(plan, columns=tuple(map(_of_kind, plan.columns, rest.split())))
            case "compare":
                left, operator, right = rest.split()
                rule = Comparison(left, cast("Operator", operator), right)
                plan = replace(plan, comparisons=(*plan.comparisons, rule))
            case "limit":
                plan = replace(plan, max_record_bytes=int(rest))
            case "delimiter":
                plan = replace(plan, csv=replace(plan.csv, delimiter=to_bytes(rest).decode()))
            case "quote" | "escape" | "comment":
                byte: dict[str, Any] = {word: rest}
                plan = replace(plan, csv=replace(plan.csv, **byte))
            case "no-header":
                plan = replace(plan, csv=replace(plan.csv, header=False))
            case "nulls":
                plan = replace(plan, csv=CsvOptions(null_tokens=tuple(rest.split())))
            case _:
                raise ValueError(f"unknown modifier `{modifier}`")
    return plan


def _of_kind(column: Column, kind: str) -> Column:
    """The column with another type, `decimal(4,1)` or a kind's name."""
    name, *digits = re.split(r"[(,)]", kind)
    precision, scale = (int(digits[0]), int(digits[1])) if digits else (0, 0)
    return replace(column, kind=cast("Kind", name), precision=precision, scale=scale)


def column_of(cell: str, name: str = "a") -> tuple[Column, list[str]]:
    """The column that a cell tells by its type and rules, and what it says beyond the column."""
    kind, *modifiers = code(cell)
    assert kind in get_args(Kind), kind
    column = Column(name, cast("Kind", kind))
    others = []
    for modifier in modifiers:
        word, _, rest = modifier.partition(" ")
        if word == "required":
            column = replace(column, required=True)
        elif word == "format":
            column = replace(column, formats=(*column.formats, rest))
        elif word in get_args(RuleName):
            column = replace(column, rules=(*column.rules, _rule(word, rest)))
        else:
            others.append(modifier)
    return column, others


def _rule(name: str, text: str) -> Rule:
    value: float | int | str | tuple[str, ...] = text
    if name == "enum":
        value = tuple(text.split())
    elif name.endswith("Length"):
        value = int(text)
    elif name != "pattern":
        value = float(text)
    return Rule(cast("RuleName", name), value)


def said(record: dict[str, Any] | Refused, shown: list[str] | None = None) -> str:
    """What became of a record, as the tables say it; of an accepted one the columns `shown`, or its only column `a`."""
    if isinstance(record, Refused):
        if record.disposition != "rejected":
            return f"duplicate: {record.disposition}"
        return "rejected: " + ", ".join(f"`{rule}`" for _, rule in record.violations)
    if shown is None:
        return value(record["a"])
    return "`" + ", ".join(value(record[name]).strip("`") for name in shown) + "`"


def value(found: Any) -> str:
    """A value of a column, as the tables write it."""
    if found is None:
        return "null"
    if isinstance(found, datetime):
        return f"`{found.isoformat(timespec='auto').replace('+00:00', 'Z')}`"
    if isinstance(found, date):
        return f"`{found.isoformat()}`"
    return f"`{json.dumps(found, ensure_ascii=False)}`"


def compressed(cell: str) -> tuple[str, bytes]:
    """The compression and the bytes of a file told as `gzip of … without its last N bytes`."""
    found = re.fullmatch(
        r"gzip of `([^`]*)`(?:(?P<twice>, twice)| without its last (?P<cut>\d+) bytes)?", cell
    )
    assert found, cell
    packed = gzip.compress(to_bytes(found[1]), mtime=0)
    if found["twice"]:
        packed += packed
    if found["cut"]:
        packed = packed[: -int(found["cut"])]
    return "gzip", packed
