"""Upon whose work a job builds: which runs landed its batches, committed them and built the candidate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import duckdb

from dpipe.iceberg import ledger, open_catalog
from dpipe.state import runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dpipe.settings import Project

MOST = 100
# A batch is received while its ingest goes on, which may have begun so long before.
LONGEST_INGEST = timedelta(days=1)


@dataclass(frozen=True)
class Upstream:
    """A job of a run, by dpipe's id of the run."""

    run_id: str
    job: str


def ingests(project: Project, dataset: str, rows: Sequence[Mapping[str, Any]]) -> list[Upstream]:
    """The runs that landed the batches of these rows of the ledger; what came by the API no run has landed."""
    times = [row["received_at"] for row in rows if row["received_at"] is not None]
    if not times:
        return []
    wanted = {row["batch_id"] for row in rows}
    found = runs.stages_between(project, "ingest", dataset, min(times) - LONGEST_INGEST, max(times))
    names = [
        row["run_id"]
        for row in found
        if wanted & {batch["batch_id"] for batch in json.loads(row["detail"] or "{}").get("batches", ())}
    ]
    return [Upstream(name, f"ingest.{dataset}") for name in list(dict.fromkeys(names))[-MOST:]]


def processes(project: Project, batches: Sequence[tuple[str, str]]) -> list[Upstream]:
    """The runs that committed these batches, each a dataset and an id."""
    of_dataset: dict[str, set[str]] = {}
    for dataset, batch_id in batches:
        of_dataset.setdefault(dataset, set()).add(batch_id)
    catalog = open_catalog(project)
    found: list[Upstream] = []
    for dataset, ids in of_dataset.items():
        names = {row["run_id"] for row in ledger.of_batches(catalog, dataset, sorted(ids)[:MOST_LOOKED_FOR])}
        found += [Upstream(name, f"process.{dataset}") for name in sorted(names)[-MOST:]]
    return found


MOST_LOOKED_FOR = 1_000


def taken_in(project: Project, run_id: str) -> list[tuple[str, str]]:
    """The batches that a run's transform took in, each a dataset and an id; none when a later one took its place."""
    query = """
        select dataset, batch_id from dpipe_meta.transformed_batches, dpipe_meta.candidate
        where run_id = ? and transformed_at = built_at order by all
    """
    for database in (project.candidate, project.marts):
        found = _asked(database, query, run_id)
        if found:
            return [(dataset, batch_id) for dataset, batch_id in found]
    return []


def transforms(project: Project, *, is_published: bool) -> list[Upstream]:
    """The run that built the candidate, or what is published."""
    database = project.marts if is_published else project.candidate
    return [
        Upstream(run_id, "transform")
        for (run_id,) in _asked(database, "select run_id from dpipe_meta.candidate")
    ]


def _asked(database: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    if not database.exists():
        return []
    try:
        with duckdb.connect(str(database), read_only=True) as connection:
            return connection.execute(query, values).fetchall()
    except duckdb.Error:
        return []  # it is being replaced, or of a version that can't be read
