"""The baseline: `json`, the plan's rules in plain Python, pyarrow only to write the result.

It does what the kernel does: types, every rule, every violation of a record, first key wins, accepted rows with where
they came from and quarantined records with their bytes, both as zstd Parquet.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dpipe.contract import Plan, Rule

Breach = tuple[str | None, str]
INT32 = 1 << 31
BREACH = pa.struct([("column", pa.string()), ("rule", pa.string())])
QUARANTINE = pa.schema(
    [
        ("_dpipe_batch_id", pa.string()),
        ("_dpipe_record_no", pa.int64()),
        ("line", pa.int64()),
        ("byte_offset", pa.int64()),
        ("raw", pa.binary()),
        ("disposition", pa.string()),
        ("duplicate_kind", pa.string()),
        ("winner_record_no", pa.int64()),
        ("violations", pa.list_(BREACH)),
    ]
)


@dataclass(frozen=True)
class Outcome:
    """Counts of the run, and the records that broke each rule of each column."""

    records_in: int
    accepted: int
    rejected: int
    duplicate: int
    violations: dict[Breach, int]


def _breaks(rule: Rule) -> Callable[[Any], bool]:
    """Whether a value breaks the rule."""
    limit: Any = rule.value
    match rule.rule:
        case "minimum":
            return lambda value: value < limit
        case "maximum":
            return lambda value: value > limit
        case "maxLength":
            return lambda value: len(value) > limit
        case other:
            raise ValueError(f"the baseline knows no rule `{other}`")


def _converter(kind: str) -> Callable[[Any], Any]:
    """Checks a JSON value's type and gives the column's value; raises ValueError or TypeError."""

    def integer(value: Any) -> int:  # noqa: ANN401 - whatever JSON holds
        if type(value) is not int or not -INT32 <= value < INT32:
            raise TypeError
        return value

    def text(value: Any) -> str:  # noqa: ANN401
        if type(value) is not str:
            raise TypeError
        return value

    return {"int32": integer, "string": text, "timestamp": datetime.fromisoformat}[kind]


class _Checker:
    """The plan's columns as closures, so that the loop over records looks nothing up."""

    def __init__(self, plan: Plan) -> None:
        self.names = [column.name for column in plan.columns]
        self.columns = [
            (
                column.name,
                _converter(column.kind),
                column.required,
                [(rule.rule, _breaks(rule)) for rule in column.rules],
            )
            for column in plan.columns
        ]

    def check(self, record: dict[str, Any]) -> tuple[list[Any], list[Breach]]:
        """The row's values in order, and everything that is wrong with them."""
        row: list[Any] = []
        breaches: list[Breach] = []
        get, add = record.get, row.append
        for name, convert, required, rules in self.columns:
            value = get(name)
            if value is None:
                if required:
                    breaches.append((name, "required"))
                add(None)
                continue
            try:
                value = convert(value)
            except (TypeError, ValueError):
                breaches.append((name, "type"))
                continue
            for rule, broken in rules:
                if broken(value):
                    breaches.append((name, rule))
            add(value)
        return row, breaches


def process(plan: Plan, source: Path, out: Path, batch_id: str) -> Outcome:
    """Check `source` (NDJSON) by the plan; writes `accepted.parquet` and `quarantine.parquet` below `out`."""
    checker = _Checker(plan)
    positions = [checker.names.index(name) for name in plan.key]
    columns: list[list[Any]] = [[] for _ in plan.columns]
    record_nos: list[int] = []
    quarantine: list[dict[str, Any]] = []
    winners: dict[tuple[Any, ...], tuple[int, list[Any]]] = {}
    counts: dict[Breach, int] = {}
    number = rejected = 0
    row: list[Any]
    breaches: list[Breach]
    for number, (offset, line) in enumerate(_lines(source), start=1):
        try:
            record = json.loads(line)
        except ValueError:
            row, breaches = [], [(None, "malformed")]
        else:
            row, breaches = checker.check(record)
        entry = {
            "_dpipe_batch_id": batch_id,
            "_dpipe_record_no": number,
            "line": number,
            "byte_offset": offset,
        }
        if breaches:
            rejected += 1
            for breach in breaches:
                counts[breach] = counts.get(breach, 0) + 1
            violations = [{"column": column, "rule": rule} for column, rule in breaches]
            quarantine.append({**entry, "raw": line, "disposition": "rejected", "violations": violations})
            continue
        key = tuple([row[position] for position in positions])
        winner = winners.setdefault(key, (number, row))
        if winner[1] is not row:
            kind = "identical" if winner[1] == row else "conflicting"
            place = {"duplicate_kind": kind, "winner_record_no": winner[0]}
            quarantine.append({**entry, "raw": line, "disposition": "duplicate", **place})
            continue
        record_nos.append(number)
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    _write(plan, columns, record_nos, quarantine, out, batch_id)
    duplicate = len(quarantine) - rejected
    return Outcome(number, len(record_nos), rejected, duplicate, counts)


def _lines(source: Path) -> Iterator[tuple[int, bytes]]:
    offset = 0
    with source.open("rb") as file:
        for line in file:
            yield offset, line.rstrip(b"\n")
            offset += len(line)


def _write(
    plan: Plan,
    columns: list[list[Any]],
    record_nos: list[int],
    quarantine: list[dict[str, Any]],
    out: Path,
    batch_id: str,
) -> None:
    types = {"int32": pa.int32(), "string": pa.string(), "timestamp": pa.timestamp("us", "UTC")}
    arrays = [
        pa.array(values, types[column.kind]) for values, column in zip(columns, plan.columns, strict=True)
    ]
    rows = len(record_nos)
    arrays += [
        pa.array([batch_id] * rows, pa.string()),
        pa.array(record_nos, pa.int64()),
        pa.array([plan.contract] * rows, pa.string()),
    ]
    names = [column.name for column in plan.columns]
    accepted = pa.table(arrays, [*names, "_dpipe_batch_id", "_dpipe_record_no", "_dpipe_contract"])
    pq.write_table(accepted, out / "accepted.parquet", compression="zstd", compression_level=1)
    kept = pa.Table.from_pylist(quarantine, schema=QUARANTINE)
    pq.write_table(kept, out / "quarantine.parquet", compression="zstd", compression_level=1)
