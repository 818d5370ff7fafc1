"""What the stages of a run did, as jobs of OpenLineage: what each read and wrote, how much, and upon whom it built."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dpipe.iceberg import ledger, open_catalog
from dpipe.lineage import facets, upstream
from dpipe.lineage.build import copy_of
from dpipe.lineage.datasets import Datasets, Shown
from dpipe.state import quality

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dpipe.lineage.dbt_models import Manifest
    from dpipe.lineage.graph import Graph
    from dpipe.lineage.upstream import Upstream
    from dpipe.settings import Project

MOST_BATCHES = 256
MOST_SOURCES = 256
MOST_CHECKS = 100_000
Stage = dict[str, Any]


@dataclass
class Job:
    """One thing that a run did. `error` says why it failed, None when it didn't; `below` is the job that it is part of.

    `batches` are those that it is about, or the newest of `batch_count`; `upstream` the jobs of runs whose work it took
    up.
    """

    name: str
    kind: str
    started_at: datetime
    finished_at: datetime
    description: str
    stage: str
    inputs: list[Shown] = field(default_factory=list)
    outputs: list[Shown] = field(default_factory=list)
    batches: Sequence[Mapping[str, Any]] = ()
    batch_count: int | None = None
    refused: Sequence[str] = ()
    upstream: Iterable[Upstream] = ()
    error: str | None = None
    sql: str | None = None
    dialect: str | None = None
    below: str | None = None


class Jobs:
    """The jobs of one run, by what state and ledger have of it."""

    def __init__(self, project: Project, run_id: str, graph: Graph, manifest: Manifest | None) -> None:
        self._project = project
        self._run_id = run_id
        self._manifest = manifest
        self._datasets = Datasets(project, graph)
        self._committed = ledger.of_run(open_catalog(project), run_id)

    def of(self, stages: Iterable[Stage]) -> Iterator[Job]:
        """The jobs that these stages did; a stage that had nothing to do is none."""
        makers = {
            "ingest": self._ingest,
            "process": self._process,
            "validate": self._validate,
            "load": self._load,
            "transform": self._transform,
            "publish": self._publish,
        }
        for stage in stages:
            if stage["stage"] in makers:
                yield from makers[stage["stage"]](stage)

    def _ingest(self, stage: Stage) -> Iterator[Job]:
        detail, dataset = stage["detail"], stage["dataset"]
        table = f"landing.{dataset}"
        landed = detail.get("batches", [])
        if not detail["landed"] or not self._datasets.knows(table):
            return
        sources = [detail["stream"]] if "stream" in detail else _named(batch["source"] for batch in landed)
        size, rows = detail["bytes"], detail.get("records")
        yield Job(
            **_about(stage, f"ingest.{dataset}", "INGEST", f"Lands {dataset}, bytes as they came"),
            inputs=[self._datasets.source(source) for source in sources],
            outputs=[
                self._datasets.output(table, outputStatistics=facets.statistics(rows, size, detail["landed"]))
            ],
            batches=[{"dataset": dataset, **_batch(batch)} for batch in landed],
        )

    def _process(self, stage: Stage) -> Iterator[Job]:
        dataset, detail = stage["dataset"], stage["detail"]
        if not self._datasets.knows(f"raw.{dataset}"):
            return
        rows = [row for row in self._committed if row["dataset"] == dataset]
        refused = detail.get("refused", [])
        yield Job(
            **_about(
                stage, f"process.{dataset}", "PROCESS", f"Holds every record of {dataset} to its contract"
            ),
            inputs=list(self._read(dataset, rows)),
            outputs=list(self._written(dataset, rows, stage)),
            batches=[_batch(row) for row in rows],
            refused=refused,
            upstream=upstream.ingests(self._project, dataset, rows),
            error=f"the gate refused {len(refused)} batch(es)" if refused and not rows else None,
        )

    def _read(self, dataset: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[Shown]:
        records, size = sum(row["records_in"] for row in rows), sum(row["bytes"] for row in rows)
        read = facets.read_statistics(records, size, len(rows))
        yield self._datasets.input(f"landing.{dataset}", inputStatistics=read)
        replayed = sum(row["records_in"] for row in rows if row["origin"] is not None)
        if replayed:
            yield self._datasets.input(
                f"quarantine.{dataset}", inputStatistics=facets.read_statistics(replayed)
            )

    def _written(self, dataset: str, rows: Sequence[Mapping[str, Any]], stage: Stage) -> Iterator[Shown]:
        if not rows:
            return
        version = facets.facet("DatasetVersionDatasetFacet", datasetVersion=str(stage["snapshot_id"]))
        files = {file["path"]: file for row in rows for file in row["files"]}.values()
        accepted = [file for file in files if file["kind"] == "accepted"]
        kept = [file for file in files if file["kind"] == "quarantine"]
        yield self._datasets.output(
            f"raw.{dataset}",
            more={
                "version": version,
                "dataQualityMetrics": facets.metrics(stage["detail"].get("profile", [])),
            },
            outputStatistics=facets.statistics(*_sums(accepted)),
        )
        if kept:
            yield self._datasets.output(
                f"quarantine.{dataset}", outputStatistics=facets.statistics(*_sums(kept))
            )

    def _validate(self, stage: Stage) -> Iterator[Job]:
        checks = quality.history(self._project, run_id=self._run_id, limit=MOST_CHECKS)
        is_published = stage["detail"].get("database") == str(self._project.marts)
        for layer in stage["detail"]["layers"]:
            of_table: dict[str, list[Mapping[str, Any]]] = {}
            for check in reversed(checks):
                if check["layer"] == layer and self._datasets.knows(check["relation"]):
                    of_table.setdefault(check["relation"], []).append(check)
            if not of_table:
                continue
            read = (
                self._datasets.published_input if layer == "marts" and is_published else self._datasets.input
            )
            bad = [
                one
                for of in of_table.values()
                for one in of
                if not one["success"] and one["severity"] == "error"
            ]
            yield Job(
                **_about(stage, f"validate.{layer}", "VALIDATE", f"Checks the tables of {layer}"),
                inputs=[
                    read(table, dataQualityAssertions=facets.assertions(found))
                    for table, found in of_table.items()
                ],
                upstream=[]
                if layer == "raw"
                else upstream.transforms(self._project, is_published=is_published),
                error=f"{len(bad)} check(s) failed, first `{bad[0]['rule']}` of `{bad[0]['relation']}`"
                if bad
                else None,
            )

    def _load(self, stage: Stage) -> Iterator[Job]:
        for loaded in stage["detail"]["tables"]:
            name = loaded["table"]
            # A compaction leaves the copy as it was.
            moved = loaded["files"] or loaded["reloaded_partitions"]
            if not moved or not self._datasets.knows(name):
                continue
            dataset = name.partition(".")[2]
            batches = [(dataset, batch_id) for batch_id in loaded["batches"]]
            committed = upstream.committed(self._project, batches)
            about = _about(stage, f"load.{name}", "LOAD", f"Brings the copy of {name} to what the lake has")
            version = facets.facet("DatasetVersionDatasetFacet", datasetVersion=str(loaded["snapshot_id"]))
            read = facets.read_statistics(loaded["rows"], loaded["bytes"], loaded["files"])
            yield Job(
                **about | _times(loaded),
                inputs=[self._datasets.input(name, more={"version": version}, inputStatistics=read)],
                outputs=[
                    self._datasets.output(
                        copy_of(self._project, name), outputStatistics=facets.statistics(loaded["rows"])
                    )
                ],
                batches=[{"dataset": dataset, "batchId": batch_id} for dataset, batch_id in batches],
                batch_count=loaded["batch_count"],
                upstream=upstream.processes(committed),
            )

    def _transform(self, stage: Stage) -> Iterator[Job]:
        detail = stage["detail"]
        if not detail["changed"]:
            return
        taken = upstream.taken_in(self._project, self._run_id)
        committed = upstream.committed(self._project, taken)
        about = _about(stage, "transform", "TRANSFORM", "Builds the marts' candidate with dbt")
        yield Job(
            **about,
            batches=[{"dataset": dataset, "batchId": batch_id} for dataset, batch_id in taken],
            upstream=[
                *upstream.processes(committed),
                *upstream.loads(self._project, committed, until=about["finished_at"]),
            ],
        )
        for built in detail.get("models", ()):
            yield from self._model(stage, built)

    def _model(self, stage: Stage, built: Mapping[str, Any]) -> Iterator[Job]:
        name = built["name"]
        node = self._manifest.nodes.get(name) if self._manifest else None
        if node is None or not self._datasets.knows(name):
            return
        rows = stage["detail"]["rows"].get(name)
        # What an increment merged nobody counted: the rows of the table are not what it wrote.
        counted = node.materialized == "table" or stage["detail"]["full_refresh"] is not None
        written = {"outputStatistics": facets.statistics(rows)} if rows is not None and counted else {}
        inputs = [self._datasets.input(parent) for parent in self._datasets.parents(name)]
        if node.kind == "seed":
            inputs = [self._datasets.source(str(node.path))]
        about = _about(stage, f"transform.{name}", node.kind.upper(), node.description or f"Builds {name}")
        yield Job(
            **about | _times(built),
            inputs=inputs,
            outputs=[self._datasets.output(name, **written)],
            sql=node.sql,
            dialect=self._manifest.dialect if self._manifest else None,
            below="transform",
        )

    def _publish(self, stage: Stage) -> Iterator[Job]:
        detail = stage["detail"]
        marts = [table for table in detail["rows"] if self._datasets.knows(table)]
        if not detail["changed"] or not marts:
            return
        yield Job(
            **_about(stage, "publish", "PUBLISH", "Puts the checked candidate in the place of the marts"),
            inputs=[self._datasets.input(table) for table in marts],
            outputs=[
                self._datasets.published(table, outputStatistics=facets.statistics(detail["rows"][table]))
                for table in marts
            ],
            upstream=upstream.building(self._project, detail["candidate_id"]),
        )


def _times(of: Mapping[str, Any]) -> dict[str, datetime]:
    """When a part of a stage began and ended, as far as it says so."""
    return {key: datetime.fromisoformat(of[key]) for key in ("started_at", "finished_at") if of.get(key)}


def _about(stage: Stage, name: str, kind: str, description: str) -> dict[str, Any]:
    started: datetime = stage["started_at"].astimezone(UTC)
    return {
        "name": name,
        "kind": kind,
        "description": description,
        "stage": stage["stage"],
        "started_at": started,
        "finished_at": started + timedelta(seconds=stage["seconds"]),
    }


def _batch(row: Mapping[str, Any]) -> dict[str, Any]:
    """A batch of the ledger, or of a stage's detail, in the words of dpipe's facet."""
    words = {
        "dataset": "dataset",
        "batch_id": "batchId",
        "source": "source",
        "bytes": "bytes",
        "sha256": "sha256",
        "contract": "contract",
        "contract_version": "contractVersion",
        "records_in": "recordsIn",
        "accepted": "accepted",
        "rejected": "rejected",
        "duplicate": "duplicate",
        "snapshot_id": "snapshotId",
        "origin": "origin",
    }
    known = {word: row[name] for name, word in words.items() if row.get(name) is not None}
    return known | ({"superseded": sum(row["superseded"].values())} if row.get("superseded") else {})


def _named(sources: Iterable[str]) -> list[str]:
    """Each source once; of very many files their folders."""
    names = list(dict.fromkeys(sources))
    if len(names) <= MOST_SOURCES:
        return names
    return list(dict.fromkeys(name.rpartition("/")[0] or "/" for name in names))[:MOST_SOURCES]


def _sums(files: Sequence[Mapping[str, Any]]) -> tuple[int, int, int]:
    return sum(file["rows"] for file in files), sum(file["bytes"] for file in files), len(files)
