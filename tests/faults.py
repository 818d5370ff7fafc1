"""Copies of the real flights with known faults, and what must become of each."""

from __future__ import annotations

import csv
import io
import json
import random
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FLIGHTS = Path(__file__).parent.parent / "data" / "flights.csv.zip"
SHARE = 0.01
TEXT = {"carrier", "tailnum", "origin", "dest", "time_hour"}

Breach = tuple[str | None, str]


@dataclass(frozen=True)
class Faulty:
    """A record that must be in the quarantine: its place and why."""

    record_no: int
    line: int
    byte_offset: int
    raw: bytes
    disposition: str
    reasons: frozenset[Breach]
    duplicate_kind: str | None = None
    winner_record_no: int | None = None


@dataclass(frozen=True)
class Injected:
    """A file, the records of it that are at fault, and the values of the others by record number."""

    path: Path
    faulty: dict[int, Faulty]
    good: dict[int, dict[str, Any]]


def flights() -> Iterator[dict[str, str]]:
    """The 336,776 records as they are written, by field."""
    with zipfile.ZipFile(FLIGHTS) as archive, archive.open("flights.csv") as file:
        yield from csv.DictReader(io.TextIOWrapper(file, "utf-8", newline=""))


def typed(record: dict[str, str]) -> dict[str, Any]:
    """The record's values; the instant stays text."""
    return {
        name: None if text == "NA" else text if name in TEXT else int(text) for name, text in record.items()
    }


def write_ndjson(path: Path) -> Injected:
    """The flights as NDJSON, one in a hundred at fault."""

    def line(record: dict[str, Any]) -> bytes:
        return json.dumps(record, separators=(",", ":")).encode()

    def without_carrier(record: dict[str, Any]) -> bytes:
        return line({name: value for name, value in record.items() if name != "carrier"})

    return _write(
        path,
        header=None,
        good=lambda record: line(typed(record)),
        broken=[
            (lambda record: line(typed(record))[:-20], {(None, "malformed")}),
            (lambda record: line({**typed(record), "distance": "far"}), {("distance", "type")}),
            (lambda record: line({**typed(record), "distance": 1.5}), {("distance", "type")}),
            (lambda record: line({**typed(record), "month": 13}), {("month", "maximum")}),
            (lambda record: without_carrier(typed(record)), {("carrier", "required")}),
            (lambda record: line({**typed(record), "origin": None}), {("origin", "required")}),
            (
                lambda record: line({**typed(record), "time_hour": "2013-99-01T10:00:00Z", "minute": 60}),
                {("time_hour", "type"), ("minute", "maximum")},
            ),
            (
                lambda record: line(typed(record)).replace(b'"dest":"', b'"dest":"\xff'),
                {(None, "utf8")},
            ),
        ],
        conflicting=lambda record: line({**typed(record), "hour": (int(record["hour"]) + 1) % 24}),
    )


def write_csv(path: Path) -> Injected:
    """The flights as CSV, one in a hundred at fault."""

    def line(record: dict[str, str]) -> bytes:
        return ",".join(record.values()).encode()

    return _write(
        path,
        header=",".join(next(flights())).encode(),
        good=line,
        broken=[
            (lambda record: line(record).rsplit(b",", 2)[0], {(None, "field_count")}),
            (lambda record: line(record) + b",more", {(None, "field_count")}),
            (lambda record: line({**record, "distance": "far"}), {("distance", "type")}),
            (lambda record: line({**record, "month": "13"}), {("month", "maximum")}),
            (lambda record: line({**record, "carrier": ""}), {("carrier", "required")}),
            (lambda record: line({**record, "origin": "NA"}), {("origin", "required")}),
            (
                lambda record: line({**record, "time_hour": "2013-99-01T10:00:00Z", "minute": "60"}),
                {("time_hour", "type"), ("minute", "maximum")},
            ),
            (lambda record: line({**record, "dest": "#"}).replace(b"#", b"\xff"), {(None, "utf8")}),
            (lambda record: line({**record, "tailnum": '"N1'}), {(None, "malformed")}),
        ],
        conflicting=lambda record: line({**record, "hour": str((int(record["hour"]) + 1) % 24)}),
    )


def _write(
    path: Path,
    *,
    header: bytes | None,
    good: Callable[[dict[str, str]], bytes],
    broken: list[tuple[Callable[[dict[str, str]], bytes], set[Breach]]],
    conflicting: Callable[[dict[str, str]], bytes],
) -> Injected:
    rng = random.Random(2013)
    injected = Injected(path, {}, {})
    with path.open("wb") as out:
        lines = 0
        if header is not None:
            out.write(header + b"\n")
            lines = 1
        number = 0

        def put(
            raw: bytes, disposition: str | None = None, reasons: set[Breach] | None = None, **more: Any
        ) -> None:
            nonlocal number
            number += 1
            if disposition is not None:
                place = (number, number + lines, out.tell(), raw)
                injected.faulty[number] = Faulty(*place, disposition, frozenset(reasons or ()), **more)
            out.write(raw + b"\n")

        for record in flights():
            if rng.random() >= SHARE:
                put(good(record))
                injected.good[number] = typed(record)
                continue
            kind = rng.randrange(len(broken) + 2)
            if kind < len(broken):
                spoil, reasons = broken[kind]
                put(spoil(record), "rejected", reasons)
                continue
            put(good(record))
            injected.good[number] = typed(record)
            winner = {"winner_record_no": number}
            if kind == len(broken):
                put(good(record), "duplicate", {(None, "duplicate")}, duplicate_kind="identical", **winner)
            else:
                # The last one with a key is kept: what was good a line before is not.
                good_no, raw = number, good(record)
                put(conflicting(record))
                injected.faulty[good_no] = Faulty(
                    record_no=good_no,
                    line=good_no + lines,
                    byte_offset=out.tell() - len(raw) - len(conflicting(record)) - 2,
                    raw=raw,
                    disposition="duplicate",
                    reasons=frozenset({(None, "duplicate")}),
                    duplicate_kind="conflicting",
                    winner_record_no=number,
                )
                kept = injected.good.pop(good_no)
                injected.good[number] = kept | {"hour": (kept["hour"] + 1) % 24}
    return injected
