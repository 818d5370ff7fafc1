"""What the kernel must make of a file, said again in plain Python: slow, obvious, after `docs/contract-semantics.md`.

Nothing here is shared with the kernel. JSON is read by `json`, numbers by `int` and `float`, days by `datetime`; CSV,
whose broken records Python's `csv` has no notion of, by the rule that the page gives. Left out are formats of a
column's own, and JSON arrays that break off or have a broken element.
"""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dpipe.contract import Column, Plan, Rule

MAX_DEPTH = 128
KEPT_BYTES = 64 << 10
BOM = b"\xef\xbb\xbf"

Violations = tuple[tuple[str | None, str], ...]


@dataclass(frozen=True)
class Accepted:
    """A record that is a row: its values by column."""

    values: dict[str, Any]


@dataclass(frozen=True)
class Refused:
    """A record that isn't: `rejected` (with what it broke, sorted), `identical` or `conflicting` (with the winner)."""

    disposition: str
    raw: bytes
    offset: int
    line: int
    violations: Violations = ()
    winner: tuple[str, int] | None = None


@dataclass
class Expected:
    """What becomes of one source."""

    records: list[Accepted | Refused] = field(default_factory=list)
    unknown_fields: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Frame:
    """A record's bytes and place, and the rule that it breaks if it can't be taken apart."""

    raw: bytes
    offset: int
    fault: str | None = None
    fields: tuple[tuple[str, bool], ...] = ()
    """Of CSV: each field's text, and whether it was quoted."""


class RecordError(ValueError):
    """The record as a whole breaks a rule."""

    def __init__(self, rule: str, column: str | None = None) -> None:
        super().__init__(rule)
        self.violations: Violations = ((column, rule),)


class Missing:
    """No field."""


@dataclass(frozen=True)
class Number:
    """A JSON number as it is written."""

    text: str


@dataclass(frozen=True)
class Untyped:
    """Text of a CSV file."""

    text: str


def expected(plan: Plan, contents: Mapping[str, bytes], form: str) -> dict[str, Expected]:
    """What becomes of each source (batch id → bytes), taken in their order, by a table that holds nothing yet."""
    winners: dict[bytes, tuple[tuple[str, int], dict[str, Any]]] = {}
    taken: dict[str, set[Any]] = {name: set() for name in plan.unique}
    return {
        batch: _of_source(plan, batch, content, form, winners, taken) for batch, content in contents.items()
    }


def _of_source(
    plan: Plan,
    batch: str,
    content: bytes,
    form: str,
    winners: dict[bytes, tuple[tuple[str, int], dict[str, Any]]],
    taken: dict[str, set[Any]],
) -> Expected:
    found = Expected()
    header: list[str] = []
    if form == "csv":
        header, start = _csv_header(plan, content)
        frames = _csv_frames(plan, content, start, len(header))
    elif form == "json":
        frames = _elements(content)
    else:
        frames = _lines(content, len(BOM) if content.startswith(BOM) else 0, plan.max_record_bytes)
    strangers = [name for name in header if name not in {column.name for column in plan.columns}]
    for number, frame in enumerate(frames, start=1):
        found.unknown_fields.update(strangers)
        line = content.count(b"\n", 0, frame.offset) + 1
        try:
            values, violations = _judged(plan, frame, header if form == "csv" else None, found)
        except RecordError as fault:
            values, violations = {}, fault.violations
        if violations:
            in_order = tuple(sorted(violations, key=repr))
            found.records.append(Refused("rejected", frame.raw, frame.offset, line, in_order))
            continue
        place = (batch, number)
        key = repr([_exact(values[name]) for name in plan.key]).encode()
        if plan.key and key in winners:
            winner, first = winners[key]
            is_same = all(_exact(first[name]) == _exact(values[name]) for name in values)
            disposition = "identical" if is_same else "conflicting"
            found.records.append(Refused(disposition, frame.raw, frame.offset, line, winner=winner))
            continue
        # Compared as Python compares: the two zeros of a float are one value.
        not_unique = tuple((name, "unique") for name in sorted(taken) if values[name] in taken[name])
        if not_unique:
            found.records.append(Refused("rejected", frame.raw, frame.offset, line, not_unique))
            continue
        for name in taken:
            taken[name] |= {values[name]} - {None}
        winners[key] = (place, values)
        found.records.append(Accepted(values))
    return found


def _exact(value: Any) -> Any:
    """A value to be compared bit by bit: `-0.0` is not `0.0`."""
    return struct.pack("<d", value) if isinstance(value, float) else value


def _judged(
    plan: Plan, frame: Frame, header: list[str] | None, found: Expected
) -> tuple[dict[str, Any], Violations]:
    """The record's values and everything that is wrong with it."""
    if frame.fault:
        raise RecordError(frame.fault)
    try:
        text = frame.raw.decode("utf-8")
    except UnicodeDecodeError:
        raise RecordError("utf8") from None
    fields = _json_fields(plan, text) if header is None else _csv_fields(plan, frame, header)
    known = {column.name for column in plan.columns}
    strangers = {name for name in fields if name not in known}
    violations: list[tuple[str | None, str]] = []
    if strangers and plan.unknown_fields == "reject":
        violations.append((None, "unknown_field"))
    if header is None:
        found.unknown_fields.update(strangers)
    values = {}
    fine = {}
    for column in plan.columns:
        values[column.name], broken = _value(column, fields.get(column.name, Missing))
        violations += [(column.name, rule) for rule in broken]
        fine[column.name] = None if broken else values[column.name]
    for comparison in plan.comparisons:
        left, right = fine[comparison.left], fine[comparison.right]
        if left is not None and right is not None and not compares(comparison.operator, left, right):
            violations.append((comparison.left, "compare"))
    return values, tuple(violations)


# Records of a file.


def _lines(content: bytes, start: int, most: int) -> Iterator[Frame]:
    at = start
    for line in content[start:].split(b"\n"):
        record = line.removesuffix(b"\r")
        if record.strip(b" \t\r"):
            too_large = len(record) > most
            raw = record[: min(most, KEPT_BYTES)] if too_large else record
            yield Frame(raw, at, "too_large" if too_large else None)
        at += len(line) + 1


def _elements(content: bytes) -> Iterator[Frame]:
    """The elements of a sound JSON array."""
    text = content.decode("utf-8")
    decoder = json.JSONDecoder()

    def after_white(at: int) -> int:
        while text[at] in " \t\r\n":
            at += 1
        return at

    at = after_white(int(text.startswith("\ufeff")))
    assert text[at] == "["
    at = after_white(at + 1)
    while text[at] != "]":
        start = at
        _, at = decoder.raw_decode(text, start)
        yield Frame(text[start:at].encode(), len(text[:start].encode()))
        at = after_white(at)
        if text[at] == ",":
            at = after_white(at + 1)


def _csv_header(plan: Plan, content: bytes) -> tuple[list[str], int]:
    """The header's names, and where the first record begins. Whether they can be used is not judged here."""
    start = len(BOM) if content.startswith(BOM) else 0
    if not plan.csv.header:
        return [column.name for column in plan.columns], start
    for frame, stop in _csv_records(plan, content, start):
        if frame.raw:
            return [text for text, _ in frame.fields], stop
    return [], len(content)


def _csv_frames(plan: Plan, content: bytes, start: int, count: int) -> Iterator[Frame]:
    for frame, _ in _csv_records(plan, content, start, count):
        if frame.raw or count == 1:
            yield frame


def _csv_records(
    plan: Plan, content: bytes, start: int, count: int | None = None
) -> Iterator[tuple[Frame, int]]:
    """Each record and the place after it; `count` is how many fields one has."""
    at = start
    while at < len(content):
        if plan.csv.comment and content[at : at + 1] == plan.csv.comment.encode():
            stop = content.find(b"\n", at)
            at = (len(content) if stop < 0 else stop) + 1
            continue
        try:
            fields, stop = _csv_walk(plan, content, at)
            is_one_line = b"\n" not in content[at:stop]
            fault = None if count is None or is_one_line or len(fields) == count else "malformed"
        except RecordError:
            fields, stop, fault = [], at, "malformed"
        if fault:
            # An open quote costs its line, not the rest of the file.
            stop = content.find(b"\n", at)
            stop = len(content) if stop < 0 else stop
        yield Frame(content[at:stop].removesuffix(b"\r"), at, fault, tuple(fields)), stop + 1
        at = stop + 1


def _csv_walk(plan: Plan, content: bytes, at: int) -> tuple[list[tuple[str, bool]], int]:
    """The fields of the record that begins at `at`, and the place of the line feed (or the end) after it."""
    delimiter, quote = plan.csv.delimiter.encode(), plan.csv.quote.encode()
    fields = []
    while True:
        is_quoted = content[at : at + 1] == quote
        if is_quoted:
            escape = plan.csv.escape.encode() if plan.csv.escape else quote
            one, other = re.escape(quote), re.escape(escape)
            inner = re.compile(rb"(?:[^%b%b]|%b%b%b)*+" % (one, other, one, one, _escaped(plan)), re.DOTALL)
            found = inner.match(content, at + 1)
            assert found
            stop = found.end()
            if content[stop : stop + 1] != quote:
                raise RecordError("malformed")
            pairs = re.compile(rb"%b(%b)%b" % (one, one, _escaped(plan, rb"(.)")), re.DOTALL)
            text = pairs.sub(_unescaped, found[0])
            stop += 1
        else:
            ends = [place for place in (content.find(delimiter, at), content.find(b"\n", at)) if place >= 0]
            stop = min(ends, default=len(content))
            text = content[at:stop]
        rest = content[stop : stop + 2]
        if is_quoted and (rest == b"\r\n" or (rest == b"\r" and stop + 1 == len(content))):
            stop, rest = stop + 1, rest[1:]
        if rest[:1] in {b"", b"\n"}:
            text = text if is_quoted else text.removesuffix(b"\r")
            fields.append((text.decode("utf-8", "replace"), is_quoted))
            return fields, stop
        if rest[:1] != delimiter:
            raise RecordError("malformed")
        fields.append((text.decode("utf-8", "replace"), is_quoted))
        at = stop + 1


def _escaped(plan: Plan, what: bytes = b".") -> bytes:
    """What is escaped, as one more alternative of an expression."""
    return b"" if plan.csv.escape is None else b"|" + re.escape(plan.csv.escape.encode()) + what


def _unescaped(found: re.Match[bytes]) -> bytes:
    return next(group for group in found.groups() if group is not None)


# Fields of a record.


def _csv_fields(plan: Plan, frame: Frame, header: list[str]) -> dict[str, Any]:
    if len(frame.fields) != len(header):
        raise RecordError("field_count")
    return {
        name: None if _is_null_token(plan, text, is_quoted) else Untyped(text)
        for name, (text, is_quoted) in zip(header, frame.fields, strict=True)
    }


def _is_null_token(plan: Plan, text: str, is_quoted: bool) -> bool:
    return text in plan.csv.null_tokens and not (is_quoted and text == "")


def _json_fields(plan: Plan, text: str) -> dict[str, Any]:
    def constant(name: str) -> None:
        raise ValueError(name)

    try:
        pairs = json.loads(
            text, object_pairs_hook=Pairs, parse_int=Number, parse_float=Number, parse_constant=constant
        )
        # Only with the other half of its pair is a surrogate a character.
        json.dumps(pairs, ensure_ascii=False, default=lambda number: number.text).encode("utf-8")
    except (ValueError, RecursionError):
        raise RecordError("malformed") from None
    if not isinstance(pairs, Pairs) or _depth(pairs) > MAX_DEPTH:
        raise RecordError("malformed")
    names = Counter(name for name, _ in pairs)
    for column in plan.columns:
        if names[column.name] > 1:
            raise RecordError("duplicate_field", column.name)
    return dict(pairs)


class Pairs(list[tuple[str, Any]]):
    """An object's names and values, also those that are there twice."""


def _depth(value: Any) -> int:
    if isinstance(value, Pairs):
        return 1 + max((_depth(inner) for _, inner in value), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(inner) for inner in value), default=0)
    return 0


# Values of a field.


def _value(column: Column, given: Any) -> tuple[Any, list[str]]:
    if given is Missing or given is None:
        return None, ["required"] if column.required else []
    value = _typed(column.kind, given)
    if value is None:
        return None, ["type"]
    return value, [rule.rule for rule in column.rules if not holds(rule, value)]


def _typed(kind: str, given: Any) -> Any:
    """The value that the column holds, None when this is none of its type."""
    if kind in {"int32", "int64"}:
        return _integer(given, 32 if kind == "int32" else 64)
    if kind in {"float64", "boolean"}:
        return _float(given) if kind == "float64" else _boolean(given)
    text = given.text if isinstance(given, Untyped) else given
    if not isinstance(text, str) or kind == "string":
        return text if isinstance(text, str) else None
    return _date(text) if kind == "date" else _timestamp(text, is_zoned=kind == "timestamp")


def _integer(given: Any, bits: int) -> int | None:
    spelling = {Number: r"-?[0-9]+", Untyped: r"[+-]?[0-9]+"}.get(type(given))
    if spelling is None or not re.fullmatch(spelling, given.text):
        return None
    value = int(given.text)
    return value if -(2 ** (bits - 1)) <= value < 2 ** (bits - 1) else None


def _float(given: Any) -> float | None:
    if isinstance(given, Untyped):
        if not re.fullmatch(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", given.text):
            return None
    elif not isinstance(given, Number):
        return None
    elif _integer(given, 64) == 0:
        return 0.0  # An integer has no negative zero.
    value = float(given.text)
    return value if abs(value) != float("inf") else None


def _boolean(given: Any) -> bool | None:
    if isinstance(given, Untyped):
        return {"true": True, "false": False}.get(given.text.lower() if given.text.isascii() else "")
    return given if isinstance(given, bool) else None


def _date(text: str) -> date | None:
    found = re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", text)
    try:
        return date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6})0*)?)?(.*)",
    re.DOTALL,
)
_ZONE = re.compile(r"[Zz]|([+-])([0-9]{2})(?::?([0-9]{2}))?")


def _timestamp(text: str, *, is_zoned: bool) -> datetime | None:
    found = _TIMESTAMP.fullmatch(text)
    day = _date(found[1]) if found else None
    if not found or not day:
        return None
    hour, minute, second = int(found[2]), int(found[3]), int(found[4] or 0)
    micros = int((found[5] or "0").ljust(6, "0"))
    try:
        wall = datetime(day.year, day.month, day.day, hour, minute, second, micros, tzinfo=UTC)
        if not is_zoned:
            return None if found[6] else wall.replace(tzinfo=None)
        zone = _ZONE.fullmatch(found[6])
        if not zone:
            return None
        hours, minutes = int(zone[2] or 0), int(zone[3] or 0)
        offset = timedelta(hours=hours, minutes=minutes)
        if hours > 23 or minutes > 59:
            return None
        return wall.replace(tzinfo=timezone(-offset if zone[1] == "-" else offset)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_RULES: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda value, limit: value >= limit,
    "maximum": lambda value, limit: value <= limit,
    "exclusiveMinimum": lambda value, limit: value > limit,
    "exclusiveMaximum": lambda value, limit: value < limit,
    "minLength": lambda value, limit: len(value) >= limit,
    "maxLength": lambda value, limit: len(value) <= limit,
    # Python's `$` also matches before a line feed at the end.
    "pattern": lambda value, pattern: re.search(pattern.replace("$", r"\Z"), value) is not None,
    "enum": lambda value, allowed: str(value) in allowed,
}


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def compares(operator: str, left: Any, right: Any) -> bool:
    """Python compares numbers of any types exactly, and texts by their code points."""
    return _OPERATORS[operator](left, right)


def holds(rule: Rule, value: Any) -> bool:
    return _RULES[rule.rule](value, rule.value)
