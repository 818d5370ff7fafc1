"""The candidate's standing: was it validated, and is it what is published."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb

from dpipe.errors import UsageError
from dpipe.folders import sync_folder
from dpipe.warehouse.batches import Contents, contents

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project


@dataclass(frozen=True)
class CandidateStatus:
    """`validated` is None as long as nobody looked; ids are None where there is no file."""

    candidate_id: str | None
    validated: bool | None
    published_id: str | None

    @property
    def is_published(self) -> bool:
        """The published file was made from this very candidate."""
        return self.candidate_id is not None and self.candidate_id == self.published_id


def status(project: Project) -> CandidateStatus:
    """Where the candidate stands."""
    candidate, published = read_contents(project.candidate), read_contents(project.marts)
    candidate_id = candidate.candidate_id if candidate else None
    return CandidateStatus(
        candidate_id=candidate_id,
        validated=_verdict(project, candidate_id),
        published_id=published.candidate_id if published else None,
    )


def mark_validated(project: Project, ok: bool, *, candidate_id: str | None = None) -> None:
    """Write down whether the candidate passed its checks.

    `candidate_id` is the one that was checked (`dpipe_meta.candidate` in its file), by default the current one.
    Raises `UsageError` when there is no candidate.
    """
    if candidate_id is None:
        candidate_id = status(project).candidate_id
    if candidate_id is None:
        raise UsageError("there is no candidate to mark as validated", hint="`dpipe transform` builds one")
    path = _verdict_path(project)
    verdict = {"candidate_id": candidate_id, "ok": ok, "checked_at": datetime.now(UTC).isoformat()}
    written = path.with_name(f".{path.name}.tmp")
    written.write_text(json.dumps(verdict, indent=2), encoding="utf-8")
    written.replace(path)
    sync_folder(path.parent)


def read_contents(database: Path) -> Contents | None:
    """What the candidate or the published file holds, None when it isn't there.

    Raises `UsageError` when it can't be read.
    """
    if not database.exists():
        return None
    try:
        return contents(database)
    except (duckdb.Error, ValueError) as error:
        raise UsageError(
            f"`{database}` can't be read: {str(error).splitlines()[0]}",
            hint="if nothing writes to it, delete it and run `dpipe transform --full-refresh`",
        ) from error


def _verdict(project: Project, candidate_id: str | None) -> bool | None:
    path = _verdict_path(project)
    if candidate_id is None or not path.exists():
        return None
    verdict = json.loads(path.read_text(encoding="utf-8"))
    return bool(verdict["ok"]) if verdict["candidate_id"] == candidate_id else None


def _verdict_path(project: Project) -> Path:
    return project.candidate.with_name("candidate.validation.json")
