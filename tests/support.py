"""What several tests share: small projects in a temporary folder, and a look at their lake."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import warm
import yaml
from dpipe import landing
from dpipe.iceberg import open_catalog, tables
from dpipe.iceberg.attempt import Attempt, BatchEntry, Files, WrittenFile
from dpipe.iceberg.storage import local_path
from dpipe.landing import payload_place
from dpipe.settings import Project, load_project
from dpipe.stages.audit.verify import verify
from dpipe.stages.process import process
from dpipe.state import runs

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

    from dpipe.landing import Manifest
    from dpipe.stages.process import ProcessResult
    from pyiceberg.catalog import Catalog

ORDERS = """\
apiVersion: v3.1.0
kind: DataContract
id: orders
name: orders
version: 1.0.0
status: active
schema:
  - name: orders
    physicalType: table
    description: One row per order
    properties:
      - {name: order_id, logicalType: integer, physicalType: long, required: true, primaryKey: true,
         primaryKeyPosition: 1, description: Number of the order}
      - {name: day, logicalType: date, required: true, primaryKey: true, primaryKeyPosition: 2,
         partitioned: true, partitionKeyPosition: 1, description: Day of the order}
      - {name: amount, logicalType: number, physicalType: double, logicalTypeOptions: {minimum: 0},
         description: Amount in euros}
"""
UPSERT = ORDERS.replace(
    "    properties:\n",
    "    customProperties: [{property: dpipe.writeMode, value: upsert}]\n    properties:\n",
)


def make_project(
    folder: Path,
    contracts: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Project:
    """A project in `folder`: contracts (dataset → YAML text; `orders` alone by default) and settings."""
    configs = folder / "configs"
    (configs / "contracts").mkdir(parents=True, exist_ok=True)
    document = {"name": "test", **(settings or {}), "profiles": {"local": {}}}
    (configs / "dpipe.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    for name, text in (contracts if contracts is not None else {"orders": ORDERS}).items():
        (configs / "contracts" / f"{name}.odcs.yaml").write_text(text, encoding="utf-8")
    return load_project(folder)


def land(project: Project, content: str, name: str = "a.csv") -> str:
    """Land a file of orders with this content; its batch's id."""
    path = project.root / name
    path.write_text(content)
    return landing.land_file(project, "orders", path).manifest.batch_id


def processed(project: Project) -> ProcessResult:
    """Process what has landed of the project's only dataset."""
    with runs.recorded(project, "process") as run:
        (result,) = process(project, run=run)
    return result


def ingest(project: Project, content: str) -> ProcessResult:
    """Land orders and process them."""
    land(project, content)
    return processed(project)


def assert_holds(project: Project) -> None:
    """The audit of the project's only dataset finds nothing."""
    (audit,) = verify(project)
    assert audit.findings == []


def run_dpipe(
    project: Project, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, quietly, on the project."""
    return warm.run(
        ["-q", "--project", str(project.root), *arguments],
        environment={**os.environ, **(environment or {})},
        seconds=300,
    )


def payload_path(project: Project, manifest: Manifest) -> Path:
    """Where a batch's bytes are on this machine's disk."""
    return Path(payload_place(project, manifest))


def batch_entry(batch_id: str, accepted: int, *, rejected: int = 0, duplicate: int = 0) -> BatchEntry:
    """A batch as the commit takes it."""
    return BatchEntry(
        batch_id=batch_id,
        kind="file",
        source="/somewhere/orders.csv",
        sha256="0" * 64,
        bytes=100,
        received_at="2026-01-01T00:00:00.000000+00:00",
        contract="c" * 64,
        contract_version="1.0.0",
        records_in=accepted + rejected + duplicate,
        accepted=accepted,
        rejected=rejected,
        duplicate=duplicate,
        run_id="run",
        violations=[],
    )


def write_parquet(
    catalog: Catalog,
    name: tuple[str, str],
    rows: Sequence[Mapping[str, Any]],
    partition: dict[str, Any] | None = None,
) -> WrittenFile:
    """Write rows as a data file of the table, as the kernel would; the table doesn't reference it yet."""
    table = catalog.load_table(name)
    location = f"{table.location()}/data/{uuid.uuid4()}.parquet"
    path = Path(local_path(location))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=table.schema().as_arrow()), path)
    content = path.read_bytes()
    return WrittenFile(
        location, len(rows), len(content), hashlib.sha256(content).hexdigest(), partition or {}
    )


def attempt_of(
    project: Project,
    batches: Sequence[BatchEntry],
    accepted: Sequence[WrittenFile] = (),
    quarantined: Sequence[WrittenFile] = (),
    *,
    dataset: str = "orders",
    depends_on_rows: bool = False,
) -> Attempt:
    """An attempt on top of what the table holds now."""
    table = open_catalog(project).load_table(("raw", dataset))
    head = table.current_snapshot()
    return Attempt(
        dataset=dataset,
        batches=list(batches),
        files=Files(list(accepted), list(quarantined)),
        read_snapshot_id=head.snapshot_id if head else None,
        depends_on_rows=depends_on_rows,
    )


def rows_of(project: Project, namespace: str, dataset: str) -> list[dict[str, Any]]:
    """All rows of a table of the lake in a fixed order; none when it doesn't exist."""
    table = tables.load(open_catalog(project), (namespace, dataset))
    if table is None:
        return []
    found: list[dict[str, Any]] = table.scan().to_arrow().to_pylist()
    return sorted(found, key=repr)


def lake_content(project: Project, dataset: str = "orders") -> dict[str, list[dict[str, Any]]]:
    """What a dataset's tables and ledger hold, without what differs from one attempt to the next."""
    passing = {
        "snapshot_id",
        "committed_at",
        "run_id",
        "received_at",
        "files",
        "source",
        "previous_hash",
        "entry_hash",
    }
    return {
        "raw": rows_of(project, "raw", dataset),
        "quarantine": rows_of(project, "quarantine", dataset),
        "batches": [
            {key: value for key, value in row.items() if key not in passing}
            for row in rows_of(project, "dpipe", "batches")
            if row["dataset"] == dataset
        ],
    }
