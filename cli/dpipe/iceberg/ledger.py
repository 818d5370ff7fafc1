"""The ledger `dpipe.batches`: one row a committed batch, appended and never changed."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dpipe.iceberg import chain, filters, tables
from dpipe.iceberg.attempt import RAW_SNAPSHOT
from dpipe.iceberg.catalog import LEDGER
from dpipe.iceberg.retry import with_retries

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from dpipe.iceberg.attempt import CommitRecord, WrittenFile


def batch_ids(catalog: Catalog, dataset: str) -> set[str]:
    """Ids of the dataset's committed batches."""
    return _batch_ids(tables.ledger_table(catalog), dataset)


def state(catalog: Catalog, dataset: str) -> tuple[set[str], str | None]:
    """Ids of the dataset's committed batches, and the hash of the last commit, None without one."""
    table = tables.ledger_table(catalog)
    found = _columns(table, dataset, "batch_id", "committed_at", "previous_hash", "entry_hash")
    found = found.sort_by("committed_at")
    links = zip(found["previous_hash"].to_pylist(), found["entry_hash"].to_pylist(), strict=True)
    return set(found["batch_id"].to_pylist()), chain.end(list(links))


def rows(catalog: Catalog, dataset: str | None = None) -> list[dict[str, Any]]:
    """The ledger's rows in the order of their commits; `violations` is parsed."""
    table = tables.load(catalog, LEDGER)
    if table is None:
        return []
    of_dataset = filters.everything() if dataset is None else filters.equals("dataset", dataset)
    found: list[dict[str, Any]] = table.scan(row_filter=of_dataset).to_arrow().to_pylist()
    found.sort(key=lambda row: (row["committed_at"], row["dataset"], row["received_at"], row["batch_id"]))
    return [{**row, "violations": json.loads(row["violations"])} for row in found]


def append(catalog: Catalog, dataset: str, record: CommitRecord) -> None:
    """Append the rows of a raw commit that the ledger doesn't have yet.

    All datasets and processes share the ledger, so what is missing is worked out anew in every retry.
    """
    tables.ledger_table(catalog)
    with_retries(lambda: _append(catalog, dataset, record), ".".join(LEDGER))


def _append(catalog: Catalog, dataset: str, record: CommitRecord) -> None:
    table = catalog.load_table(LEDGER)
    there = _batch_ids(table, dataset)
    missing = [row for row in _rows(dataset, record) if row["batch_id"] not in there]
    if missing:
        arrow = pa.Table.from_pylist(missing, schema=table.schema().as_arrow())
        table.append(
            arrow, snapshot_properties={RAW_SNAPSHOT: str(record.snapshot_id), "dpipe.dataset": dataset}
        )


def _batch_ids(table: Table, dataset: str) -> set[str]:
    return set(_columns(table, dataset, "batch_id")["batch_id"].to_pylist())


def _columns(table: Table, dataset: str, *names: str) -> pa.Table:
    return table.scan(row_filter=filters.equals("dataset", dataset), selected_fields=names).to_arrow()


def _rows(dataset: str, record: CommitRecord) -> list[dict[str, Any]]:
    committed_at = datetime.fromtimestamp(record.committed_at_ms / 1000, UTC)
    files = [_file(file, "accepted") for file in record.accepted]
    files += [_file(file, "quarantine") for file in record.quarantined]
    return [
        {
            **asdict(entry),
            "received_at": datetime.fromisoformat(entry.received_at),
            "violations": json.dumps(entry.violations),
            "dataset": dataset,
            "snapshot_id": record.snapshot_id,
            "committed_at": committed_at,
            "files": files,
            "previous_hash": record.previous_hash,
            "entry_hash": record.entry_hash,
        }
        for entry in record.batches
    ]


def _file(file: WrittenFile, kind: str) -> dict[str, Any]:
    return {"path": file.path, "kind": kind, "rows": file.rows, "bytes": file.bytes, "sha256": file.sha256}
