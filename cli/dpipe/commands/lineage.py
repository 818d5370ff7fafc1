"""`dpipe lineage`: where a table or column comes from, and what is made of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dpipe import output
from dpipe.context import JsonFlag, open_project

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.tree import Tree

    from dpipe.lineage.graph import Edge, Graph, Place

UP, DOWN = "comes from", "goes to"


def lineage(
    ctx: typer.Context,
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="TABLE[.COLUMN]",
            help="Table or column, with its schema or without; the whole project when left out",
        ),
    ] = None,
    up: Annotated[bool, typer.Option("--up", help="Only where it comes from.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Only what is made of it.")] = False,
    depth: Annotated[int | None, typer.Option(min=1, help="Steps to go at most; all when left out.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the graph as a page that needs no network."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show where a table or a column comes from and what is made of it, from landed files to marts.

    It is worked out from settings, contracts and what dbt sent to the database at the last `dpipe transform`.

    Example: `dpipe lineage fct_flights.departed_at --html lineage.html`
    """
    from dpipe.lineage.build import build

    project = open_project(ctx)
    graph = build(project)
    start = graph.find(table) if table is not None else None
    both = up == down
    above = graph.up(start, depth) if start and (up or both) else []
    below = graph.down(start, depth) if start and (down or both) else []
    edges = [*reversed(above), *below] if start else graph.edges()
    if html is not None:
        _write(html, project.settings.name, graph, edges, start)
    if as_json:
        output.emit_json(_document(graph, start, above, below, edges))
        return
    for note in graph.notes:
        output.note(note)
    if start is None:
        _print_all(graph)
    else:
        _print(graph, start, above if up or both else None, below if down or both else None)


def _write(html: Path, name: str, graph: Graph, edges: Sequence[Edge], start: Place | None) -> None:
    from dpipe.errors import UsageError
    from dpipe.lineage.page import page

    title = f"Lineage of {start}" if start else f"Lineage of {name}"
    try:
        html.write_text(page(title, graph, edges, start), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"`{html}` can't be written: {error.strerror}", hint="name another file") from error
    output.note(f"wrote {html}")


def _document(
    graph: Graph, start: Place | None, above: Sequence[Edge], below: Sequence[Edge], edges: Sequence[Edge]
) -> dict[str, Any]:
    names = dict.fromkeys(place.table for edge in edges for place in (edge.source, edge.target))
    tables = [graph.tables[name] for name in ({start.table: None} | names if start else graph.tables)]
    return {
        "table": start.table if start else None,
        "column": start.column if start else None,
        "up": above if start else [],
        "down": below if start else [],
        "edges": [] if start else edges,
        "tables": tables,
        "rows": {
            table.name: [
                {"table": place.table, "column": place.column, "by": sorted(what)}
                for place, what in sorted(graph.rows[table.name].items())
            ]
            for table in tables
            if table.name in graph.rows
        },
        "notes": graph.notes,
    }


def _print_all(graph: Graph) -> None:
    output.table(
        ["table", "kind", "columns", "made of"],
        [
            (
                table.name,
                table.kind,
                len(table.columns) if table.columns is not None else None,
                ", ".join(graph.parents[table.name]),
            )
            for table in graph.tables.values()
        ],
    )


def _print(graph: Graph, start: Place, above: Sequence[Edge] | None, below: Sequence[Edge] | None) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.tree import Tree

    tree = Tree(f"[bold]{escape(_titled(graph, start))}[/bold]")
    if above is not None:
        _grow(tree.add(UP), start, above, lambda edge: (edge.target, edge.source))
    if below is not None:
        _grow(tree.add(DOWN), start, below, lambda edge: (edge.source, edge.target))
    deciding = graph.rows.get(start.table, {})
    if start.column is None and deciding and above is not None:
        branch = tree.add("its rows are decided by")
        for place, what in sorted(deciding.items()):
            said = ", ".join(sorted(one.lower().replace("_", " ") for one in what))
            branch.add(escape(f"{place} ({said})"))
    # What is piped is for other programs: no line of it is broken.
    (Console() if sys.stdout.isatty() else Console(width=10_000)).print(tree)


def _titled(graph: Graph, start: Place) -> str:
    table = graph.tables[start.table]
    column = next((one for one in table.columns or () if one.name == start.column), None)
    said = column.description if column else table.description
    kind = column.type if column else table.kind
    return f"{start}" + (f" ({kind})" if kind else "") + (f": {said}" if said else "")


def _grow(
    tree: Tree, start: Place, edges: Sequence[Edge], ends: Callable[[Edge], tuple[Place, Place]]
) -> None:
    """Add the steps below a branch; what was shown before is not shown again with all that is behind it."""
    from rich.markup import escape

    steps: dict[Place, list[tuple[Place, Edge]]] = {}
    for edge in edges:
        near, far = ends(edge)
        steps.setdefault(near, []).append((far, edge))
    shown: set[Place] = set()

    def add(branch: Tree, near: Place) -> None:
        for far, edge in steps.get(near, ()):
            more = far in shown and far in steps
            how = (
                f" [dim]{edge.how}{', masked' if edge.masked else ''}[/dim]"
                if edge.how not in {None, "identity"}
                else ""
            )
            twig = branch.add(f"{escape(str(far))}{how}{' [dim]… above[/dim]' if more else ''}")
            if far not in shown:
                shown.add(far)
                add(twig, far)

    add(tree, start)
    if not steps:
        tree.add("[dim]nothing[/dim]")
