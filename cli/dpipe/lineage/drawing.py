"""The graph as SVG: tables as boxes from their sources on the left to their uses on the right."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from dpipe.lineage.layout import laid_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dpipe.lineage.graph import Edge, Graph, Kind, Place

BOX, HEAD, ROW, GAP_X, GAP_Y, MARGIN = 216, 44, 20, 60, 16, 16
# How high the place is that a line takes between the boxes that it passes by.
LANE = 10
CHARACTERS = 29
INK, FAINT, LINE, CHOSEN = "#1f2933", "#616e7c", "#9aa5b1", "#c2410c"
COLOURS: Mapping[Kind, str] = {
    "source": "#616e7c",
    "landing": "#b45309",
    "raw": "#047857",
    "quarantine": "#b91c1c",
    "copy": "#0f766e",
    "external": "#616e7c",
    "seed": "#7e22ce",
    "view": "#0e7490",
    "table": "#1d4ed8",
}


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    columns: Sequence[str]
    is_lane: bool = False

    @property
    def height(self) -> float:
        if self.is_lane:
            return LANE
        return HEAD + ROW * len(self.columns) + (6 if self.columns else 0)

    def port(self, column: str | None) -> float:
        """Where lines meet it: at the column's row, or at its head."""
        if self.is_lane:
            return self.y + LANE / 2
        if column is None or column not in self.columns:
            return self.y + HEAD / 2
        return self.y + HEAD + ROW * (self.columns.index(column) + 0.5)


def svg(title: str, graph: Graph, edges: Sequence[Edge], chosen: Place | None) -> str:
    """Tables as boxes, with the columns that the steps are between, and a line for each step."""
    shown = _shown(graph, edges, chosen)
    joined = {
        (edge.source.table, edge.target.table) for edge in edges if edge.source.table != edge.target.table
    }
    ways, layers = laid_out(shown, joined)
    boxes = _placed(layers, shown)
    width = max((box.x + BOX for box in boxes.values()), default=0) + MARGIN
    height = max((box.y + box.height for box in boxes.values()), default=0) + MARGIN
    drawn = [
        _line(edge, [boxes[name] for name in ways[edge.source.table, edge.target.table]])
        for edge in dict.fromkeys(edges)
        if (edge.source.table, edge.target.table) in ways
    ]
    drawn += [_box(graph, name, boxes[name], chosen) for name in shown]
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" font-family="system-ui, \'Segoe UI\', Helvetica, Arial, sans-serif">\n'
        f"<title>{escape(title)}</title>\n{body}\n</svg>\n"
    )


def _shown(graph: Graph, edges: Sequence[Edge], chosen: Place | None) -> dict[str, list[str]]:
    """The columns that each box shows, in the table's order."""
    shown: dict[str, list[str]] = {}
    for place in [
        *([chosen] if chosen else []),
        *(one for edge in edges for one in (edge.source, edge.target)),
    ]:
        columns = shown.setdefault(place.table, [])
        if place.column is not None and place.column not in columns:
            columns.append(place.column)
    for name, columns in shown.items():
        order = {column.name: number for number, column in enumerate(graph.tables[name].columns or ())}
        columns.sort(key=lambda column: order.get(column, len(order)))
    return shown


def _placed(layers: Sequence[Sequence[str]], shown: Mapping[str, Sequence[str]]) -> dict[str, _Box]:
    """Boxes rank by rank from left to right, each rank in the middle."""
    boxes: dict[str, _Box] = {}
    tallest = max((_room(layer, shown) for layer in layers), default=0)
    for number, layer in enumerate(layers):
        y = MARGIN + (tallest - _room(layer, shown)) / 2
        for name in layer:
            boxes[name] = _Box(MARGIN + number * (BOX + GAP_X), y, shown.get(name, ()), name not in shown)
            y += boxes[name].height + GAP_Y
    return boxes


def _room(layer: Iterable[str], shown: Mapping[str, Sequence[str]]) -> float:
    return sum(_Box(0, 0, shown.get(name, ()), name not in shown).height + GAP_Y for name in layer) - GAP_Y


def _line(edge: Edge, way: Sequence[_Box]) -> str:
    path = []
    for number, (near, far) in enumerate(pairwise(way)):
        x1, y1 = near.x + BOX, near.port(edge.source.column)
        x2, y2 = far.x, far.port(edge.target.column)
        bend = (x2 - x1) / 2
        begin = f"M{x1:.1f},{y1:.1f}" if number == 0 else f"L{x1:.1f},{y1:.1f}"
        path.append(f"{begin} C{x1 + bend:.1f},{y1:.1f} {x2 - bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f}")
    dash = ' stroke-dasharray="5 3"' if edge.how not in {None, "identity"} else ""
    how = f" ({edge.how})" if edge.how else ""
    return (
        f'<path class="step" data-source="{escape(edge.source.table)}" data-target="{escape(edge.target.table)}" '
        f'd="{" ".join(path)}" fill="none" stroke="{LINE}" stroke-width="1.5"{dash}>'
        f"<title>{escape(f'{edge.source} → {edge.target}{how}')}</title></path>"
    )


def _box(graph: Graph, name: str, box: _Box, chosen: Place | None) -> str:
    table = graph.tables[name]
    colour = COLOURS[table.kind]
    is_chosen = chosen is not None and chosen.table == name
    schema, _, short = name.rpartition(".") if table.kind != "source" else ("", "", name)
    count = f"{len(table.columns):,} columns" if table.columns and table.kind != "source" else ""
    faint = " · ".join(word for word in (schema or table.kind, count) if word)
    parts = [
        f'<g class="box" data-table="{escape(name)}">',
        f"<title>{escape(f'{name}: {table.description}'.removesuffix(': '))}</title>",
        f'<rect x="{box.x}" y="{box.y:.1f}" width="{BOX}" height="{box.height:.1f}" rx="5" fill="#ffffff" '
        f'stroke="{CHOSEN if is_chosen else "#cbd2d9"}" stroke-width="{2 if is_chosen else 1}"/>',
        f'<rect x="{box.x}" y="{box.y:.1f}" width="5" height="{box.height:.1f}" rx="2" fill="{colour}"/>',
        _text(box.x + 14, box.y + 18, short, size=13, weight="600"),
        _text(box.x + 14, box.y + 35, faint, size=11, fill=FAINT),
    ]
    for column in box.columns:
        is_it = is_chosen and chosen is not None and chosen.column == column
        parts.append(_text(box.x + 14, box.port(column) + 4, column, size=12, fill=CHOSEN if is_it else INK))
    return "".join(parts) + "</g>"


def _text(x: float, y: float, words: str, *, size: int, fill: str = INK, weight: str = "400") -> str:
    shown = words if len(words) <= CHARACTERS else f"{words[: CHARACTERS - 1]}…"
    style = f'font-size="{size}" fill="{fill}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(shown)}</text>'
