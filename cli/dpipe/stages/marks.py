"""Where in a quarantined record its violations are, to be shown beneath its bytes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpipe.contract import CsvOptions

Span = tuple[int, int]
"""The first character of a part of a text, and the one after its last."""

# Of a long record so much is shown on each side of a mark.
AROUND = 60


def marked(row: dict[str, Any], options: CsvOptions) -> Iterator[str]:
    """A row of the quarantine table in lines: each violation, and where it can be told, the place in the record.

    `options` are how CSV reads.
    """
    text = row["raw"].decode("utf-8", "backslashreplace")
    places = _places(row, text, options)
    for violation in row["violations"]:
        yield f"{violation['column'] or 'record'}: {violation['rule']}: {violation['message']}"
        place = places.get(_top(violation["column"]))
        if place:
            yield from _excerpt(text, place)
    if not places.keys() & {_top(violation["column"]) for violation in row["violations"]}:
        yield _one_line(text)


def _top(column: str | None) -> str | None:
    """The column that a path leads into: `items` of `items[].price`."""
    return None if column is None else re.split(r"\.|\[\]", column, maxsplit=1)[0]


def _places(row: dict[str, Any], text: str, options: CsvOptions) -> dict[str | None, Span]:
    """Spans of the record's values by their columns; of None that where a JSON text stops being one."""
    if row["raw_format"] in {"ndjson", "json"}:
        return _json_places(text)
    if row["raw_format"] == "csv" and row["raw_header"] is not None:
        header = row["raw_header"].decode("utf-8", "replace").removeprefix("\ufeff")
        names = [header[start:stop].strip(options.quote) for start, stop in field_spans(header, options)]
        fields = list(field_spans(text, options))
        if len(names) == len(fields):
            return dict(zip(names, fields, strict=True))
    return {}


def _json_places(text: str) -> dict[str | None, Span]:
    found: dict[str | None, Span] = {}
    # Only places are asked for, and a number may have any length.
    decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
    at = 0

    def passed(what: str) -> int:
        match = re.compile(what).match(text, at)
        if match is None:
            raise json.JSONDecodeError("something else", text, at)
        return match.end()

    try:
        at = passed(r"\s*\{\s*")
        while not text.startswith("}", at):
            name, at = decoder.raw_decode(text, at)
            at = passed(r"\s*:\s*")
            start = at
            _, at = decoder.raw_decode(text, at)
            found[str(name)] = start, at
            at = passed(r"\s*(?:,\s*|(?=\}))")
    except json.JSONDecodeError as error:
        found[None] = error.pos, error.pos + 1
    except RecursionError:
        pass
    return found


def field_spans(line: str, options: CsvOptions) -> Iterator[Span]:
    """Spans of the fields of a CSV record, quotes included."""
    quote, delimiter = re.escape(options.quote), re.escape(options.delimiter)
    field = re.compile(rf"(?:{quote}(?:[^{quote}]|{quote}{quote})*+{quote}|[^{delimiter}]*)(?={delimiter}|$)")
    at = 0
    while match := field.match(line, at):
        yield match.span()
        at = match.end() + 1
        if at > len(line):
            return


def _excerpt(text: str, place: Span) -> Iterator[str]:
    """The place with some of what is around it, and carets beneath."""
    start, stop = place
    before, value, after = text[max(0, start - AROUND) : start], text[start:stop], text[stop : stop + AROUND]
    if len(value) > AROUND:
        value, after = value[:AROUND] + "…", ""
    head = ("…" if start > AROUND else "") + _one_line(before)
    tail = _one_line(after) + ("…" if len(text) > stop + AROUND else "")
    shown = _one_line(value)
    yield f"  {head}{shown}{tail}"
    yield f"  {' ' * len(head)}{'^' * max(1, len(shown))}"


def _one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t")
