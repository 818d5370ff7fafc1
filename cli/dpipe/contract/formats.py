"""Spellings of dates and timestamps: `strftime` letters as the kernel parses them, and ODCS's letters.

The kernel reads formats with `chrono`; ODCS writes them with the letters of Java's `DateTimeFormatter`.
"""

from __future__ import annotations

import re
from collections import Counter

from dpipe.contract.findings import listed

# Each letter with the part of a value that it tells.
LETTERS = {
    "%Y": "year",
    "%y": "year",
    "%m": "month",
    "%b": "month",
    "%B": "month",
    "%d": "day",
    "%H": "hour",
    "%I": "hour",
    "%p": "half of the day",
    "%M": "minute",
    "%S": "second",
    "%.f": "fraction",
    "%z": "zone",
    "%#z": "zone",
}
_DATE = {"year", "month", "day"}
_TIME = {"hour", "minute"}
_LETTER = re.compile(r"%(?:\.f|#z|.?)", re.DOTALL)
_JAVA = {
    "yyyy": "%Y",
    "uuuu": "%Y",
    "MM": "%m",
    "dd": "%d",
    "HH": "%H",
    "mm": "%M",
    "ss": "%S",
    ".SSS": "%.f",
    ".SSSSSS": "%.f",
    "X": "%#z",
    "XX": "%#z",
    "XXX": "%#z",
}
_JAVA_TOKEN = re.compile(r"'((?:[^']|'')*)'|\.S+|([A-Za-z])\2*|[^A-Za-z']")


class FormatError(ValueError):
    """A format that can't be read; the message is a clause, `hint` says what to write."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def from_java(text: str) -> str:
    """`yyyy-MM-dd'T'HH:mmXXX` → `%Y-%m-%dT%H:%M%#z`; `FormatError` for letters without a counterpart."""
    parts: list[str] = []
    at = 0
    while at < len(text):
        token = _JAVA_TOKEN.match(text, at)
        if not token:
            raise FormatError("a quote is not closed", "write literal text as `'T'`")
        word = token[0]
        if word in _JAVA:
            parts.append(_JAVA[word])
        elif word.startswith("'"):
            parts.append((token[1].replace("''", "'") or "'").replace("%", "%%"))
        elif len(word) > 1 or word.isalpha():
            raise FormatError(
                f"the letters `{word}` are not read",
                f"use {listed(_JAVA)}, or `dpipe.formats` with `strftime` letters",
            )
        else:
            parts.append("%%" if word == "%" else word)
        at = token.end()
    return "".join(parts)


def check(text: str, kind: str) -> None:
    """Raise `FormatError` unless the format spells every part of one value of the kind, once.

    The kind `timestamp_any` is a timestamp that may leave its zone out.
    """
    letters = [found for found in _LETTER.findall(text) if found != "%%"]
    for letter in letters:
        if letter not in LETTERS:
            raise FormatError(f"`{letter}` is not read", f"use {listed(LETTERS)}")
    parts = Counter(LETTERS[letter] for letter in letters)
    twice = [part for part, count in parts.items() if count > 1]
    if twice:
        raise FormatError(f"the {twice[0]} is there twice", "name each part once")
    if kind == "time" and set(parts) & (_DATE | {"zone"}):
        raise FormatError(
            "a time of day has no date and no zone", "leave them out, or use `logicalType: timestamp`"
        )
    if kind != "time" and not set(parts) >= _DATE:
        raise FormatError("no whole date", "use `%Y`, `%m` and `%d`")
    if kind == "date":
        if set(parts) - _DATE:
            raise FormatError(
                "a date has no time of day", "leave the time out, or use `logicalType: timestamp`"
            )
        return
    if not set(parts) >= _TIME:
        raise FormatError("no time of day", "use `%H` and `%M`, or `logicalType: date`")
    if "fraction" in parts and "second" not in parts:
        raise FormatError("a fraction without its second", "write `%S%.f`")
    if ("%I" in letters) != ("%p" in letters):
        raise FormatError("half a clock", "use `%I` with `%p`, or `%H` alone")
    if kind == "timestamp" and "zone" not in parts:
        raise FormatError(
            "no zone, which `timezone: true` asks for", "add `%#z`, which reads `Z` and `+01:00`"
        )
    if kind == "timestamp_ntz" and "zone" in parts:
        raise FormatError(
            "a zone in a timestamp without one", "write `timezone: true`, or leave the zone out"
        )
