"""DuckDB as the warehouse: the candidate and the published marts are a file each, and dbt reads the lake in place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dpipe.warehouse import batches, samples
from dpipe.warehouse.build_folder import BuildFolder, install
from dpipe.warehouse.candidate import read_contents, verdict
from dpipe.warehouse.dbt_process import run_dbt
from dpipe.warehouse.history import carry_over
from dpipe.warehouse.publication import strip

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dpipe.settings import Project
    from dpipe.warehouse.batches import Batch, Contents
    from dpipe.warehouse.dbt_results import DbtReport


class DuckDbTarget:
    """See `Target`. A build is a file in a private folder, which takes its place whole."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.folder = BuildFolder.of(project)
        self.candidate = str(project.candidate)
        self.build = str(self.folder.database)
        self.published = str(project.marts)

    def contents(self) -> Contents | None:
        return read_contents(self._project.candidate)

    def validated(self, candidate_id: str) -> bool | None:
        return verdict(self._project, candidate_id)

    def published_contents(self) -> Contents | None:
        return read_contents(self._project.marts)

    def published_tables(self) -> set[str]:
        return batches.tables(self._project.marts)

    def load(self, locations: Mapping[str, str]) -> None:
        self.folder.write_locations(locations)

    def loaded(self) -> None:
        return None

    def begin(self, to_transform: Iterable[Batch], *, upon_published: bool) -> None:
        self.folder.begin(self.folder.database, self._project.marts if upon_published else None)
        if not upon_published and self._project.marts.exists():
            carry_over(self._project.marts, self.folder.database)
        batches.begin(self.folder.database, to_transform)

    def run_dbt(self, command: Sequence[str], *, lock: int) -> DbtReport:
        plugin = {
            "module": "dpipe.warehouse.dbt_plugin",
            "config": {"locations": str(self.folder.locations)},
        }
        output = {
            "type": "duckdb",
            "path": str(self.folder.database),
            "schema": "main",
            "threads": os.cpu_count() or 1,
            "plugins": [plugin],
        }
        return run_dbt(command, self._project.transform, self.folder, output, lock=lock)

    def raise_for_failures(self, report: DbtReport, *, hint: str | None) -> None:
        report.raise_for_failures(
            str(self.folder.database), hint=hint, rows_of=lambda test: samples.rows_of(test, self.folder)
        )

    def finish(self, project_hash: str, run_id: str) -> None:
        batches.finish(self.folder.database, project_hash, run_id)
        install(self.folder.database, self._project.candidate)

    def mart_rows(self) -> dict[str, int]:
        return batches.mart_rows(self._project.candidate)

    def candidate_bytes(self) -> int:
        return self._project.candidate.stat().st_size

    def detail(self) -> dict[str, Any]:
        return {}

    def publish(self) -> None:
        """Readers that have the old file open go on reading it; who opens the file afterwards reads the new one."""
        self.folder.begin(self.folder.publication, self._project.candidate)
        strip(self.folder.publication)
        install(self.folder.publication, self._project.marts)

    def published_rows(self) -> dict[str, int]:
        return batches.mart_rows(self._project.marts)

    def published_bytes(self) -> int:
        return self._project.marts.stat().st_size if self._project.marts.exists() else 0
