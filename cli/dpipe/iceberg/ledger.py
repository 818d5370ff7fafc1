"""The ledger: a row of `dpipe.batches` for each committed batch, one of `dpipe.compactions` for each compaction.

Rows are appended and never changed.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dpipe.iceberg import chain, filters, tables
from dpipe.iceberg.attempt import RAW_SNAPSHOT
from dpipe.iceberg.catalog import COMPACTIONS, LEDGER
from dpipe.iceberg.reading import ColumnCache
from dpipe.iceberg.retry import with_retries

if TYPE_CHECKING:
    from collections.abc import Collection

    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from dpipe.iceberg.attempt import CommitRecord, WrittenFile

# Columns that are JSON, and what stands for them where they are empty.
PARSED = {"violations": "[]", "superseded": "{}", "replayed": "[]", "evolved": "{}"}
# What is asked for several times a commit.
COLUMNS = ("dataset", "batch_id", "received_at", "committed_at", "origin")
MOST_LATEST = 16
_files = ColumnCache()
_latest: dict[tuple[str, str], pa.Table] = {}


def batch_ids(catalog: Catalog, dataset: str) -> set[str]:
    """Ids of the dataset's committed batches."""
    return set(_columns(tables.ledger_table(catalog), dataset)["batch_id"].to_pylist())


def known(catalog: Catalog, dataset: str, batch_ids: Collection[str]) -> set[str]:
    """Which of these batches the ledger has."""
    return _known(tables.ledger_table(catalog), dataset, batch_ids)


def received(catalog: Catalog, dataset: str) -> dict[str, datetime]:
    """When each of the dataset's batches was received, a replay's records with their origin."""
    found = _columns(tables.ledger_table(catalog), dataset)
    of_their_own = found.filter(pc.is_null(found["origin"]))
    return dict(
        zip(of_their_own["batch_id"].to_pylist(), of_their_own["received_at"].to_pylist(), strict=True)
    )


def committed_at(catalog: Catalog, dataset: str) -> dict[str, datetime]:
    """When each of the dataset's batches was committed; none without a ledger, which is not made."""
    table = tables.load(catalog, LEDGER)
    if table is None:
        return {}
    found = _columns(table, dataset)
    return dict(zip(found["batch_id"].to_pylist(), found["committed_at"].to_pylist(), strict=True))


def last_hash(catalog: Catalog, dataset: str) -> str | None:
    """The hash of the dataset's last commit, None without one."""
    names = ("committed_at", "previous_hash", "entry_hash")
    found = pa.concat_tables(
        table.scan(row_filter=filters.equals("dataset", dataset), selected_fields=names).to_arrow()
        for name in (LEDGER, COMPACTIONS)
        if (table := tables.load(catalog, name))
    ).sort_by("committed_at")
    links = zip(found["previous_hash"].to_pylist(), found["entry_hash"].to_pylist(), strict=True)
    return chain.end(list(links))


def rows(catalog: Catalog, dataset: str | None = None) -> list[dict[str, Any]]:
    """The batches' rows in the order of their commits; what is JSON is parsed."""
    table = tables.load(catalog, LEDGER)
    if table is None:
        return []
    of_dataset = filters.everything() if dataset is None else filters.equals("dataset", dataset)
    found: list[dict[str, Any]] = table.scan(row_filter=of_dataset).to_arrow().to_pylist()
    found.sort(key=lambda row: (row["committed_at"], row["dataset"], row["received_at"], row["batch_id"]))
    return [_parsed(row) for row in found]


def of_batches(catalog: Catalog, dataset: str, batch_ids: Collection[str]) -> list[dict[str, Any]]:
    """The rows of these batches, without their files; only files of the ledger that can name one of them are read."""
    table = tables.load(catalog, LEDGER)
    if table is None or not batch_ids:
        return []
    wanted = filters.all_of(filters.equals("dataset", dataset), filters.one_of("batch_id", batch_ids))
    names = [name for name in table.schema().column_names if name != "files"]
    found: list[dict[str, Any]] = (
        table.scan(row_filter=wanted, selected_fields=tuple(names)).to_arrow().to_pylist()
    )
    return [_parsed(row) for row in found]


def of_run(catalog: Catalog, run_id: str) -> list[dict[str, Any]]:
    """The rows of the batches that a run committed, by dataset and id; only files that can name the run are read."""
    table = tables.load(catalog, LEDGER)
    if table is None:
        return []
    found: list[dict[str, Any]] = (
        table.scan(row_filter=filters.equals("run_id", run_id)).to_arrow().to_pylist()
    )
    return [_parsed(row) for row in sorted(found, key=lambda row: (row["dataset"], row["batch_id"]))]


def _parsed(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: json.loads(row.get(name) or empty) for name, empty in PARSED.items()}


def compactions(catalog: Catalog, dataset: str) -> list[dict[str, Any]]:
    """The rows of a dataset's compactions."""
    table = tables.load(catalog, COMPACTIONS)
    if table is None:
        return []
    found: list[dict[str, Any]] = (
        table.scan(row_filter=filters.equals("dataset", dataset)).to_arrow().to_pylist()
    )
    return found


def has(catalog: Catalog, dataset: str, record: CommitRecord) -> bool:
    """Whether the ledger has a raw commit whole."""
    if not record.batches:
        return any(row["snapshot_id"] == record.snapshot_id for row in compactions(catalog, dataset))
    ids = {entry.batch_id for entry in record.batches}
    return ids == known(catalog, dataset, ids)


def append(catalog: Catalog, dataset: str, record: CommitRecord) -> None:
    """Append the rows of a raw commit that the ledger doesn't have yet.

    All datasets and processes share the ledger, so what is missing is worked out anew in every retry.
    """
    if record.batches:
        tables.ledger_table(catalog)
        with_retries(lambda: _append(catalog, dataset, record), ".".join(LEDGER))
    else:
        tables.compactions_table(catalog)
        with_retries(lambda: _append_compaction(catalog, dataset, record), ".".join(COMPACTIONS))


def _append(catalog: Catalog, dataset: str, record: CommitRecord) -> None:
    table = catalog.load_table(LEDGER)
    there = _known(table, dataset, [entry.batch_id for entry in record.batches])
    missing = [row for row in _rows(dataset, record) if row["batch_id"] not in there]
    if missing:
        _append_rows(table, missing, dataset, record)


def _append_compaction(catalog: Catalog, dataset: str, record: CommitRecord) -> None:
    table = catalog.load_table(COMPACTIONS)
    if not has(catalog, dataset, record):
        _append_rows(table, [_of_commit(dataset, record)], dataset, record)


def _append_rows(table: Table, rows: list[dict[str, Any]], dataset: str, record: CommitRecord) -> None:
    arrow = pa.Table.from_pylist(rows, schema=table.schema().as_arrow())
    table.append(arrow, snapshot_properties={RAW_SNAPSHOT: str(record.snapshot_id), "dpipe.dataset": dataset})


def _known(table: Table, dataset: str, batch_ids: Collection[str]) -> set[str]:
    there = _columns(table, dataset)["batch_id"]
    wanted = pa.array(batch_ids, there.type)
    return set(there.filter(pc.is_in(there, value_set=wanted)).to_pylist())


def _columns(table: Table, dataset: str) -> pa.Table:
    """`COLUMNS` of the dataset's rows. A commit asks several times what they are at one state of the ledger."""
    at = (table.metadata_location, dataset)
    found = _latest.get(at)
    if found is None:
        of_dataset = filters.equals("dataset", dataset)
        rows = _files.read(table, list(table.scan(row_filter=of_dataset).plan_files()), COLUMNS)
        found = rows.filter(pc.equal(rows["dataset"], dataset))
        if len(_latest) >= MOST_LATEST:
            _latest.clear()
        _latest[at] = found
    return found


def _rows(dataset: str, record: CommitRecord) -> list[dict[str, Any]]:
    return [
        {
            **asdict(entry),
            "received_at": datetime.fromisoformat(entry.received_at),
            **{name: json.dumps(getattr(entry, name)) for name in PARSED},
            **_of_commit(dataset, record),
        }
        for entry in record.batches
    ]


def _of_commit(dataset: str, record: CommitRecord) -> dict[str, Any]:
    """What a commit's rows share."""
    return {
        "dataset": dataset,
        "snapshot_id": record.snapshot_id,
        "committed_at": datetime.fromtimestamp(record.committed_at_ms / 1000, UTC),
        "files": [_file(file, kind) for kind, of_kind in record.files.by_kind().items() for file in of_kind],
        "previous_hash": record.previous_hash,
        "entry_hash": record.entry_hash,
    }


def _file(file: WrittenFile, kind: str) -> dict[str, Any]:
    return {"path": file.path, "kind": kind, "rows": file.rows, "bytes": file.bytes, "sha256": file.sha256}
