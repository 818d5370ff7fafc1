"""What datasets and runs are called in OpenLineage, by its naming conventions."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dpipe.lineage.build import API
from dpipe.warehouse.snowflake.session import names_of, settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.lineage.graph import Table
    from dpipe.settings import Project

FILE = "file"
# Parts of a name that says its database, too.
WITH_DATABASE = 3
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


def snowflake_namespace(account: str) -> str:
    """`snowflake://<organisation>-<account>`, or with the account's locator where the settings have that.

    What follows the former says how it is reached, such as `.privatelink`, and not which account it is.
    """
    first = account.partition(".")[0]
    return f"snowflake://{first if '-' in first else account}"


class Names:
    """Names of a project's datasets; what dbt builds is where the project's target has it."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._is_snowflake = project.settings.target == "snowflake"
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
        if self._is_snowflake and len(table.name.split(".")) == WITH_DATABASE:
            return self._of_snowflake(table.name)
        return self.candidate(table.name)

    def candidate(self, table: str) -> Dataset:
        """What dbt builds, `<schema>.<table>`."""
        if self._is_snowflake:
            return self._of_snowflake(f"{names_of(self._project).candidate}.{table}")
        return of_warehouse(self._project.candidate, table)

    def published(self, table: str) -> Dataset:
        """A mart as readers have it."""
        if self._is_snowflake:
            return self._of_snowflake(f"{names_of(self._project).marts}.{table}")
        return of_warehouse(self._project.marts, table)

    def _of_snowflake(self, table: str) -> Dataset:
        """A table by its full name; in capitals, as Snowflake has names that nobody quotes."""
        return Dataset(snowflake_namespace(settings_of(self._project).account), table.upper())

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
