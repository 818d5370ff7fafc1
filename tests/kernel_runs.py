"""One run of the kernel over some bytes, and everything it made of them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from dpipe import _kernel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dpipe.contract import Plan

# The kernel makes its files durable; on a disk that would be most of a run.
MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Refused:
    """A record that is in the quarantine: why, its bytes, and where they are."""

    disposition: str
    """`rejected`, `identical` or `conflicting`."""
    violations: tuple[tuple[str | None, str], ...]
    """Column and rule of each, in the kernel's order; none for a duplicate."""
    raw: bytes
    offset: int | None
    line: int | None
    winner: tuple[str, int] | None
    """Batch and record number of the record that has a duplicate's key."""


@dataclass(frozen=True)
class Run:
    """What became of every record, by batch id and record number."""

    batches: list[dict[str, Any]]
    """The kernel's counts of each source."""
    rows: dict[tuple[str, int], dict[str, Any]]
    """Values of the plan's columns of accepted records."""
    refused: dict[tuple[str, int], Refused]
    accepted_files: list[bytes]
    """The Parquet files that hold the rows."""

    def of_batch(self, batch: str = "batch") -> list[dict[str, Any] | Refused]:
        """Each record of a batch in its order."""
        records: dict[tuple[str, int], dict[str, Any] | Refused] = {**self.rows, **self.refused}
        return [records[key] for key in sorted(records) if key[0] == batch]


def run_sources(
    plan: Plan,
    contents: Mapping[str, bytes],
    form: str,
    *,
    compression: str | None = "none",
    batch_size: int = 100_000,
    threads: int = 1,
    key_bytes: int = 1 << 30,
) -> Run:
    """Run the kernel over `contents` (batch id → a file's bytes), all of the format `form`."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        folder = Path(name)
        sources = []
        for number, (batch_id, content) in enumerate(contents.items()):
            path = folder / str(number)
            path.write_bytes(content)
            source = {"batch_id": batch_id, "path": str(path), "format": form, "compression": compression}
            sources.append(source)
        answer = _kernel.process(
            plan.to_json(),
            sources,
            data_dir=str(folder / "data"),
            quarantine_dir=str(folder / "quarantine"),
            batch_size=batch_size,
            threads=threads,
            key_bytes=key_bytes,
        )
        return _collected(plan, answer["batches"], answer["files"])


def run_bytes(plan: Plan, content: bytes, form: str, **options: Any) -> Run:
    """The same for one source, whose batch id is `batch`."""
    return run_sources(plan, {"batch": content}, form, **options)


def _collected(plan: Plan, batches: list[dict[str, Any]], files: Sequence[dict[str, Any]]) -> Run:
    names = [column.name for column in plan.columns]
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    refused: dict[tuple[str, int], Refused] = {}
    accepted_files = [Path(file["path"]).read_bytes() for file in files if file["kind"] == "accepted"]
    for file in files:
        found = pq.ParquetFile(file["path"]).read().to_pylist()
        assert len(found) == file["rows"]
        for row in found:
            key = (row["_dpipe_batch_id"], row["_dpipe_record_no"])
            assert key not in rows
            assert key not in refused
            if file["kind"] == "accepted":
                rows[key] = {name: row[name] for name in names}
            else:
                refused[key] = _refused(row)
    _account(batches, rows, refused)
    return Run(batches, rows, refused, accepted_files)


def _refused(row: dict[str, Any]) -> Refused:
    is_duplicate = row["disposition"] == "duplicate"
    violations = tuple((found["column"], found["rule"]) for found in row["violations"])
    return Refused(
        disposition=row["duplicate_kind"] if is_duplicate else row["disposition"],
        violations=() if is_duplicate else violations,
        raw=row["raw"],
        offset=row["byte_offset"],
        line=row["line"],
        winner=(row["winner_batch_id"], row["winner_record_no"]) if is_duplicate else None,
    )


def _account(
    batches: list[dict[str, Any]],
    rows: dict[tuple[str, int], dict[str, Any]],
    refused: dict[tuple[str, int], Refused],
) -> None:
    """Every record is in exactly one place, and the counts say so."""
    for batch in batches:
        batch_id = batch["batch_id"]
        numbers = sorted(key[1] for key in (*rows, *refused) if key[0] == batch_id)
        assert numbers == list(range(1, batch["records_in"] + 1))
        rejected = sum(
            record.disposition == "rejected" for key, record in refused.items() if key[0] == batch_id
        )
        duplicate = sum(key[0] == batch_id for key in refused) - rejected
        accepted = sum(key[0] == batch_id for key in rows)
        assert (accepted, rejected, duplicate) == (batch["accepted"], batch["rejected"], batch["duplicate"])
