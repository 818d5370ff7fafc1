"""`docs/contract-semantics.md` is executed: each row of each of its tables, and what it says of other tools."""

from __future__ import annotations

import ast
import functools
import io
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dpipe.contract import Column, Plan
from dpipe.quality.from_contract import duckdb_type
from kernel_runs import Refused, run_bytes, run_sources
from semantics_doc import (
    Row,
    code,
    column_of,
    compressed,
    plan_of,
    said,
    tables,
    to_bytes,
    value,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DOC = Path(__file__).parent.parent / "docs" / "contract-semantics.md"
PAGE = DOC.read_text(encoding="utf-8")
TABLES = list(tables(PAGE))

JSON_VALUES = ("JSON value", "column", "comes to", "DuckDB")
CSV_FIELDS = ("CSV field", "column", "comes to", "DuckDB")
JSON_RECORDS = ("JSON record", "comes to", "Python `json`")
NDJSON_FILES = ("NDJSON file", "contract", "its records")
JSON_FILES = ("JSON file", "contract", "its records")
CSV_FILES = ("CSV file", "contract", "its records")
PARQUET_VALUES = ("Parquet type", "value", "column", "comes to")
COMPRESSED_FILES = ("compressed NDJSON file", "its records")
SHAPES = {
    *(JSON_VALUES, CSV_FIELDS, JSON_RECORDS, PARQUET_VALUES),
    *(NDJSON_FILES, JSON_FILES, CSV_FILES, COMPRESSED_FILES),
}

FILE_COLUMNS = (Column("a", "int32"), Column("b", "string"))
ARROW_TYPES = [
    *(pa.int8(), pa.int32(), pa.int64(), pa.uint64(), pa.float32(), pa.float64(), pa.bool_(), pa.string()),
    *(
        pa.large_string(),
        pa.binary(),
        pa.date32(),
        pa.decimal128(10, 2),
        pa.decimal128(10, 0),
        pa.time32("ms"),
    ),
    *(pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.null()),
    *(pa.dictionary(pa.int32(), pa.string()), pa.list_(pa.field("element", pa.int32()))),
]

Records = list[dict[str, Any] | Refused]


def rows_of(shape: tuple[str, ...]) -> list[Row]:
    return [row for _, rows in TABLES for row in rows if row.shape == shape]


def each_row(*shapes: tuple[str, ...]) -> pytest.MarkDecorator:
    """A test of each row of every table of these shapes."""
    return pytest.mark.parametrize("row", [row for shape in shapes for row in rows_of(shape)], ids=str)


def run_rows(rows: list[Row], form: str, source: Callable[[Row], tuple[Plan, bytes]]) -> dict[int, Records]:
    """What becomes of each row's records, by its line. Rows of one plan go through one run, each as a batch."""
    groups: dict[Plan, dict[str, bytes]] = defaultdict(dict)
    for row in rows:
        plan, content = source(row)
        groups[plan][str(row.line)] = content
    found: dict[int, Records] = {}
    for plan, contents in groups.items():
        # Where records are compared, batches of one run know of each other.
        alone = [{name: content} for name, content in contents.items()]
        for part in alone if plan.compares_rows else [contents]:
            run = run_sources(plan, part, form)
            found |= {int(name): run.of_batch(name) for name in part}
    return found


def test_every_table_is_of_a_shape_that_is_executed() -> None:
    assert {row.shape for _, rows in TABLES for row in rows} == SHAPES
    for line, rows in TABLES:
        assert rows, f"line {line}: a table without rows"
        for row in rows:
            assert len(row.cells) == len(row.shape), row


def test_the_page_names_the_version_of_duckdb_that_it_speaks_of() -> None:
    assert f"version {duckdb.__version__} makes of" in PAGE


def json_value(row: Row) -> tuple[Plan, bytes]:
    column, others = column_of(row["column"])
    given = code(row["JSON value"])
    return plan_of((column,), others), b'{"a": ' + to_bytes(given[0]) + b"}" if given else b"{}"


@functools.cache
def json_values(form: str) -> dict[int, Records]:
    def source(row: Row) -> tuple[Plan, bytes]:
        plan, record = json_value(row)
        return plan, record if form == "ndjson" else b"[" + record + b"]"

    return run_rows(rows_of(JSON_VALUES), form, source)


@each_row(JSON_VALUES)
@pytest.mark.parametrize("form", ["ndjson", "json"])
def test_a_json_value_comes_to_what_the_row_says(row: Row, form: str) -> None:
    assert [said(found) for found in json_values(form)[row.line]] == [row["comes to"]]


def csv_field(row: Row) -> tuple[Plan, bytes]:
    column, others = column_of(row["column"])
    given = code(row["CSV field"])
    field = to_bytes(given[0]) if given else b""
    return plan_of((column, Column("b", "int32")), others), b"a,b\n" + field + b",1\n"


@functools.cache
def csv_fields() -> dict[int, Records]:
    return run_rows(rows_of(CSV_FIELDS), "csv", csv_field)


@each_row(CSV_FIELDS)
def test_a_csv_field_comes_to_what_the_row_says(row: Row) -> None:
    assert [said(found) for found in csv_fields()[row.line]] == [row["comes to"]]


@each_row(JSON_VALUES, CSV_FIELDS)
def test_duckdb_reads_it_as_the_row_says(row: Row, tmp_path: Path) -> None:
    if row["DuckDB"] == "":
        return
    if row.shape == JSON_VALUES:
        plan, content = json_value(row)
        reader, options = "read_json", "format = 'newline_delimited'"
    else:
        plan, content = csv_field(row)
        reader, options = (
            "read_csv",
            "header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"'",
        )
    path = tmp_path / "source"
    path.write_bytes(content)
    columns = {column.name: duckdb_type(column) for column in plan.columns}
    try:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            query = f"SELECT a FROM {reader}('{path}', columns = {columns}, {options})"
            found = [value(found) for found in connection.sql(query).to_arrow_table()["a"].to_pylist()]
    except duckdb.Error:
        found = ["error"]

    assert found == [row["DuckDB"]]


@functools.cache
def json_records() -> dict[int, Records]:
    plan = plan_of((Column("a", "string"),), [])
    return run_rows(
        rows_of(JSON_RECORDS), "ndjson", lambda row: (plan, to_bytes(code(row["JSON record"])[0]))
    )


@each_row(JSON_RECORDS)
def test_a_json_record_is_read_as_the_row_says(row: Row) -> None:
    try:
        python = f"`{json.dumps(json.loads(to_bytes(code(row['JSON record'])[0])))}`"
    except ValueError:
        python = "error"

    assert [said(found) for found in json_records()[row.line]] == [row["comes to"]]
    assert python == row["Python `json`"]


def file(row: Row) -> tuple[Plan, bytes]:
    given = code(row.cells[0])
    return plan_of(FILE_COLUMNS, code(row["contract"])), to_bytes(given[0]) if given else b""


@functools.cache
def files(shape: tuple[str, ...]) -> dict[int, Records]:
    return run_rows(rows_of(shape), shape[0].split()[0].lower(), file)


@each_row(NDJSON_FILES, JSON_FILES, CSV_FILES)
def test_a_file_has_the_records_that_the_row_says(row: Row) -> None:
    plan, content = file(row)
    found = files(row.shape)[row.line]

    names = [column.name for column in plan.columns]
    assert " · ".join(said(record, names) for record in found) == row["its records"].removeprefix("none")
    for record in found:
        if isinstance(record, Refused):
            assert record.offset is not None
            assert content[record.offset :].startswith(record.raw)


@each_row(COMPRESSED_FILES)
def test_a_compressed_file_has_the_records_that_the_row_says(row: Row) -> None:
    compression, packed = compressed(row["compressed NDJSON file"])
    run = run_bytes(plan_of(FILE_COLUMNS, []), packed, "ndjson", compression=compression)

    assert " · ".join(said(found, ["a", "b"]) for found in run.of_batch()) == row["its records"]


def parquet_value(row: Row) -> tuple[Plan, bytes]:
    (name,) = code(row["Parquet type"])
    (kind,) = [kind for kind in ARROW_TYPES if str(kind) == name]
    text = code(row["value"])
    given = ast.literal_eval(text[0]) if text else None
    if pa.types.is_decimal(kind) and text:
        given = Decimal(text[0])
    if pa.types.is_temporal(kind):
        # Written as the format stores it: a count of units.
        array = pa.array([given], pa.int64() if kind.bit_width == 64 else pa.int32()).cast(kind)
    else:
        array = pa.array([given], kind)
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": array}), sink)
    column, others = column_of(row["column"])
    return plan_of((column,), others), sink.getvalue()


@functools.cache
def parquet_values() -> dict[int, Records]:
    return run_rows(rows_of(PARQUET_VALUES), "parquet", parquet_value)


@each_row(PARQUET_VALUES)
def test_a_parquet_value_comes_to_what_the_row_says(row: Row) -> None:
    (record,) = parquet_values()[row.line]

    assert said(record) == row["comes to"]
    if isinstance(record, Refused):
        assert list(json.loads(record.raw)) == ["a"]
        assert record.offset is None
