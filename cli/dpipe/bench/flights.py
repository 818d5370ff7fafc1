"""The bench's input: records shaped like New York's 2013 flights, one in a hundred of them faulty.

DuckDB makes them, since a loop in Python would take longer than what is to be measured. The text formats show eight
kinds of faults: a record that breaks off, one that is there twice, a missing field, a wrong type, a value out of
range, a day that doesn't exist, a null where none may be, and two faults in one record. Parquet is typed, so three of
these are other values out of range there.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dpipe.bench.made import any_of, lines_of, quoted, random_number, write_text
from dpipe.contract import Column, PartitionField, Plan, Rule

if TYPE_CHECKING:
    from dpipe.contract.plan import RuleName

Format = Literal["ndjson", "csv", "parquet"]
Compression = Literal["none", "gzip", "zstd"]

KEY = ("year", "month", "day", "carrier", "flight", "origin", "sched_dep_time")
CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")
ORIGINS = ("EWR", "JFK", "LGA")
DESTINATIONS = ("ATL", "BOS", "CLT", "DEN", "FLL", "LAX", "MCO", "MIA", "ORD", "SFO")
# Partition columns by how many partitions their values make.
PARTITIONS: dict[int, tuple[str, ...]] = {1: (), 12: ("month",), 120: ("month", "dest")}

FAULTS = ("breaks off", "twice", "no carrier", "type", "range", "no such day", "null", "two at once")


def plan(*, key: bool = True, width: int = 19, partitions: int = 1) -> Plan:
    """The first `width` of 19 columns: types, required fields, ranges, lengths, an instant, and a key of seven columns.

    Without the key no record is a duplicate; a key needs all the columns. `partitions` is one of `PARTITIONS`.
    """
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
    partition = tuple(PartitionField(name, "identity", name) for name in PARTITIONS[partitions])
    return Plan(
        dataset="flights",
        contract="0" * 64,
        columns=columns[:width],
        key=KEY if key else (),
        partition=partition,
    )


def lines(records: int) -> list[bytes]:
    """So many flights and a few more, a line of NDJSON each."""
    with tempfile.TemporaryDirectory(prefix="dpipe-bench-") as folder:
        path = Path(folder) / "flights.ndjson"
        write(path, records)
        return path.read_bytes().splitlines(keepends=True)


def write(
    path: Path,
    records: int,
    *,
    form: Format = "ndjson",
    compression: Compression = "none",
    width: int = 19,
) -> None:
    """Write `records` flights and a few more (a record that is there twice is a fault, too); always the same ones.

    `width` is the number of columns, from the first on. `compression` is for the text formats; Parquet's pages are
    always zstd.
    """
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE TEMP VIEW flights AS {_flights()} FROM range({records:d}) numbers(n)")
        if form == "parquet":
            connection.execute(
                f"COPY ({_typed(width)}) TO '{quoted(path)}' (FORMAT parquet, COMPRESSION zstd)"
            )
        else:
            head, lines = _ndjson(width) if form == "ndjson" else _csv(width)
            write_text(connection, lines, path, head, compression)


def _integer(name: str, low: float | None, high: float | None, *, required: bool) -> Column:
    bounds: tuple[tuple[RuleName, float | None], ...] = (("minimum", low), ("maximum", high))
    rules = tuple(Rule(rule, value) for rule, value in bounds if value is not None)
    return Column(name, "int32", required=required, rules=rules)


def _text(name: str, longest: int, *, required: bool) -> Column:
    return Column(name, "string", required=required, rules=(Rule("maxLength", longest),))


def _flights() -> str:
    """SQL of flights as they should be, about 900 a day in the order of their days, and each one's fault.

    A year has 12 months of 28 days here. One flight in 40 never left, as in 2013.
    """
    return f"""
    SELECT n,
        if({random_number(1, 100)} = 0, {any_of(2, FAULTS)}, '') AS fault,
        (2000 + n // 900 // 336 % 100)::INTEGER AS year,
        (n // 900 % 336 // 28 + 1)::INTEGER AS month,
        (n // 900 % 28 + 1)::INTEGER AS day,
        (5 + n % 900 // 50)::INTEGER AS hour,
        {random_number(3, 60)} AS minute,
        {random_number(4, 40)} > 0 AS left_at_all,
        (-20 * ln(({random_number(5, 9999)} + 1) / 10000))::INTEGER - 10 AS delay,
        {random_number(6, 2401)} AS arrival,
        {random_number(7, 2401)} AS sched_arr_time,
        delay + {random_number(8, 40)} - 20 AS late,
        {any_of(9, CARRIERS)} AS carrier,
        (n % 900 * 11 + 1)::INTEGER AS flight,
        'N' || (100 + {random_number(10, 900)}) || {any_of(11, CARRIERS)} AS tailnum,
        {any_of(12, ORIGINS)} AS origin,
        {any_of(13, DESTINATIONS)} AS dest,
        40 + {random_number(14, 360)} AS flown,
        format('{{}}-{{:02}}-{{:02}}T{{:02}}:00:00Z', year, month, day, hour) AS time_hour"""


def _values() -> dict[str, str]:
    """SQL of each column's value, faults included that every format can have."""
    return {
        "year": "year",
        "month": "if(fault = 'range', 13, month)",
        "day": "day",
        "dep_time": "if(left_at_all, hour * 100 + minute, NULL)",
        "sched_dep_time": "hour * 100 + minute",
        "dep_delay": "if(left_at_all, delay, NULL)",
        "arr_time": "if(left_at_all, arrival, NULL)",
        "sched_arr_time": "sched_arr_time",
        "arr_delay": "if(left_at_all, late, NULL)",
        "carrier": "if(fault = 'no carrier', NULL, carrier)",
        "flight": "flight",
        "tailnum": "tailnum",
        "origin": "if(fault = 'null', NULL, origin)",
        "dest": "if(fault = 'two at once', 'TOOLONG', dest)",
        "air_time": "if(left_at_all, flown, NULL)",
        "distance": "flown * 7",
        "hour": "hour",
        "minute": "if(fault = 'two at once', 61, minute)",
        "time_hour": "time_hour",
    }


def _faulty_texts() -> dict[str, str]:
    return _values() | {
        "distance": "if(fault = 'type', 'far', (flown * 7)::VARCHAR)",
        "time_hour": "if(fault = 'no such day', '2013-99-01T10:00:00Z', time_hour)",
    }


def _ndjson(width: int) -> tuple[str, str]:
    """What stands before the records, and SQL of their lines."""

    def field(name: str, value: str) -> str:
        if name == "distance":
            value = """if(fault = 'type', '"far"', (flown * 7)::VARCHAR)"""
        elif name in {"tailnum", "origin", "dest", "time_hour"}:
            value = f"""'"' || {value} || '"'"""
        elif name == "carrier":
            # Without a value there is no field, since `concat_ws` passes over nulls.
            return """'"carrier":"' || if(fault = 'no carrier', NULL, carrier) || '"'"""
        return f"""concat('"{name}":', coalesce(({value})::VARCHAR, 'null'))"""

    fields = ", ".join(field(name, value) for name, value in _first(_faulty_texts(), width).items())
    return "", lines_of(f"concat('{{', concat_ws(',', {fields}), '}}')", "flights")


def _csv(width: int) -> tuple[str, str]:
    """The header, and SQL of the records' lines."""
    values = _first(_faulty_texts(), width)
    fields = ", ".join(f"coalesce(({value})::VARCHAR, '')" for value in values.values())
    return ",".join(values) + "\n", lines_of(f"concat_ws(',', {fields})", "flights")


def _typed(width: int) -> str:
    values = _values() | {
        "dep_time": "if(fault = 'breaks off', 2500, if(left_at_all, hour * 100 + minute, NULL))",
        "distance": "if(fault = 'type', -1, flown * 7)",
        "year": "if(fault = 'no such day', 1999, year)",
        "time_hour": "time_hour::TIMESTAMPTZ",
    }
    columns = ", ".join(f"{value} AS {name}" for name, value in _first(values, width).items())
    return f"""
    SELECT {columns} FROM flights, unnest(if(fault = 'twice', [1, 2], [1])) AS copies(copy)
    ORDER BY n, copy"""


def _first(values: dict[str, str], width: int) -> dict[str, str]:
    return dict(list(values.items())[:width])
