"""Snowflake as the warehouse: copies of the lake's tables, a database for the candidate and one for published marts."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from dpipe.contract.quality import quoted
from dpipe.warehouse.batches import Batch, Contents, rows_to_select
from dpipe.warehouse.build_folder import BuildFolder
from dpipe.warehouse.dbt_process import run_dbt
from dpipe.warehouse.history import SNAPSHOTS
from dpipe.warehouse.publication import PUBLISHED_SCHEMAS
from dpipe.warehouse.snowflake import lake
from dpipe.warehouse.snowflake.built import Built
from dpipe.warehouse.snowflake.profile import profile_of
from dpipe.warehouse.snowflake.samples import rows_of
from dpipe.warehouse.snowflake.session import names_of, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dpipe.settings import Project
    from dpipe.warehouse.dbt_results import DbtReport
    from dpipe.warehouse.snowflake.load import TableLoad
    from dpipe.warehouse.snowflake.session import Session

META = "DPIPE_META"
PUBLISHED = tuple(name.upper() for name in PUBLISHED_SCHEMAS if name != "main")
OWN_SCHEMAS = ("INFORMATION_SCHEMA", "PUBLIC")


class SnowflakeTarget:
    """See `Target`. A build clones the published schemas, which copies nothing, and publication swaps two databases."""

    def __init__(self, project: Project, session: Session) -> None:
        self._project = project
        self._session = session
        self._names = names_of(project)
        self.folder = BuildFolder.of(project, "snowflake")
        self.build = self._names.build
        self.candidate = self._names.candidate
        self.published = self._names.marts
        self._dbt_seconds = 0.0
        self._holder: str | None = None
        self._load_seconds = 0.0
        self._loaded: list[TableLoad] = []

    def contents(self) -> Contents | None:
        return self._contents(self._latest())

    def validated(self, candidate_id: str) -> bool | None:  # noqa: ARG002 - of the protocol
        """By dbt's tests, without which nothing is finished; suites of `checks/marts` run in DuckDB."""
        return True

    def published_contents(self) -> Contents | None:
        return self._contents(self.published)

    def published_tables(self) -> set[str]:
        return {f"{schema}.{table}".lower() for schema, table in self._tables(self.published)}

    def load(self, locations: Mapping[str, str]) -> None:
        try:
            lake.load_lake(self._project, self._session, locations, on_table=self._loaded.append)
        finally:
            self._load_seconds = self._session.seconds

    def loaded(self) -> dict[str, Any]:
        return lake.detail(self._project, self._loaded, self._load_seconds)

    def begin(self, to_transform: Iterable[Batch], *, upon_published: bool) -> None:
        # Left by a publication that broke off.
        for database in (self.build, self.candidate):
            self._session.execute(f"revoke usage on database {database} from role {self._names.reader}")
        for schema in self._schemas(self.build):
            self._session.execute(f"drop schema {self.build}.{quoted(schema)} cascade")
        published = self._schemas(self.published)
        for schema in published if upon_published else {SNAPSHOTS.upper()}.intersection(published):
            self._session.execute(
                f"create or replace schema {self.build}.{quoted(schema)} "
                f"clone {self.published}.{quoted(schema)}"
            )
        self._write_batches(list(to_transform))

    def run_dbt(self, command: Sequence[str], *, lock: int) -> DbtReport:
        # The lake's database is a variable, since sources are in another one than models.
        variables = json.dumps({"lake_database": self._names.lake})
        started = time.perf_counter()
        report = run_dbt(
            [*command, "--vars", variables],
            self._project.transform,
            self.folder,
            profile_of(self._project, settings_of(self._project), self._names),
            lock=lock,
        )
        self._dbt_seconds += time.perf_counter() - started
        return report

    def raise_for_failures(self, report: DbtReport, *, hint: str | None) -> None:
        report.raise_for_failures(self.build, hint=hint, rows_of=lambda test: rows_of(test, self._session))

    def finish(self, project_hash: str, run_id: str) -> None:
        meta = f"{self.build}.{META}"
        self._session.execute(f"drop table if exists {meta}.CANDIDATE")
        self._session.execute(
            f"create table {meta}.CANDIDATE "
            "(candidate_id varchar, project_hash varchar, run_id varchar, built_at timestamp_ltz)"
        )
        with self._session.transaction():
            self._session.execute(
                f"insert into {meta}.TRANSFORMED_BATCHES "  # noqa: S608 - a name of ours
                f"select dataset, batch_id, snapshot_id, current_timestamp() from {meta}.BATCHES_BEGUN"
            )
            self._session.execute(
                f"insert into {meta}.CANDIDATE select ?, ?, ?, current_timestamp()",
                [str(uuid.uuid4()), project_hash, run_id],
            )
        built = Built(run_id, self._begun(), self._columns(self.build))
        self._session.execute(f"alter database {self.candidate} swap with {self.build}")
        self._holder = self.candidate
        built.keep(self.folder.root)

    def mart_rows(self) -> dict[str, int]:
        return self._rows(self._latest())

    def candidate_bytes(self) -> int:
        return self._bytes(self._latest())

    def detail(self) -> dict[str, Any]:
        return {
            "warehouse_seconds": round(self._session.seconds - self._load_seconds + self._dbt_seconds, 3),
            "warehouse_size": settings_of(self._project).warehouse_size,
        }

    def publish(self) -> None:
        """One statement; queries that run go on with what they began to read."""
        for schema in self._schemas(self.candidate):
            if schema not in PUBLISHED:
                self._session.execute(f"drop schema {self.candidate}.{quoted(schema)} cascade")
        # Grants go with a database when it is swapped.
        reader = self._names.reader
        self._session.execute(f"grant usage on database {self.candidate} to role {reader}")
        self._session.execute(f"grant usage on schema {self.candidate}.MARTS to role {reader}")
        self._session.execute(f"grant select on all tables in schema {self.candidate}.MARTS to role {reader}")
        self._session.execute(f"alter database {self.published} swap with {self.candidate}")
        self._holder = self.published
        self._session.execute(f"revoke usage on database {self.candidate} from role {reader}")

    def published_rows(self) -> dict[str, int]:
        return self._rows(self.published)

    def published_bytes(self) -> int:
        return self._bytes(self.published)

    def _bytes(self, database: str) -> int:
        found = self._session.execute(
            f"select coalesce(sum(bytes), 0) from {database}.information_schema.tables "  # noqa: S608
            "where table_schema = 'MARTS'"
        )
        return int(found[0][0])

    def _latest(self) -> str:
        """The database with the last candidate: after a swap it is the published one, and the other an older one.

        Asked once: afterwards only `finish` and `publish` change it.
        """
        if self._holder is None:
            built, published = (self._named(database) for database in (self.candidate, self.published))
            newer = built and (not published or built[2] > published[2])
            self._holder = self.candidate if newer else self.published
        return self._holder

    def _named(self, database: str) -> tuple[str, str, Any] | None:
        """A database's candidate: its id, the dbt project's hash, and when it was finished."""
        if (META, "CANDIDATE") not in self._tables(database):
            return None
        rows = self._session.execute(
            f"select candidate_id, project_hash, built_at from {database}.{META}.CANDIDATE"  # noqa: S608
        )
        return (str(rows[0][0]), str(rows[0][1]), rows[0][2]) if rows else None

    def _contents(self, database: str) -> Contents | None:
        named = self._named(database)
        if named is None:
            return None
        held = self._session.execute(
            f"select dataset, batch_id, snapshot_id from {database}.{META}.TRANSFORMED_BATCHES"  # noqa: S608
        )
        return Contents(
            candidate_id=named[0],
            project_hash=named[1],
            batches=frozenset(Batch(str(row[0]), str(row[1]), int(row[2])) for row in held),
        )

    def _begun(self) -> list[tuple[str, str]]:
        found = self._session.execute(
            f"select dataset, batch_id from {self.build}.{META}.BATCHES_BEGUN order by 1, 2"  # noqa: S608
        )
        return [(str(dataset), str(batch_id)) for dataset, batch_id in found]

    def _columns(self, database: str) -> dict[str, list[tuple[str, str]]]:
        """Names and types of every table and view."""
        found = self._session.execute(
            "select table_schema, table_name, column_name, data_type "  # noqa: S608
            f"from {database}.information_schema.columns order by table_schema, table_name, ordinal_position"
        )
        columns: dict[str, list[tuple[str, str]]] = {}
        for schema, table, name, kind in found:
            if schema not in OWN_SCHEMAS:
                columns.setdefault(f"{schema}.{table}".lower(), []).append((str(name), str(kind).lower()))
        return columns

    def _write_batches(self, begun: list[Batch]) -> None:
        meta = f"{self.build}.{META}"
        columns = "dataset varchar, batch_id varchar, snapshot_id number(19,0)"
        self._session.execute(f"create schema if not exists {meta}")
        self._session.execute(
            f"create table if not exists {meta}.TRANSFORMED_BATCHES ({columns}, transformed_at timestamp_ltz)"
        )
        # Of the base: this one is not the candidate before it is finished.
        self._session.execute(f"drop table if exists {meta}.CANDIDATE")
        self._session.execute(f"create or replace table {meta}.BATCHES_BEGUN ({columns})")
        self._session.insert(
            f"{meta}.BATCHES_BEGUN", [(one.dataset, one.batch_id, one.snapshot_id) for one in begun]
        )
        self._session.execute(
            f"create or replace table {meta}.BATCHES_TO_TRANSFORM ({columns}, received_at timestamp_ntz)"
        )
        self._session.insert(
            f"{meta}.BATCHES_TO_TRANSFORM",
            [
                (one.dataset, one.batch_id, one.snapshot_id, one.received_at)
                for one in sorted(rows_to_select(begun), key=lambda one: (one.dataset, one.batch_id))
            ],
        )

    def _schemas(self, database: str) -> list[str]:
        found = self._session.execute(
            f"select schema_name from {database}.information_schema.schemata order by 1"  # noqa: S608
        )
        return [str(name) for (name,) in found if name not in OWN_SCHEMAS]

    def _tables(self, database: str) -> set[tuple[str, str]]:
        found = self._session.execute(
            f"select table_schema, table_name from {database}.information_schema.tables "  # noqa: S608
            "where table_type = 'BASE TABLE'"
        )
        return {(str(schema), str(table)) for schema, table in found}

    def _rows(self, database: str) -> dict[str, int]:
        counts = {}
        for schema, table in sorted(self._tables(database)):
            if schema == "MARTS":
                counted = self._session.execute(
                    f"select count(*) from {database}.MARTS.{quoted(table)}"  # noqa: S608
                )
                counts[f"marts.{table.lower()}"] = int(counted[0][0])
        return counts
