"""What datasets and runs are called in OpenLineage, by its naming conventions."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dpipe.lineage.build import API

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.lineage.graph import Table
    from dpipe.settings import Project

FILE = "file"
_RUN_ID_TIME = "%Y%m%dT%H%M%S"


@dataclass(frozen=True)
class Dataset:
    """A dataset's two names."""

    namespace: str
    name: str


def run_uuid(run_id: str, job: str = "") -> str:
    """The UUID (version 7) of a run, or of a job in it: the same whenever it is asked for.

    It begins with the time in the run's id, the rest is a hash.
    """
    began = datetime.strptime(run_id.partition("-")[0], _RUN_ID_TIME).replace(tzinfo=UTC)
    digest = hashlib.sha256(f"{run_id}\0{job}".encode()).digest()
    content = bytearray(int(began.timestamp() * 1000).to_bytes(6, "big") + digest[:10])
    content[6] = content[6] & 0x0F | 0x70
    content[8] = content[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(content)))


def of_location(location: str) -> Dataset:
    """A path or a URI of files: `file` and the path, `s3://bucket` and the key."""
    parts = urlsplit(location)
    if parts.scheme in {"", FILE}:
        return Dataset(FILE, parts.path or location)
    return Dataset(f"{parts.scheme}://{parts.netloc}", parts.path.strip("/") or "/")


def of_warehouse(database: Path, table: str) -> Dataset:
    """A table of a DuckDB file: `duckdb://` with its path, and database, schema and table."""
    return Dataset(f"duckdb://{database}", f"{database.stem}.{table}")


class Names:
    """Names of a project's datasets."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lake: dict[str, Dataset] = {}

    def of(self, table: Table) -> Dataset:
        """A table of the graph. What dbt builds is in the candidate, which `publish` puts in the place of the marts."""
        if table.kind == "source":
            return self.source(table.name)
        if table.kind == "landing":
            folder = self._project.landing_bucket or self._project.landing
            return of_location(f"{folder}/{table.name.partition('.')[2]}")
        if table.kind in {"raw", "quarantine"}:
            return self.lake(table.name)
        return of_warehouse(self._project.candidate, table.name)

    def lake(self, name: str) -> Dataset:
        """An Iceberg table of the lake, `raw.flights`: where its files are, which a catalog may decide."""
        if name not in self._lake:
            from dpipe.iceberg import open_catalog, tables

            namespace, _, table = name.partition(".")
            found = tables.load(open_catalog(self._project), (namespace, table))
            location = f"{self._project.warehouse}/{namespace}/{table}" if found is None else found.location()
            self._lake[name] = of_location(location)
        return self._lake[name]

    def source(self, source: str) -> Dataset:
        """What feeds a dataset: files, a stream (`kinesis://…` or its ARN), or the API."""
        if source == API:
            return Dataset(f"dpipe://{self._project.settings.name}", "api")
        if source.startswith("arn:"):  # arn:aws:kinesis:eu-west-1:123456789012:stream/flights
            _, _, service, _, _, name = source.split(":", 5)
            return Dataset(f"{service}://{name.rpartition('/')[2]}", "/")
        if "://" in source:
            return of_location(source.partition("?")[0])
        return of_location(str(self._project.root / source))
