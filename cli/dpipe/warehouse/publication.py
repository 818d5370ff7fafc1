"""What readers get: the marts and where they came from, nothing that needs the lake; and what the next build needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from dpipe.warehouse.history import SNAPSHOTS

if TYPE_CHECKING:
    from pathlib import Path

PUBLISHED_SCHEMAS = ("marts", SNAPSHOTS, "dpipe_meta", "main")


def strip(database: Path) -> None:
    """Drop every schema that is not published, such as staging's views over the lake."""
    with duckdb.connect(str(database)) as connection:
        schemas = connection.execute(
            "select schema_name from information_schema.schemata where catalog_name = current_database()"
        ).fetchall()
        for (name,) in schemas:
            if name not in PUBLISHED_SCHEMAS:
                quoted = name.replace('"', '""')
                connection.execute(f'drop schema "{quoted}" cascade')
        connection.execute("drop table if exists dpipe_meta.batches_to_transform")
        connection.execute("checkpoint")
