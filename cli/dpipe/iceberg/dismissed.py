"""The table `dpipe.dismissed`: records in quarantine and refused batches that somebody left alone, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dpipe.iceberg import filters, tables
from dpipe.iceberg.catalog import DISMISSED
from dpipe.iceberg.retry import with_retries

if TYPE_CHECKING:
    from collections.abc import Collection

    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

RecordId = tuple[str, int]
"""Batch and number of a record; number 0 is the batch as a whole."""

WHOLE_BATCH = 0


def reasons(catalog: Catalog, dataset: str) -> dict[RecordId, dict[str, Any]]:
    """The rows of a dataset's dismissed records."""
    table = tables.load(catalog, DISMISSED)
    return {} if table is None else _rows(table, dataset)


def batches(catalog: Catalog, dataset: str) -> dict[str, dict[str, Any]]:
    """The rows of a dataset's batches that were dropped."""
    rows = reasons(catalog, dataset)
    return {batch_id: row for (batch_id, record_no), row in rows.items() if record_no == WHOLE_BATCH}


def add(catalog: Catalog, dataset: str, records: Collection[RecordId], *, reason: str, run_id: str) -> int:
    """Dismiss records or batches; how many weren't yet."""
    tables.dismissed_table(catalog)
    now = datetime.now(UTC)

    def append() -> int:
        table = catalog.load_table(DISMISSED)
        there = _rows(table, dataset)
        rows = [
            {
                "batch_id": batch_id,
                "dataset": dataset,
                "record_no": record_no,
                "reason": reason,
                "dismissed_at": now,
                "run_id": run_id,
            }
            for batch_id, record_no in sorted(set(records) - there.keys())
        ]
        if rows:
            table.append(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))
        return len(rows)

    return with_retries(append, ".".join(DISMISSED))


def _rows(table: Table, dataset: str) -> dict[RecordId, dict[str, Any]]:
    rows = table.scan(row_filter=filters.equals("dataset", dataset)).to_arrow().to_pylist()
    return {(row["batch_id"], row["record_no"]): row for row in rows}
