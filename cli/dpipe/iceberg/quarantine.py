"""Reading the quarantine tables: how many records by reason, and the records themselves."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from dpipe.iceberg import dismissed, filters, ledger, tables
from dpipe.iceberg.catalog import QUARANTINE
from dpipe.iceberg.schema import BATCH_ID, RECORD_NO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from pyiceberg.catalog import Catalog

    from dpipe.iceberg.dismissed import RecordId

REASONS = (BATCH_ID, RECORD_NO, "disposition", "duplicate_kind", "violations")


def datasets(catalog: Catalog) -> list[str]:
    """Datasets that have a quarantine table, sorted."""
    return sorted(name[1] for name in catalog.list_tables(QUARANTINE))


def reasons(
    catalog: Catalog,
    dataset: str,
    *,
    batch: str | None = None,
    rule: str | None = None,
    since: datetime | None = None,
) -> list[dict[str, Any]]:
    """Records by `disposition`, `column` and `rule`; a record that broke several rules counts under each.

    A duplicate's rule is its kind, `identical` or `conflicting`. `open` are those rejected records that nothing has
    become of yet. `batch` is the beginning of a batch id, `rule` the only one to count, `since` when batches were
    committed.
    """
    late = None if since is None else _committed_since(catalog, dataset, since)
    done = settled(catalog, dataset)
    counts: Counter[tuple[str, str | None, str]] = Counter()
    still: Counter[tuple[str, str | None, str]] = Counter()
    for row in _rows(catalog, dataset, REASONS, batch):
        if late is not None and (row[BATCH_ID], row["disposition"] == "duplicate") not in late:
            continue
        if row["disposition"] == "duplicate":
            counts["duplicate", None, row["duplicate_kind"]] += 1
            continue
        broken = {(violation["column"], violation["rule"]) for violation in row["violations"]}
        reasons = [(row["disposition"], *one) for one in broken]
        counts.update(reasons)
        if (row[BATCH_ID], row[RECORD_NO]) not in done:
            still.update(reasons)
    return [
        {
            "dataset": dataset,
            "disposition": reason[0],
            "column": reason[1],
            "rule": reason[2],
            "records": records,
            "open": still[reason],
        }
        for reason, records in counts.most_common()
        if rule is None or reason[2] == rule
    ]


def _committed_since(catalog: Catalog, dataset: str, since: datetime) -> set[tuple[str, bool]]:
    """Batches, and whether it is about duplicates; a replay leaves those alone, and under its origin."""
    rows = [row for row in ledger.rows(catalog, dataset) if row["committed_at"] >= since]
    delivered = {
        (row["batch_id"], duplicate) for row in rows if not row["origin"] for duplicate in (False, True)
    }
    return delivered | {(row["origin"], True) for row in rows if row["origin"]}


def records(
    catalog: Catalog, dataset: str, *, batch: str | None = None, rule: str | None = None, limit: int = 20
) -> list[dict[str, Any]]:
    """At most `limit` records, as rows of the quarantine table, by batch and record number within each file.

    `batch` is the beginning of a batch id; `rule` a rule that the record broke, or a duplicate's kind.
    """
    found: list[dict[str, Any]] = []
    for row in _rows(catalog, dataset, ("*",), batch):
        if rule is not None and rule not in _rules(row):
            continue
        found.append(row)
        if len(found) == limit:
            break
    return sorted(found, key=lambda row: (row[BATCH_ID], row[RECORD_NO]))


def of_batch(
    catalog: Catalog, dataset: str, batch_id: str, *, after: int, limit: int
) -> list[dict[str, Any]]:
    """The rows of a batch by record number, at most `limit` of those after the number `after`."""
    table = tables.load(catalog, (QUARANTINE, dataset))
    if table is None:
        return []
    wanted = filters.all_of(filters.equals(BATCH_ID, batch_id), filters.greater(RECORD_NO, after))
    first: list[dict[str, Any]] = []
    for chunk in table.scan(row_filter=wanted).to_arrow_batch_reader():
        some = chunk.sort_by(RECORD_NO).slice(0, limit).to_pylist()
        first = sorted([*first, *some], key=lambda row: row[RECORD_NO])[:limit]
    return first


def settled(catalog: Catalog, dataset: str) -> set[RecordId]:
    """Records that are no longer open: dismissed, replayed into raw, or then a duplicate of what is there."""
    replays = _replays(catalog, dataset)
    done = dismissed.reasons(catalog, dataset).keys() | _brought(replays)
    origins = {row["origin"] for row in replays}
    if origins:
        done.update(
            (row[BATCH_ID], row[RECORD_NO])
            for row in _rows(catalog, dataset, (BATCH_ID, RECORD_NO, "disposition"))
            if row["disposition"] == "duplicate" and row[BATCH_ID] in origins
        )
    return done


def replayed(catalog: Catalog, dataset: str) -> set[RecordId]:
    """Records that replays brought into raw; they count when later records superseded their rows, too."""
    return _brought(_replays(catalog, dataset))


def _replays(catalog: Catalog, dataset: str) -> list[dict[str, Any]]:
    """The ledger's rows of replays."""
    return [row for row in ledger.rows(catalog, dataset) if row.get("origin")]


def _brought(replays: list[dict[str, Any]]) -> set[RecordId]:
    return {
        (row["origin"], number)
        for row in replays
        for first, last in row["replayed"]
        for number in range(first, last + 1)
    }


def open_records(
    catalog: Catalog, dataset: str, *, batch: str | None = None, rule: str | None = None
) -> Iterator[dict[str, Any]]:
    """Rejected records that nothing has become of yet, as rows of the quarantine table; each once.

    `batch` is the beginning of a batch id; `rule` a rule that the record broke.
    """
    seen = settled(catalog, dataset)
    for row in _rows(catalog, dataset, ("*",), batch):
        identity = row[BATCH_ID], row[RECORD_NO]
        if row["disposition"] != "rejected" or identity in seen:
            continue
        if rule is None or rule in _rules(row):
            seen.add(identity)
            yield row


def _rules(row: dict[str, Any]) -> set[str]:
    return {violation["rule"] for violation in row["violations"]} | {
        row["duplicate_kind"] or row["disposition"]
    }


def _rows(
    catalog: Catalog, dataset: str, columns: tuple[str, ...], batch: str | None = None
) -> Iterator[dict[str, Any]]:
    table = tables.load(catalog, (QUARANTINE, dataset))
    if table is None:
        return
    of_batch = filters.everything() if batch is None else filters.starts_with(BATCH_ID, batch)
    for chunk in table.scan(row_filter=of_batch, selected_fields=columns).to_arrow_batch_reader():
        yield from chunk.to_pylist()
