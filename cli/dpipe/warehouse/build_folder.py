"""Where a candidate is built: a private folder, so that nobody meets half a file."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dpipe.folders import make_private, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dpipe.settings import Project


@dataclass(frozen=True)
class BuildFolder:
    """Paths of a build, the same every time; only the holder of the warehouse's lock uses them."""

    root: Path

    @classmethod
    def of(cls, project: Project, target: str | None = None) -> BuildFolder:
        """The project's build folder for a target, by default DuckDB, made on the first call."""
        return cls(make_private(folder_of(project, target)))

    @property
    def database(self) -> Path:
        """The file under construction.

        It has its final name from the start: DuckDB calls a database after its file, and its views say so.
        """
        return self.root / "candidate.duckdb"

    @property
    def publication(self) -> Path:
        """The copy of the candidate that becomes the published file."""
        return self.root / "publication.duckdb"

    @property
    def locations(self) -> Path:
        """Metadata files of the lake's tables at the start of the build."""
        return self.root / "lake.json"

    @property
    def dbt(self) -> Path:
        """Profile, target and logs of dbt."""
        return self.root / "dbt"

    def manifest(self, project_hash: str) -> dict[str, Any] | None:
        """dbt's manifest, when it is of that state of the dbt project."""
        try:
            if self._parsed.read_text(encoding="utf-8") != project_hash:
                return None
            found: dict[str, Any] = json.loads((self.dbt / "target" / "manifest.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return found

    @contextmanager
    def parsing(self, project_hash: str) -> Iterator[None]:
        """A block in which dbt may write its manifest, of that state of the dbt project if nothing fails."""
        self._parsed.unlink(missing_ok=True)
        yield
        self._parsed.write_text(project_hash, encoding="utf-8")

    @property
    def _parsed(self) -> Path:
        return self.root / "parsed"

    def begin(self, database: Path, source: Path | None) -> None:
        """Have `database` be a copy of `source`, or nothing; what an earlier build left is removed."""
        for left in (database, database.with_name(f"{database.name}.wal")):
            left.unlink(missing_ok=True)
        if source is not None:
            shutil.copyfile(source, database)

    def write_locations(self, locations: Mapping[str, str]) -> None:
        """Fix what the build sees of the lake."""
        self.locations.write_text(json.dumps(locations, indent=2), encoding="utf-8")


def folder_of(project: Project, target: str | None = None) -> Path:
    """Where a target is built, by default DuckDB, whether anything was or not."""
    return project.candidate.parent / ("build" if target in {None, "duckdb"} else f"build-{target}")


def install(built: Path, target: Path) -> None:
    """Put a closed database file in the place of `target` at once and durably.

    Readers that have the old file open keep reading it; a crash leaves either the old one or the new one.
    """
    with built.open("rb") as stream:
        os.fsync(stream.fileno())
    built.replace(target)
    sync_folder(target.parent)
