"""What dbt's manifest says of the last build: models, seeds and sources, and the SQL that was sent."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from dpipe.lineage.graph import Column
from dpipe.warehouse.build_folder import folder_of
from dpipe.warehouse.dbt_results import compiled_file
from dpipe.warehouse.snowflake.built import last_built
from dpipe.warehouse.snowflake.session import names_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dpipe.lineage.sql_columns import Relation
    from dpipe.settings import Project


@dataclass(frozen=True)
class Node:
    """A model, seed or source: `name` is `<schema>.<table>`, `kind` dbt's; `parents` are names, in the order of use.

    In Snowflake a source in another database than the marts' is called by its database, too, in capitals.
    `sql` is the compiled query; None for what has none, or one that is not SQL. `materialized` is dbt's word.
    """

    name: str
    kind: str
    relation: Relation
    parents: tuple[str, ...]
    description: str
    columns: tuple[Column, ...]
    materialized: str
    sql: str | None
    path: Path


@dataclass(frozen=True)
class Manifest:
    """The dbt project as it was built last: its nodes by name, parents before those that use them."""

    dialect: str
    nodes: Mapping[str, Node]


def target_folder(project: Project) -> Path:
    """Where `dpipe transform` has dbt leave what it says."""
    return folder_of(project, project.settings.target) / "dbt" / "target"


def read(project: Project) -> Manifest | None:
    """The manifest of the last build, None when there was none or it can't be read."""
    try:
        document = json.loads((target_folder(project) / "manifest.json").read_text(encoding="utf-8"))
        return _manifest(project, document)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _manifest(project: Project, document: dict[str, Any]) -> Manifest:
    wanted = {
        key: node
        for key, node in document["nodes"].items()
        if node["resource_type"] in {"model", "seed", "snapshot"}
    }
    named = wanted | document["sources"]
    nodes: dict[str, Node] = {}
    done: set[str] = set()

    def take(key: str) -> None:
        if key in done or key not in named:
            return
        done.add(key)
        for parent in named[key].get("depends_on", {}).get("nodes", ()):
            take(parent)
        if not _is_ephemeral(named[key]):
            node = _node(project, named, key)
            nodes[node.name] = node

    for key in sorted(named):
        take(key)
    return Manifest(document["metadata"]["adapter_type"], nodes)


def _node(project: Project, named: Mapping[str, Any], key: str) -> Node:
    node = named[key]
    return Node(
        name=_name(project, node),
        kind=node["resource_type"],
        relation=(str(node["database"] or "").lower(), node["schema"].lower(), _table(node).lower()),
        parents=tuple(dict.fromkeys(_parents(project, named, key))),
        description=" ".join((node.get("description") or "").split()),
        columns=tuple(
            Column(
                one["name"] if one.get("quote") else _unquoted(project, one["name"]),
                one.get("data_type") or "",
                " ".join((one.get("description") or "").split()),
            )
            for one in node.get("columns", {}).values()
        )
        or _seed_columns(project, node),
        materialized=node.get("config", {}).get("materialized") or "",
        sql=_sql(project, node),
        path=project.transform / node["original_file_path"],
    )


def _table(node: Mapping[str, Any]) -> str:
    return str(node.get("alias") or node.get("identifier") or node["name"])


def _name(project: Project, node: Mapping[str, Any]) -> str:
    name = f"{node['schema']}.{_table(node)}"
    if project.settings.target == "snowflake" and node["resource_type"] == "source" and node["database"]:
        database = str(node["database"]).upper()
        return name if database == names_of(project).build else f"{database}.{name}".upper()
    return name


def _unquoted(project: Project, column: str) -> str:
    """A column's name as the warehouse has it when nobody quotes it."""
    return column.upper() if project.settings.target == "snowflake" else column


def _parents(project: Project, named: Mapping[str, Any], key: str) -> list[str]:
    """The tables that a node reads; those of an ephemeral model stand for it."""
    found: list[str] = []
    for parent in named[key].get("depends_on", {}).get("nodes", ()):
        if parent not in named:
            continue
        if _is_ephemeral(named[parent]):
            found += _parents(project, named, parent)
        else:
            found.append(_name(project, named[parent]))
    return found


def _is_ephemeral(node: Mapping[str, Any]) -> bool:
    return bool(node.get("config", {}).get("materialized") == "ephemeral")


def _sql(project: Project, node: Mapping[str, Any]) -> str | None:
    """The compiled query. A command that compiled other nodes leaves it in its file only."""
    if node["resource_type"] not in {"model", "snapshot"} or node.get("language", "sql") != "sql":
        return None
    if node.get("compiled_code"):
        return str(node["compiled_code"])
    sent = compiled_file(target_folder(project), node)
    return sent.read_text(encoding="utf-8") if sent.is_file() else None


def _seed_columns(project: Project, node: Mapping[str, Any]) -> tuple[Column, ...]:
    path = project.transform / node["original_file_path"]
    if node["resource_type"] != "seed" or not path.is_file():
        return ()
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(Column(_unquoted(project, name)) for name in next(csv.reader(file), ()))


def built_columns(project: Project) -> dict[str, tuple[Column, ...]]:
    """The columns of every table and view that dbt built, as the target has them, by `<schema>.<table>`."""
    if project.settings.target == "duckdb":
        return _in_file(project.marts) | _in_file(project.candidate)
    built = last_built(project)
    tables = built.columns.items() if built is not None else ()
    return {table: tuple(Column(name, kind) for name, kind in columns) for table, columns in tables}


def _in_file(database: Path) -> dict[str, tuple[Column, ...]]:
    """The columns of every table and view of a warehouse file, by `<schema>.<table>`; none when it can't be read."""
    found: dict[str, tuple[Column, ...]] = {}
    if not database.exists():
        return found
    try:
        with duckdb.connect(str(database), read_only=True) as connection:
            rows = connection.execute(
                "select schema_name || '.' || table_name, column_name, lower(data_type), coalesce(comment, '') "
                "from duckdb_columns() where not internal and database_name = current_database() "
                "order by schema_name, table_name, column_index"
            ).fetchall()
    except duckdb.Error:
        return {}
    for table, name, kind, comment in rows:
        found[table] = (*found.get(table, ()), Column(name, kind, comment))
    return found
