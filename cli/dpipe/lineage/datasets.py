"""Datasets as events show them: their names, columns, what columns are made of, and where they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dpipe.lineage import facets
from dpipe.lineage.graph import Place, Table
from dpipe.lineage.names import Dataset, Names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dpipe.lineage.facets import Facet
    from dpipe.lineage.graph import Graph, Origin
    from dpipe.settings import Project

Shown = dict[str, Any]


class Datasets:
    """Describes a project's datasets, by the graph."""

    def __init__(self, project: Project, graph: Graph) -> None:
        self._project = project
        self._graph = graph
        self._names = Names(project)

    def knows(self, table: str) -> bool:
        """Whether the graph has the table."""
        return table in self._graph.tables

    def parents(self, table: str) -> list[str]:
        """The tables that it is made of."""
        return self._graph.parents[table]

    def source(self, source: str) -> Shown:
        """What fed landing."""
        return _shown(self._names.source(source), {})

    def input(self, table: str, *, more: Mapping[str, Facet] | None = None, **read: Facet) -> Shown:
        """A table that a run reads; `read` is about what it read."""
        dataset = self._names.of(self._graph.tables[table])
        return _shown(dataset, self._facets(table, dataset) | dict(more or {}), "inputFacets", read)

    def output(
        self, table: str, *, more: Mapping[str, Facet | None] | None = None, **written: Facet
    ) -> Shown:
        """A table that a run writes, with what its columns are made of; `written` is about what it wrote."""
        dataset = self._names.of(self._graph.tables[table])
        described = self._facets(table, dataset)
        described |= {name: one for name, one in (more or {}).items() if one is not None}
        lineage = self._column_lineage(table)
        if lineage is not None:
            described["columnLineage"] = lineage
        return _shown(dataset, described, "outputFacets", written)

    def published_input(self, table: str, **read: Facet) -> Shown:
        """A mart as it is published, that a run reads."""
        dataset = self._names.published(table)
        return _shown(dataset, self._facets(table, dataset), "inputFacets", read)

    def published(self, table: str, **written: Facet) -> Shown:
        """A mart as it is published, column by column what the candidate has."""
        dataset = self._names.published(table)
        described = self._facets(table, dataset)
        columns = self._graph.tables[table].columns if self.knows(table) else None
        if columns:
            candidate = self._names.of(self._graph.tables[table])
            described["columnLineage"] = facets.facet(
                "ColumnLineageDatasetFacet",
                fields={column.name: {"inputFields": [_field(candidate, column.name)]} for column in columns},
            )
        return _shown(dataset, described, "outputFacets", written)

    def _facets(self, name: str, dataset: Dataset) -> dict[str, Facet]:
        table = self._graph.tables.get(name, Table(name, "table"))
        found = {
            "dataSource": facets.facet("DatasourceDatasetFacet", name=dataset.namespace, uri=_uri(dataset))
        }
        if table.columns:
            found["schema"] = facets.schema(table.columns)
        if table.description:
            found["documentation"] = facets.facet("DocumentationDatasetFacet", description=table.description)
        if table.kind in {"raw", "quarantine"}:
            found["storage"] = facets.facet(
                "StorageDatasetFacet", storageLayer="iceberg", fileFormat="parquet"
            )
            identifier = {"namespace": self._project.warehouse, "name": name, "type": "TABLE"}
            found["symlinks"] = facets.facet("SymlinksDatasetFacet", identifiers=[identifier])
        return found

    def _column_lineage(self, table: str) -> Facet | None:
        fields = {
            column.name: {"inputFields": [self._input_field(origin) for origin in origins]}
            for column in self._graph.tables[table].columns or ()
            if (origins := self._graph.origins.get(Place(table, column.name)))
        }
        deciding = [
            self._deciding(place, what) for place, what in sorted(self._graph.rows.get(table, {}).items())
        ]
        if not fields and not deciding:
            return None
        return facets.facet("ColumnLineageDatasetFacet", fields=fields, dataset=deciding or None)

    def _input_field(self, origin: Origin) -> Shown:
        kind = {"type": "DIRECT", "subtype": origin.how.upper(), "masking": origin.masked}
        return {**self._place(origin.place), "transformations": [kind]}

    def _deciding(self, place: Place, what: set[str]) -> Shown:
        kinds = [{"type": "INDIRECT", "subtype": one} for one in sorted(what)]
        return {**self._place(place), "transformations": kinds}

    def _place(self, place: Place) -> Shown:
        return _field(self._names.of(self._graph.tables[place.table]), place.column or "")


def _field(dataset: Dataset, column: str) -> Shown:
    return {"namespace": dataset.namespace, "name": dataset.name, "field": column}


def _shown(
    dataset: Dataset,
    described: Mapping[str, Facet],
    kind: str | None = None,
    of_run: Mapping[str, Facet] | None = None,
) -> Shown:
    shown: Shown = {"namespace": dataset.namespace, "name": dataset.name, "facets": dict(described)}
    if kind is not None and of_run:
        shown[kind] = dict(of_run)
    return shown


def _uri(dataset: Dataset) -> str:
    return dataset.namespace if "://" in dataset.namespace else f"file://{dataset.name}"
