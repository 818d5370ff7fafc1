"""Tables that dpipe wrote, upserted, compacted and changed read the same in every engine that reads Iceberg."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest
from dpipe import landing
from dpipe.iceberg import metadata_locations, open_catalog
from dpipe.iceberg.compaction import Target
from dpipe.stages.evolve import evolve
from dpipe.stages.maintain import maintain
from dpipe.stages.process import process
from dpipe.state import runs
from dpipe.warehouse.lake import attach_lake
from support import make_project

if TYPE_CHECKING:
    import pyarrow as pa
    from dpipe.settings import Project

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: things
name: things
version: 1.0.0
status: active
schema:
  - name: things
    customProperties: [{property: dpipe.writeMode, value: upsert}]
    properties:
      - {name: id, logicalType: integer, physicalType: long, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: kind, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 2,
         partitioned: true, partitionKeyPosition: 1}
      - {name: small, logicalType: integer, physicalType: int}
      - {name: ratio, logicalType: number, physicalType: double}
      - {name: price, logicalType: number, physicalType: "decimal(20,4)"}
      - {name: is_new, logicalType: boolean}
      - {name: day, logicalType: date}
      - {name: at, logicalType: timestamp, logicalTypeOptions: {timezone: true}}
      - {name: local, logicalType: timestamp}
      - {name: text, logicalType: string}
      - name: place
        logicalType: object
        properties: [{name: lat, logicalType: number}, {name: label, logicalType: string}]
      - name: tags
        logicalType: array
        items: {logicalType: string}
"""
LATER = (
    CONTRACT.replace("1.0.0", "1.1.0")
    .replace("physicalType: int}", "physicalType: long}")
    .replace(
        "name: text, logicalType: string",
        "name: label, logicalType: string, customProperties: [{property: dpipe.renamedFrom, value: text}]",
    )
    + "      - {name: note, logicalType: string}\n"
)
SCRIPT = Path(__file__).with_name("spark_rows.py")
NAMES = ("raw.things", "quarantine.things", "dpipe.batches", "dpipe.compactions")


def record(number: int, text: str = "text") -> dict[str, Any]:
    sparse = number % 4 == 0
    return {
        "id": number,
        "kind": "ab/c é"[number % 6],
        "small": None if sparse else number - 5,
        "ratio": number / 3,
        "price": float(f"{number}.25"),
        "is_new": None if sparse else number % 2 == 0,
        "day": f"2013-02-{number % 28 + 1:02}",
        "at": f"2013-02-01T10:00:{number % 60:02}.5Z",
        "local": f"2013-02-01T10:00:{number % 60:02}.25",
        text: None if sparse else f"Ünïcode {number} 'quoted'",
        "place": None if sparse else {"lat": number / 7, "label": None},
        "tags": None if sparse else ["a", f"b{number}"] if number % 3 else [],
    }


def ingest(project: Project, records: list[dict[str, Any]]) -> None:
    path = project.root / "a.ndjson"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    landing.land_file(project, "things", path)
    with runs.recorded(project, "process") as run:
        process(project, run=run)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Rows of before and after a change of the contract, superseded ones, rejected ones, compacted files."""
    project = make_project(
        tmp_path_factory.mktemp("readers"), {"things": CONTRACT}, {"max_rejected_share": 1.0}
    )
    ingest(project, [record(number) for number in range(40)] + [{"id": "x"}])
    ingest(project, [record(number) for number in range(30, 60)])
    (project.contracts / "things.odcs.yaml").write_text(LATER)
    with runs.recorded(project, "contract apply") as run:
        evolve(project, "things", run=run)
    ingest(project, [record(number, "label") | {"note": "new"} for number in range(50, 70)] + [{"id": "y"}])
    with runs.recorded(project, "maintain") as run:
        maintain(project, target=Target(64 << 20, 3), keep=timedelta(days=1), run=run)
    ingest(project, [record(number, "label") | {"note": "newest"} for number in range(5)])
    return project


def plain(value: Any) -> Any:
    """A value without what engines differ in: types of numbers, precision of clocks, tuples and lists."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, Decimal):
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def rows(table: pa.Table) -> list[dict[str, Any]]:
    return sorted((plain(row) for row in table.to_pylist()), key=repr)


def expected(project: Project, name: str) -> list[dict[str, Any]]:
    return rows(open_catalog(project).load_table(name).scan().to_arrow())


def test_the_rows_are_those_that_went_in(project: Project) -> None:
    found = {row["id"]: row for row in expected(project, "raw.things")}
    assert found.keys() == set(range(70))
    for number in range(70):
        text = "label" if number < 5 or number >= 50 else "text"
        given = record(number, text)
        row = found[number]
        assert (row["kind"], row["small"], row["label"]) == (given["kind"], given["small"], given[text])
        assert (row["price"], row["ratio"], row["is_new"]) == (
            f"{number}.2500",
            given["ratio"],
            given["is_new"],
        )
        assert (row["day"], row["place"]) == (given["day"], given["place"])
        assert row["note"] == ("newest" if number < 5 else "new" if number >= 50 else None)


@pytest.mark.parametrize("name", NAMES)
def test_duckdb_reads_the_same(project: Project, name: str) -> None:
    with duckdb.connect() as connection:
        attach_lake(connection, {name: metadata_locations(project)[name]})
        namespace, table = name.split(".")
        found = connection.execute(f"select * from lake.{namespace}.{table}").to_arrow_table()
    assert without_empty_lists(rows(found)) == without_empty_lists(expected(project, name))


@pytest.mark.parametrize("name", NAMES)
def test_polars_reads_the_same(project: Project, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")  # its own is another package
    found = pl.scan_iceberg(metadata_locations(project)[name], reader_override="native").collect()
    assert without_empty_lists(rows(found.to_arrow())) == without_empty_lists(expected(project, name))


def without_empty_lists(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """pyiceberg 0.12 reads an array that is null as an empty one."""
    return sorted(
        ({key: value or None if key == "tags" else value for key, value in row.items()} for row in found),
        key=repr,
    )


@pytest.mark.long
def test_spark_reads_the_same(project: Project) -> None:
    """In an environment of its own, with Iceberg's runtime from Maven."""
    if shutil.which("java") is None:
        pytest.fail("Spark needs Java: install a JDK 17, e.g. `sudo apt-get install openjdk-17-jre-headless`")
    locations = {name: metadata_locations(project)[name] for name in NAMES}
    told = subprocess.run(
        [
            "uv",
            "run",
            "--isolated",
            "--no-project",
            "--python",
            "3.11",
            "--with",
            "pyspark>=4.1,<4.2",
            "python",
            str(SCRIPT),
        ],
        input=json.dumps(locations),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": ""},
    )
    assert told.returncode == 0, told.stderr[-3000:]
    found = json.loads(told.stdout)
    for name in NAMES:
        # In Python it gives instants without their zone.
        instants = json.loads(json.dumps(expected(project, name)).replace("+00:00", ""))
        assert without_empty_lists(found[name]) == without_empty_lists(instants), name
