"""History that only the published file has: dbt's snapshots, the one thing that can't be built anew from the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from pathlib import Path

SNAPSHOTS = "snapshots"


def carry_over(published: Path, database: Path) -> None:
    """Have `database`, which may not be there yet, begin with the tables that `published` has in schema `snapshots`."""
    with duckdb.connect(str(database)) as connection:
        path = str(published).replace("'", "''")
        connection.execute(f"attach '{path}' as published (read_only)")
        of_snapshots = f"database_name = 'published' and schema_name = '{SNAPSHOTS}'"
        tables = connection.execute(f"select table_name from duckdb_tables() where {of_snapshots}").fetchall()  # noqa: S608 - a constant
        if tables:
            connection.execute(f"create schema {SNAPSHOTS}")
        for (name,) in tables:
            table = f'{SNAPSHOTS}."{name.replace(chr(34), chr(34) * 2)}"'
            connection.execute(f"create table {table} as from published.{table}")
