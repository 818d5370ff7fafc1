"""The candidate's standing: was it validated, and is it what is published."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb

from dpipe.errors import UsageError
from dpipe.folders import replace_text, sync_folder
from dpipe.warehouse.batches import Contents, contents

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project
    from dpipe.warehouse.target import Target


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


def status(target: Target) -> CandidateStatus:
    """Where the candidate stands."""
    candidate, published = target.contents(), target.published_contents()
    candidate_id = candidate.candidate_id if candidate else None
    return CandidateStatus(
        candidate_id=candidate_id,
        validated=target.validated(candidate_id) if candidate_id else None,
        published_id=published.candidate_id if published else None,
    )


def mark_validated(project: Project, ok: bool, *, candidate_id: str | None = None) -> None:
    """Write down whether the candidate, DuckDB's file, passed its checks.

    `candidate_id` is the one that was checked (`dpipe_meta.candidate` in its file), by default the current one.
    Raises `UsageError` when there is no candidate.
    """
    if candidate_id is None:
        candidate = read_contents(project.candidate)
        if candidate is None:
            raise UsageError(
                "there is no candidate to mark as validated", hint="`dpipe transform` builds one"
            )
        candidate_id = candidate.candidate_id
    path = _verdict_path(project)
    found = {"candidate_id": candidate_id, "ok": ok, "checked_at": datetime.now(UTC).isoformat()}
    replace_text(path, json.dumps(found, indent=2))
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


def verdict(project: Project, candidate_id: str) -> bool | None:
    """Whether DuckDB's candidate passed its checks, None when nobody looked."""
    path = _verdict_path(project)
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return bool(found["ok"]) if found["candidate_id"] == candidate_id else None


def _verdict_path(project: Project) -> Path:
    return project.candidate.with_name("candidate.validation.json")
