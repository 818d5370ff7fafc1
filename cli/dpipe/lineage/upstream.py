"""Upon whose work a job builds: which runs landed its batches, committed and loaded them and built the candidate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import duckdb

from dpipe.iceberg import ledger, open_catalog
from dpipe.state import runs
from dpipe.warehouse.snowflake.built import last_built

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from dpipe.settings import Project

MOST = 100
# A batch is received while its ingest goes on, which may have begun so long before.
LONGEST_INGEST = timedelta(days=1)
LONGEST_LOAD = timedelta(hours=1)


MOST_LOOKED_FOR = 1_000
Committed = dict[str, list[dict[str, Any]]]


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


def committed(project: Project, batches: Sequence[tuple[str, str]]) -> Committed:
    """Rows of the ledger by dataset, of batches that are each a dataset and an id; of very many some."""
    of_dataset: dict[str, set[str]] = {}
    for dataset, batch_id in batches:
        of_dataset.setdefault(dataset, set()).add(batch_id)
    catalog = open_catalog(project) if of_dataset else None
    return {
        dataset: ledger.of_batches(catalog, dataset, sorted(ids)[:MOST_LOOKED_FOR])
        for dataset, ids in of_dataset.items()
        if catalog is not None
    }


def processes(committed: Committed) -> list[Upstream]:
    """The runs that committed these batches."""
    found: list[Upstream] = []
    for dataset, rows in committed.items():
        names = {row["run_id"] for row in rows}
        found += [Upstream(name, f"process.{dataset}") for name in sorted(names)[-MOST:]]
    return found


def loads(project: Project, committed: Committed, *, until: datetime) -> list[Upstream]:
    """The runs that had brought these batches to the warehouse by then; none where it reads the lake in place."""
    times = [row["committed_at"] for rows in committed.values() for row in rows]
    if project.settings.target == "duckdb" or not times:
        return []
    wanted = {f"raw.{dataset}": {row["batch_id"] for row in rows} for dataset, rows in committed.items()}
    found = [
        Upstream(stage["run_id"], f"load.{table['table']}")
        for stage in runs.stages_between(project, "load", None, min(times) - LONGEST_LOAD, until)
        for table in json.loads(stage["detail"] or "{}").get("tables", ())
        if wanted.get(table["table"], set()).intersection(table["batches"])
    ]
    return list(dict.fromkeys(found))[-MOST:]


def taken_in(project: Project, run_id: str) -> list[tuple[str, str]]:
    """The batches that a run's transform took in, each a dataset and an id; none when a later one took its place."""
    query = """
        select dataset, batch_id from dpipe_meta.transformed_batches, dpipe_meta.candidate
        where run_id = ? and transformed_at = built_at order by all
    """
    if project.settings.target == "snowflake":
        built = last_built(project)
        return list(built.batches) if built is not None and built.run_id == run_id else []
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


def building(project: Project, candidate_id: str) -> list[Upstream]:
    """The run that built this candidate."""
    run_id = runs.builder_of(project, candidate_id)
    return [] if run_id is None else [Upstream(run_id, "transform")]


def _asked(database: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    if not database.exists():
        return []
    try:
        with duckdb.connect(str(database), read_only=True) as connection:
            return connection.execute(query, values).fetchall()
    except duckdb.Error:
        return []  # it is being replaced, or of a version that can't be read
