"""Data files read by field id, held against pyiceberg's own scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dpipe.iceberg import open_catalog
from dpipe.iceberg.reading import ColumnCache, read_columns
from dpipe.stages.evolve import evolve
from dpipe.state import runs
from support import ORDERS, ingest, make_project

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from dpipe.settings import Project
    from pyiceberg.table import Table

HEADER = "order_id,day,amount\n"
RENAMED = ORDERS.replace("version: 1.0.0", "version: 2.0.0").replace(
    "name: amount,", "name: price, customProperties: [{property: dpipe.renamedFrom, value: amount}],"
)
# Another column is called now what that one was before.
ADDED = ORDERS.replace("version: 1.0.0", "version: 3.0.0").replace("name: amount,", "name: price,")
ADDED += "      - {name: amount, logicalType: integer}\n"


def change(project: Project, contract: str) -> None:
    (project.contracts / "orders.odcs.yaml").write_text(contract)
    with runs.recorded(project, "apply") as run:
        evolve(project, "orders", run=run)


def loaded(project: Project) -> Table:
    return open_catalog(project).load_table(("raw", "orders"))


def in_order(rows: pa.Table) -> list[dict[str, object]]:
    return sorted(rows.to_pylist(), key=lambda row: row["order_id"])


def assert_as_scanned(cache: ColumnCache, table: Table, *names: str) -> None:
    tasks = list(table.scan().plan_files())
    expected = in_order(table.scan(selected_fields=names).to_arrow())
    assert len(expected) > 0
    assert in_order(read_columns(table, tasks, names)) == expected
    for _ in range(2):
        assert in_order(cache.read(table, tasks, names)) == expected


def test_columns_are_what_they_are_now_called(tmp_path: Path) -> None:
    project, cache = make_project(tmp_path), ColumnCache()
    ingest(project, HEADER + "1,2013-01-01,1.5\n2,2013-01-02,\n")
    assert_as_scanned(cache, loaded(project), "order_id", "amount")
    change(project, RENAMED)
    assert_as_scanned(cache, loaded(project), "order_id", "price")
    change(project, ADDED)
    assert_as_scanned(cache, loaded(project), "order_id", "amount")
    ingest(project, "order_id,day,price,amount\n3,2013-01-02,2.5,7\n")
    assert_as_scanned(cache, loaded(project), "order_id", "price", "amount")
    assert_as_scanned(cache, loaded(project), "order_id", "amount")


def test_no_file_is_read_twice_as_long_as_there_is_room(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    ingest(project, HEADER + "".join(f"{number},2013-01-0{number},1\n" for number in range(1, 6)))
    table = loaded(project)
    tasks = list(table.scan().plan_files())
    size = read_columns(table, tasks[:1], ("order_id",)).nbytes
    cache = ColumnCache(most_bytes=3 * size)
    assert cache.read(table, tasks, ("order_id",)).num_rows == 5
    for task in tasks:
        table.io.delete(task.file.file_path)
    assert cache.read(table, tasks[2:], ("order_id",)).num_rows == 3
    with pytest.raises(FileNotFoundError):  # the first ones made room
        cache.read(table, tasks[:1], ("order_id",))


def test_without_files_there_are_columns_all_the_same(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    ingest(project, HEADER + "1,2013-01-01,1\n")
    for read in (read_columns, ColumnCache().read):
        assert read(loaded(project), [], ("order_id",)).schema.names == ["order_id"]
