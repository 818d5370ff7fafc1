"""The bench's input: records shaped like New York's 2013 flights, one in a hundred of them faulty."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from dpipe.contract import Column, Plan, Rule

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.contract.plan import RuleName

FAULTY_SHARE = 0.01
KEY = ("year", "month", "day", "carrier", "flight", "origin", "sched_dep_time")
CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")
ORIGINS = ("EWR", "JFK", "LGA")
DESTINATIONS = (
    "ATL",
    "BOS",
    "BQN",
    "CLT",
    "DCA",
    "DEN",
    "FLL",
    "IAH",
    "LAX",
    "MCO",
    "MIA",
    "ORD",
    "SFO",
    "TPA",
)


def _integer(name: str, low: float | None, high: float | None, *, required: bool) -> Column:
    bounds: tuple[tuple[RuleName, float | None], ...] = (("minimum", low), ("maximum", high))
    rules = tuple(Rule(rule, value) for rule, value in bounds if value is not None)
    return Column(name, "int32", required=required, rules=rules)


def _text(name: str, longest: int, *, required: bool) -> Column:
    return Column(name, "string", required=required, rules=(Rule("maxLength", longest),))


def plan() -> Plan:
    """19 columns: types, required fields, ranges, lengths, an instant, and a key of seven columns."""
    columns = (
        _integer("year", 2000, 2100, required=True),
        _integer("month", 1, 12, required=True),
        _integer("day", 1, 31, required=True),
        _integer("dep_time", 0, 2400, required=False),
        _integer("sched_dep_time", 0, 2400, required=True),
        _integer("dep_delay", None, None, required=False),
        _integer("arr_time", 0, 2400, required=False),
        _integer("sched_arr_time", 0, 2400, required=True),
        _integer("arr_delay", None, None, required=False),
        _text("carrier", 2, required=True),
        _integer("flight", 1, 9999, required=True),
        _text("tailnum", 8, required=False),
        _text("origin", 3, required=True),
        _text("dest", 3, required=True),
        _integer("air_time", 0, 2000, required=False),
        _integer("distance", 0, 20000, required=True),
        _integer("hour", 0, 24, required=True),
        _integer("minute", 0, 59, required=True),
        Column("time_hour", "timestamp", required=True),
    )
    return Plan(dataset="flights", contract="0" * 64, columns=columns, key=KEY)


def write(path: Path, records: int, *, seed: int = 7) -> None:
    """Write `records` lines of NDJSON and a few more (a duplicate is a fault, too); the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - made-up flights, not secrets
    with path.open("w", encoding="utf-8") as out:
        for number in range(records):
            record = _record(rng, number)
            line = json.dumps(record, separators=(",", ":"))
            out.write(_faulty(rng, record, line) if rng.random() < FAULTY_SHARE else line)
            out.write("\n")


def _record(rng: random.Random, number: int) -> dict[str, Any]:
    """A flight; about 900 leave a day, in the order of their days."""
    day_number = number // 900
    year, in_year = 2000 + day_number // 336 % 100, day_number % 336
    month, day = in_year // 28 + 1, in_year % 28 + 1
    hour, minute = 5 + number % 900 // 50, rng.randrange(60)
    delay = int(rng.expovariate(1 / 20)) - 10
    left = rng.random() > 0.025  # noqa: PLR2004 - the share of flights that never left in 2013
    flown = rng.randrange(40, 400)
    return {
        "year": year,
        "month": month,
        "day": day,
        "dep_time": hour * 100 + minute if left else None,
        "sched_dep_time": hour * 100 + minute,
        "dep_delay": delay if left else None,
        "arr_time": rng.randrange(2401) if left else None,
        "sched_arr_time": rng.randrange(2401),
        "arr_delay": delay + rng.randrange(-20, 20) if left else None,
        "carrier": rng.choice(CARRIERS),
        "flight": number % 900 * 11 + 1,
        "tailnum": f"N{rng.randrange(100, 1000)}{rng.choice(CARRIERS)}",
        "origin": ORIGINS[number % 3],
        "dest": rng.choice(DESTINATIONS),
        "air_time": flown if left else None,
        "distance": flown * 7,
        "hour": hour,
        "minute": minute,
        "time_hour": f"{year}-{month:02}-{day:02}T{hour:02}:00:00Z",
    }


def _faulty(rng: random.Random, record: dict[str, Any], line: str) -> str:
    kind = rng.randrange(8)
    if kind == 0:
        return line[:-20]
    if kind == 1:
        return f"{line}\n{line}"
    if kind == 2:  # noqa: PLR2004 - one number a kind of fault
        del record["carrier"]
    else:
        faults: list[dict[str, Any]] = [
            {"distance": "far"},
            {"month": 13},
            {"time_hour": "2013-99-01T10:00:00Z"},
            {"origin": None},
            {"dest": "TOOLONG", "minute": 61},
        ]
        record |= faults[kind - 3]
    return json.dumps(record, separators=(",", ":"))
