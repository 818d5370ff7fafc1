"""Types from the contract by way of the kernel to the table: what is taken, what is refused, what is read back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from contract_texts import contract
from dpipe import landing
from dpipe.contract import contract_for
from dpipe.iceberg import open_catalog, tables
from dpipe.quality.from_contract import contract_suite, duckdb_type
from dpipe.stages.process import process
from dpipe.state import runs
from dpipe.warehouse import lake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import make_project, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dpipe.settings import Project

pytest.importorskip("dpipe._kernel")


@dataclass
class Taken:
    """What became of the records of one file: rows by `id`, and the broken (column, rule)s of the others."""

    project: Project
    rows: dict[int, Any]
    broken: dict[int, list[tuple[str | None, str]]]

    def values(self) -> list[Any]:
        """The column `a` of the accepted rows, in the order of their ids."""
        return [self.rows[number] for number in sorted(self.rows)]


def stored(project: Project) -> list[dict[str, Any]]:
    """The rows of the table's files: pyiceberg 0.12 reads an array that is null as an empty one."""
    table = tables.load(open_catalog(project), ("raw", "d"))
    assert table is not None
    files = [task.file.file_path.removeprefix("file://") for task in table.scan().plan_files()]
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def take(folder: Path, columns: str, path: Path) -> Taken:
    """Process one file under a contract of the column `a` (or more); `id` is the record's number."""
    project = make_project(folder / "project", {"d": contract(columns)}, {"max_rejected_share": 1})
    landing.land_file(project, "d", path)
    with runs.recorded(project, "process") as run:
        list(process(project, run=run))
    rows = {row["_dpipe_record_no"]: row["a"] for row in stored(project)}
    broken = {
        row["_dpipe_record_no"]: [(item["column"], item["rule"]) for item in row["violations"]]
        for row in rows_of(project, "quarantine", "d")
    }
    return Taken(project, rows, broken)


def take_json(folder: Path, columns: str, texts: Sequence[str]) -> Taken:
    """Records whose field `a` is spelled so in JSON."""
    path = folder / "records.ndjson"
    path.write_text("".join(f'{{"a": {text}}}\n' for text in texts), encoding="utf-8")
    return take(folder, columns, path)


def take_csv(folder: Path, columns: str, texts: Sequence[str]) -> Taken:
    """Records whose field `a` is spelled so in CSV, quoted."""
    path = folder / "records.csv"
    quoted = (text.replace('"', '""') for text in texts)
    path.write_text("a\n" + "".join(f'"{text}"\n' for text in quoted), encoding="utf-8")
    return take(folder, columns, path)


def take_parquet(folder: Path, columns: str, array: pa.Array) -> Taken:
    """Records whose field `a` is a Parquet column."""
    path = folder / "records.parquet"
    pq.write_table(pa.table({"a": array}), path)
    return take(folder, columns, path)


def validated(taken: Taken) -> dict[tuple[str, str | None], str]:
    """The status of every check of the contract's suite over the table."""
    from dpipe.quality.expectations import run_suites

    suite = contract_suite(contract_for(taken.project, "d"), "contract")
    with lake.connect(taken.project) as connection:
        return {(result.rule, result.column): result.status for result in run_suites(connection, [suite])}


def money(options: str = "{}", extra: str = "") -> str:
    return (
        "- {name: a, logicalType: number, physicalType: 'decimal(10,2)', "
        f"logicalTypeOptions: {options}{extra}}}"
    )


def test_decimals_are_exact_from_json(tmp_path: Path) -> None:
    texts = ["0.1", "12345678.90", "-5", "1e2", "1.500", "1.005", "100000000", '"1.0"', "true", "null"]
    taken = take_json(tmp_path, money(), texts)
    assert taken.values() == [
        *map(Decimal, ["0.10", "12345678.90", "-5.00", "100.00", "1.50"]),
        None,
    ]
    assert taken.broken == {number: [("a", "type")] for number in (6, 7, 8, 9)}


def test_decimals_are_exact_from_csv(tmp_path: Path) -> None:
    taken = take_csv(tmp_path, money(), ["0.1", "+7.25", "1,5", "1.005", " 1", "NaN", "99999999.99"])
    assert taken.values() == list(map(Decimal, ["0.10", "7.25", "99999999.99"]))
    assert taken.broken == {number: [("a", "type")] for number in (3, 4, 5, 6)}


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([Decimal("1.5000"), Decimal("1.0050")], pa.decimal128(38, 4)), [Decimal("1.50")]),
        (pa.array([Decimal("2.25"), None], pa.decimal128(5, 2)), [Decimal("2.25"), None]),
        (pa.array([3, 1 << 40], pa.int64()), [Decimal("3.00")]),
        (pa.array([1.5, 2.0], pa.float64()), []),
    ],
    ids=["wider", "narrower", "integers", "floats"],
)
def test_decimals_come_from_exact_parquet_columns(
    tmp_path: Path, array: pa.Array, expected: list[Any]
) -> None:
    taken = take_parquet(tmp_path, money(), array)
    assert taken.values() == expected
    assert len(taken.broken) == len(array) - len(expected)
    assert {breach for breaches in taken.broken.values() for breach in breaches} <= {("a", "type")}


def test_limits_of_decimals_are_exact(tmp_path: Path) -> None:
    limits = "{exclusiveMinimum: 0.1, maximum: '12345678.89'}"
    taken = take_json(tmp_path, money(limits), ["0.10", "0.11", "12345678.89", "12345678.90"])
    assert taken.broken == {1: [("a", "exclusiveMinimum")], 4: [("a", "maximum")]}
    checks = validated(taken)
    assert {checks[rule, "a"] for rule in ("type", "exclusiveMinimum", "maximum")} == {"passed"}


def test_listed_decimals_are_compared_by_value(tmp_path: Path) -> None:
    rule = ", quality: [{metric: invalidValues, arguments: {validValues: [0.1, 2]}, mustBe: 0}]"
    taken = take_json(tmp_path, money(extra=rule), ["0.1", "0.10", "2", "2.01"])
    assert taken.broken == {4: [("a", "enum")]}
    assert validated(taken)["enum", "a"] == "passed"


def test_a_decimal_may_be_a_key(tmp_path: Path) -> None:
    taken = take_json(tmp_path, money(extra=", required: true, primaryKey: true"), ["1.5", "1.50", "1.51"])
    assert taken.broken == {2: [(None, "duplicate")]}
    path = tmp_path / "more.ndjson"
    path.write_text('{"a": 15e-1}\n{"a": 3}\n', encoding="utf-8")
    landing.land_file(taken.project, "d", path)
    with runs.recorded(taken.project, "process") as run:
        list(process(taken.project, run=run))
    assert sorted(row["a"] for row in rows_of(taken.project, "raw", "d")) == list(
        map(Decimal, ["1.50", "1.51", "3.00"])
    )


def exactly(number: Decimal, precision: int, scale: int) -> bool:
    """Whether a decimal of these digits holds the number, by Python's own arithmetic."""
    units = Fraction(number) * 10**scale
    return bool(units.denominator == 1 and abs(units) < 10**precision)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=5,
    deadline=None,
    derandomize=True,
)
@given(
    st.lists(
        st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20)
        | st.integers(-(10**38), 10**38).map(Decimal)
        | st.decimals(min_value=-9, max_value=9, places=3),
        min_size=50,
        max_size=50,
    ),
    st.sampled_from([(38, 0), (38, 38), (20, 3), (9, 2), (1, 1), (1, 0)]),
)
def test_decimals_are_what_pythons_are(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[Decimal], digits: tuple[int, int]
) -> None:
    precision, scale = digits
    columns = f"- {{name: a, logicalType: number, physicalType: 'numeric({precision},{scale})'}}"
    texts = [f"{number:f}" for number in numbers]
    taken = take_csv(tmp_path_factory.mktemp("decimals"), columns, texts)
    spelled_whole = [scale > 0 or "." not in text for text in texts]
    assert taken.rows == {
        at: number
        for at, (number, whole) in enumerate(zip(numbers, spelled_whole, strict=True), start=1)
        if whole and exactly(number, precision, scale)
    }


@pytest.mark.parametrize(
    ("form", "least", "most"),
    [
        ("i8", -(1 << 7), (1 << 7) - 1),
        ("i16", -(1 << 15), (1 << 15) - 1),
        ("u8", 0, (1 << 8) - 1),
        ("u16", 0, (1 << 16) - 1),
        ("u32", 0, (1 << 32) - 1),
        ("u64", 0, (1 << 64) - 1),
        ("i128", -(10**38) + 1, 10**38 - 1),
        ("u128", 0, 10**38 - 1),
    ],
)
@pytest.mark.parametrize("by", ["format", "physicalType"])
def test_integers_keep_the_range_of_their_width(
    tmp_path: Path, form: str, least: int, most: int, by: str
) -> None:
    named = form.replace("i", "int").replace("uint", "u").replace("u", "uint")
    said = f"logicalTypeOptions: {{format: {form}}}" if by == "format" else f"physicalType: {named}"
    columns = f"- {{name: a, logicalType: integer, {said}}}"
    texts = [str(value) for value in (least, most, least - 1, most + 1)]
    taken = take_json(tmp_path, columns, [*texts, "1.0", '"1"'])
    assert taken.values() == [least, most]
    assert set(taken.broken) == {3, 4, 5, 6}
    assert validated(taken)["type", "a"] == "passed"


def test_large_unsigned_integers_come_from_parquet(tmp_path: Path) -> None:
    columns = "- {name: a, logicalType: integer, logicalTypeOptions: {format: u64}}"
    taken = take_parquet(tmp_path, columns, pa.array([0, 2**64 - 1], pa.uint64()))
    assert taken.values() == [0, 2**64 - 1]


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        ("logicalType: integer, logicalTypeOptions: {multipleOf: 5}", ["-10", "0", "15"], ["7"]),
        ("logicalType: integer, logicalTypeOptions: {multipleOf: 2.5}", ["5", "10"], ["6"]),
        ("logicalType: number, logicalTypeOptions: {multipleOf: 0.1}", ["0.3", "1e3", "7"], ["0.35"]),
        (
            "logicalType: number, physicalType: 'decimal(9,3)', logicalTypeOptions: {multipleOf: 0.05}",
            ["0.15", "-2"],
            ["0.151", "0.01"],
        ),
    ],
)
def test_multiples_are_exact(tmp_path: Path, column: str, good: list[str], bad: list[str]) -> None:
    taken = take_json(tmp_path, f"- {{name: a, {column}}}", [*good, *bad])
    assert set(taken.rows) == set(range(1, len(good) + 1))
    assert {*map(tuple, taken.broken.values())} == {(("a", "multipleOf"),)}
    assert validated(taken)["multipleOf", "a"] == "passed"


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        ("logicalType: date, logicalTypeOptions: {minimum: 2020-01-01}", ["2020-01-01"], ["2019-12-31"]),
        ("logicalType: time, logicalTypeOptions: {minimum: '08:00'}", ["08:00:00.000001"], ["07:59:59"]),
        (
            "logicalType: timestamp, logicalTypeOptions: {minimum: '2020-01-01T00:00'}",
            ["2020-01-01T00:00:00"],
            ["2019-12-31T23:59:59.999999"],
        ),
        (
            "logicalType: timestamp, logicalTypeOptions: {timezone: true, minimum: '2020-01-01T00:00Z'}",
            ["2020-01-01T01:00:00+01:00"],
            ["2020-01-01T00:59:59+01:00"],
        ),
    ],
)
def test_days_and_times_keep_their_limits(
    tmp_path: Path, column: str, good: list[str], bad: list[str]
) -> None:
    taken = take_csv(tmp_path, f"- {{name: a, {column}}}", [*good, *bad])
    assert taken.broken == {2: [("a", "minimum")]}
    checks = validated(taken)
    assert (checks["type", "a"], checks["minimum", "a"]) == ("passed", "passed")


def test_times_of_day_are_read_in_their_formats_and_come_back(tmp_path: Path) -> None:
    columns = "- {name: a, logicalType: time, logicalTypeOptions: {format: 'HH:mm'}, required: true, primaryKey: true}"
    taken = take_json(tmp_path, columns, ['"08:30"', '"8h30"', '"24:00"', "1", '"08:30"'])
    assert taken.values() == [time(8, 30)]
    assert taken.broken == {
        2: [("a", "type")],
        3: [("a", "type")],
        4: [("a", "type")],
        5: [(None, "duplicate")],
    }


def test_times_of_day_come_from_parquet(tmp_path: Path) -> None:
    array = pa.array([1, 1_500_000_000_000], pa.time64("ns"))
    taken = take_parquet(tmp_path, "- {name: a, logicalType: time}", array)
    assert taken.rows == {2: time(0, 25)}
    assert taken.broken == {1: [("a", "type")]}


def test_a_default_zone_makes_an_instant_of_a_wall_clocks_time(tmp_path: Path) -> None:
    columns = (
        "- {name: a, logicalType: timestamp, logicalTypeOptions: {timezone: true, defaultTimezone: '+01:00'}}"
    )
    taken = take_json(tmp_path, columns, ['"2020-01-01T01:00:00"', '"2020-01-01T01:00:00Z"'])
    assert taken.values() == [datetime(2020, 1, 1, 0, tzinfo=UTC), datetime(2020, 1, 1, 1, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("email", "o'neil@example.org", "example.org"),
        ("uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b8109dad11d180b400c04fd430c8"),
        ("uri", "https://[::1]/a?b=c#d", "/a"),
        ("hostname", "a.example", "-a.example"),
        ("ipv4", "10.0.0.1", "10.0.0.256"),
        ("ipv6", "2001:db8::1", "2001:db8:::1"),
        ("byte", "YWI=", "YWI"),
        ("date", "2024-02-29", "2023-02-29"),
        ("time", "12:00:01", "noon"),
        ("date-time", "2024-02-29T12:00:00Z", "2024-02-29"),
    ],
)
def test_texts_have_their_format(tmp_path: Path, form: str, good: str, bad: str) -> None:
    columns = f"- {{name: a, logicalType: string, logicalTypeOptions: {{format: {form}}}}}"
    taken = take_json(tmp_path, columns, [json.dumps(good), json.dumps(bad), "null"])
    assert taken.rows == {1: good, 3: None}
    assert taken.broken == {2: [("a", "format")]}
    assert validated(taken)["format", "a"] == "passed"


ORDER = """\
- name: a
  logicalType: object
  required: true
  properties:
    - {name: number, logicalType: integer, required: true}
    - {name: placed_on, logicalType: date, logicalTypeOptions: {format: dd.MM.yyyy}}
    - name: items
      logicalType: array
      logicalTypeOptions: {minItems: 1, uniqueItems: true}
      items:
        logicalType: object
        required: true
        logicalTypeOptions: {required: [name]}
        properties:
          - {name: name, logicalType: string, logicalTypeOptions: {maxLength: 5}}
          - {name: price, logicalType: number, physicalType: 'decimal(9,2)', logicalTypeOptions: {minimum: 0}}
          - {name: tags, logicalType: array, items: {logicalType: string, required: true}}
"""


def test_nested_records_become_nested_rows(tmp_path: Path) -> None:
    texts = [
        '{"number": 1, "placed_on": "31.01.2024", "items": [{"name": "x", "price": 0.1, "tags": ["k", "l"]}]}',
        '{"items": [{"price": 2, "name": "y"}, {"name": "z", "tags": []}], "number": 2}',
        '{"number": 3, "items": null}',
        '{"number": 4, "items": []}',
        '{"number": 5, "items": [{"name": "x"}, {"name": "toolong", "price": -1, "tags": [null]}]}',
        '{"number": 6, "items": [{"name": "x"}, {"name": "x"}]}',
        '{"number": "7", "items": [1, null]}',
        '{"placed_on": "2024-01-31"}',
        "[]",
        "null",
    ]
    taken = take_json(tmp_path, ORDER, texts)
    assert taken.values() == [
        {
            "number": 1,
            "placed_on": date(2024, 1, 31),
            "items": [{"name": "x", "price": Decimal("0.10"), "tags": ["k", "l"]}],
        },
        {
            "number": 2,
            "placed_on": None,
            "items": [
                {"name": "y", "price": Decimal("2.00"), "tags": None},
                {"name": "z", "price": None, "tags": []},
            ],
        },
        {"number": 3, "placed_on": None, "items": None},
    ]
    assert taken.broken == {
        4: [("a.items", "minItems")],
        5: [
            ("a.items[].name", "maxLength"),
            ("a.items[].price", "minimum"),
            ("a.items[].tags[]", "required"),
        ],
        6: [("a.items", "uniqueItems")],
        7: [("a.number", "type"), ("a.items[]", "type"), ("a.items[]", "required")],
        8: [("a.placed_on", "type"), ("a.number", "required")],
        9: [("a", "type")],
        10: [("a", "required")],
    }
    assert validated(taken)["type", "a"] == "passed"
    with lake.connect(taken.project) as connection:
        found = connection.execute("select a.number from lake.raw.d where a.items is null").fetchall()
    assert found == [(3,)]


def test_nested_values_come_from_csv_as_json(tmp_path: Path) -> None:
    columns = "- {name: a, logicalType: array, items: {logicalType: integer}}"
    taken = take_csv(tmp_path, columns, ["[1, 2]", "[]", "1", "[1", "[1] x", '["1"]', " [1]"])
    assert taken.rows == {1: [1, 2], 2: []}
    assert taken.broken == {
        **{number: [("a", "type")] for number in (3, 4, 5, 7)},
        6: [("a[]", "type")],
    }


def test_nested_values_come_from_parquet(tmp_path: Path) -> None:
    price = pa.decimal128(12, 4)
    items = pa.list_(pa.struct([("price", price), ("name", pa.string()), ("other", pa.int32())]))
    array = pa.array(
        [
            {"number": 1, "items": [{"price": Decimal("1.5000"), "name": "x", "other": 1}]},
            {"number": 2, "items": [{"price": Decimal("1.5001"), "name": "y", "other": None}]},
            {"number": None, "items": None},
            None,
        ],
        pa.struct([("number", pa.int16()), ("items", items)]),
    )
    taken = take_parquet(tmp_path, ORDER, array)
    assert taken.rows == {
        1: {
            "number": 1,
            "placed_on": None,
            "items": [{"name": "x", "price": Decimal("1.50"), "tags": None}],
        }
    }
    assert taken.broken == {
        2: [("a.items[].price", "type")],
        3: [("a.number", "required")],
        4: [("a", "required")],
    }


def test_a_duplicate_with_other_nested_values_is_a_conflicting_one(tmp_path: Path) -> None:
    columns = (
        "- {name: a, logicalType: integer, required: true, primaryKey: true}\n"
        "- {name: l, logicalType: array, items: {logicalType: string}}"
    )
    path = tmp_path / "first.ndjson"
    path.write_text(
        '{"a": 1, "l": ["x"]}\n{"a": 1, "l": ["x"]}\n{"a": 1, "l": ["x", null]}\n{"a": 2, "l": null}\n'
    )
    taken = take(tmp_path, columns, path)
    more = tmp_path / "more.ndjson"
    more.write_text('{"a": 1, "l": ["x"]}\n{"a": 1, "l": []}\n{"a": 2}\n')
    landing.land_file(taken.project, "d", more)
    with runs.recorded(taken.project, "process") as run:
        list(process(taken.project, run=run))
    kinds = [row["duplicate_kind"] for row in rows_of(taken.project, "quarantine", "d")]
    assert sorted(kinds) == ["conflicting", "conflicting", "identical", "identical", "identical"]


def test_the_fields_of_nested_columns_have_ids_of_their_own(tmp_path: Path) -> None:
    taken = take_json(tmp_path, ORDER, ['{"number": 1}'])
    table = tables.load(open_catalog(taken.project), ("raw", "d"))
    assert table is not None
    ids = tables.field_ids(table)
    assert ids["a"] == 1
    assert ids["a.items.element.price"] > ids["_dpipe_contract"]
    (file,) = table.inspect.files().to_pylist()
    footer = pq.read_schema(file["file_path"].removeprefix("file://"))
    items = footer.field("a").type.field("items")
    assert int(items.metadata[b"PARQUET:field_id"]) == ids["a.items"]
    assert int(items.type.value_field.metadata[b"PARQUET:field_id"]) == ids["a.items.element"]


def test_the_table_has_the_contracts_types(tmp_path: Path) -> None:
    taken = take_json(tmp_path, money(), ["1"])
    table = tables.load(open_catalog(taken.project), ("raw", "d"))
    assert table is not None
    assert str(table.schema().find_type("a")) == "decimal(10, 2)"
    plan = contract_for(taken.project, "d").plan
    with lake.connect(taken.project) as connection:
        described = {row[0]: row[1] for row in connection.execute("describe lake.raw.d").fetchall()}
    assert described["a"] == duckdb_type(plan.columns[0])
    assert json.loads(plan.to_json())["columns"][0]["type"] == "decimal(10,2)"
