"""The graph of a project, from what is there: settings, contracts, the lake's tables and dbt's manifest."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from dpipe.contract import contract_for
from dpipe.contract.plan import PROVENANCE
from dpipe.errors import DpipeError
from dpipe.lineage import dbt_models
from dpipe.lineage.graph import Column, Graph, Origin, Place, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dpipe.contract import Plan
    from dpipe.contract.plan import Column as PlanColumn
    from dpipe.lineage.dbt_models import Manifest, Node
    from dpipe.lineage.graph import Kind
    from dpipe.lineage.sql_columns import Relation
    from dpipe.settings import Project

API = "API"
INSTALL = "pip install 'dpipe[lineage]'"
_PROVENANCE_TYPES = dict(zip(PROVENANCE, ("string", "int64", "string"), strict=True))


def build(project: Project, manifest: Manifest | None = None, *, models: bool = True) -> Graph:
    """The project's graph; without `models` up to the lake's tables only, which takes no second.

    Nothing is asked of the network but the catalog, and that only for datasets whose records bring columns. What isn't
    known is in the graph's notes.
    """
    graph = Graph()
    for dataset in project.datasets():
        try:
            contract = contract_for(project, dataset)
        except DpipeError as error:
            graph.notes.append(f"`{dataset}` is left out, its contract can't be carried out: {error.message}")
        else:
            _add_dataset(graph, project, dataset, contract.plan, contract.description)
    if not models:
        return graph
    manifest = manifest or dbt_models.read(project)
    if manifest is not None:
        _add_models(graph, project, manifest)
    elif project.transform.is_dir():
        graph.notes.append("the marts are not known before dbt has run: `dpipe transform`")
    return graph


def _add_dataset(graph: Graph, project: Project, dataset: str, plan: Plan, description: str) -> None:
    landing, raw = f"landing.{dataset}", f"raw.{dataset}"
    own = [_column(column) for column in plan.columns]
    own += [
        Column(name, kind, "not in the contract, records brought it")
        for name, kind in _evolved(project, plan)
    ]
    provenance = [Column(name, kind, "dpipe's own") for name, kind in _PROVENANCE_TYPES.items()]
    earlier = [
        Column(name, description=f"`{now}` as it was called before") for now, name in _renamed(plan).items()
    ]
    sources = _sources(project, dataset)
    for name in sources:
        graph.add(Table(name, "source"))
    graph.add(
        Table(landing, "landing", (*own, *earlier), f"Batches of {dataset}, bytes as they came"), *sources
    )
    graph.add(Table(raw, "raw", (*own, *provenance), description), landing)
    graph.add(
        Table(f"quarantine.{dataset}", "quarantine", None, f"Records of {dataset} that were kept out"),
        landing,
    )
    for column in own:
        before = _renamed(plan).get(column.name)
        graph.origins[Place(raw, column.name)] = [
            Origin(Place(landing, name)) for name in (column.name, before) if name is not None
        ]
    if project.settings.target == "snowflake" and project.settings.snowflake is not None:
        _add_copies(graph, project, dataset, plan)


def copy_of(project: Project, table: str) -> str:
    """What the copy of a table of the lake is called in Snowflake, where nobody quotes it."""
    from dpipe.warehouse.snowflake.session import names_of

    return f"{names_of(project).lake}.{table}".upper()


def _add_copies(graph: Graph, project: Project, dataset: str, plan: Plan) -> None:
    """Snowflake's copies of the dataset's tables, with the names and types that columns have there."""
    from dpipe.warehouse.snowflake.columns import PARTITION

    raw, quarantine = f"raw.{dataset}", f"quarantine.{dataset}"
    columns = graph.tables[raw].columns or ()
    types = _types_in_copies(plan)
    copy = copy_of(project, raw)
    described = [
        Column(column.name.upper(), types.get(column.name, ""), column.description) for column in columns
    ]
    partition = Column(PARTITION, "varchar", "dpipe's own: from which partition's files the row is")
    said = f"Copy of {raw} in Snowflake"
    graph.add(Table(copy, "copy", (*described, partition), said), raw)
    for column in columns:
        graph.origins[Place(copy, column.name.upper())] = [Origin(Place(raw, column.name))]
    graph.add(
        Table(copy_of(project, quarantine), "copy", None, f"Copy of {quarantine} in Snowflake"), quarantine
    )


def _types_in_copies(plan: Plan) -> dict[str, str]:
    """By the column's name in the lake; none when a load would say that the table can't be copied."""
    from dpipe.iceberg.schema import raw_schema
    from dpipe.warehouse.snowflake.columns import columns_of

    try:
        return {column.name: column.type for column in columns_of(raw_schema(plan))}
    except DpipeError:
        return {}


def _column(column: PlanColumn) -> Column:
    return Column(
        column.name, column.type_name, column.description, tuple(_column(part) for part in column.fields)
    )


def _renamed(plan: Plan) -> dict[str, str]:
    """What columns were called before, by their name of now; batches of then have fields of that name."""
    names = {column.name for column in plan.columns}
    return {
        column.name: column.renamed_from
        for column in plan.columns
        if column.renamed_from is not None and column.renamed_from not in names
    }


def _evolved(project: Project, plan: Plan) -> list[tuple[str, str]]:
    """Columns that records brought; the table knows them."""
    if plan.unknown_fields != "evolve":
        return []
    from dpipe.iceberg import open_catalog, tables
    from dpipe.iceberg.evolved import evolved

    return list(evolved(plan, tables.load(open_catalog(project), ("raw", plan.dataset))).items())


def _sources(project: Project, dataset: str) -> list[str]:
    """What feeds a dataset by the settings; the API does, whatever they say."""
    named = (project.settings.sources.get(dataset), project.settings.streams.get(dataset))
    return [name for name in named if name] or [API]


def _add_models(graph: Graph, project: Project, manifest: Manifest) -> None:
    built = dbt_models.built_columns(project)
    known: dict[Relation, tuple[str, tuple[Column, ...]]] = {}
    traced = find_spec("sqlglot") is not None
    if not traced:
        graph.notes.append(
            f"columns are followed up to the raw tables only; further on they need sqlglot: {INSTALL}"
        )
    for node in manifest.nodes.values():
        columns = _described(built.get(node.name, ()), node.columns)
        if node.name not in graph.tables:
            graph.add(Table(node.name, _kind(node), columns or None, node.description), *node.parents)
        else:  # a raw table, or its copy, which dbt calls a source
            columns = graph.tables[node.name].columns or ()
        known[node.relation] = (node.name, columns)
        if node.sql is not None and traced:
            _follow(graph, node, known, manifest.dialect)
    # Such as the batches to take in, which only the increments read.
    graph.forget_unused([name for name in manifest.nodes if graph.tables[name].kind == "external"])


def _kind(node: Node) -> Kind:
    if node.kind == "source":
        return "external"
    if node.kind == "seed":
        return "seed"
    return "view" if node.materialized == "view" else "table"


def _described(built: Iterable[Column], said: Iterable[Column]) -> tuple[Column, ...]:
    """Columns as they were built, with what dbt's project says of them; those alone when nothing was built."""
    words = {column.name: column for column in said}
    found = tuple(
        Column(column.name, column.type, column.description or words.get(column.name, column).description)
        for column in built
    )
    return found or tuple(words.values())


def _follow(
    graph: Graph, node: Node, known: Mapping[Relation, tuple[str, tuple[Column, ...]]], dialect: str
) -> None:
    from dpipe.lineage.sql_columns import trace

    schema = {relation: [one.name for one in columns] for relation, (_, columns) in known.items() if columns}
    found = trace(node.sql or "", schema, dialect=dialect)
    if found is None or not found.is_whole:
        graph.notes.append(f"the columns of `{node.name}` could not be followed all the way through its SQL")
    if found is None:
        return
    if graph.tables[node.name].columns is None:
        graph.tables[node.name] = Table(
            node.name, _kind(node), tuple(Column(name) for name in found.columns) or None, node.description
        )
    for column, sources in found.columns.items():
        origins = [
            Origin(Place(known[relation][0], name), made.how, made.masked)
            for (relation, name), made in sources.items()
            if relation in known
        ]
        if origins:
            graph.origins[Place(node.name, column)] = origins
    rows = {
        Place(known[relation][0], name): set(what)
        for (relation, name), what in found.rows.items()
        if relation in known
    }
    if rows:
        graph.rows[node.name] = rows
