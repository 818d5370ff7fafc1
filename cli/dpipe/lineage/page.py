"""The graph as a page that opens without a network."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from dpipe.lineage.drawing import COLOURS, svg
from dpipe.lineage.graph import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpipe.lineage.graph import Edge, Graph

STYLE = """
body { font: 15px/1.5 system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; color: #1f2933; background: #f5f7fa;
       margin: 2rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; max-width: 80ch; } .faint { color: #616e7c; }
.wide { overflow-x: auto; background: #fff; border-radius: 6px; margin: 1rem 0; padding: .5rem; }
table { border-collapse: collapse; } th { font-size: .85rem; color: #616e7c; }
th, td { padding: .3rem .75rem; text-align: left; vertical-align: top; border-bottom: 1px solid #e4e7eb; }
code { font: 13px ui-monospace, Menlo, Consolas, monospace; }
.key { display: inline-block; width: .7rem; height: .7rem; border-radius: 2px; margin: 0 .35rem 0 1rem; }
svg .box { cursor: pointer; } svg.picked .box, svg.picked .step { opacity: .15; }
svg.picked .box.on, svg.picked .step.on { opacity: 1; } svg .step.on { stroke-width: 2.5; }
.legend { max-width: none; }
"""
# Which boxes and steps belong to the ways through a table is in the page already: the script only marks them.
SCRIPT = """
const svg = document.querySelector('svg'), boxes = [...svg.querySelectorAll('.box')];
const steps = [...svg.querySelectorAll('.step')];
const walk = (start, from, to) => { const seen = new Set([start]), queue = [start];
  while (queue.length) { const at = queue.pop();
    for (const step of steps) if (step.dataset[from] === at) { step.classList.add('on');
      if (!seen.has(step.dataset[to])) { seen.add(step.dataset[to]); queue.push(step.dataset[to]); } } }
  return seen; };
const clear = () => { svg.classList.remove('picked');
  svg.querySelectorAll('.on').forEach(one => one.classList.remove('on')); };
boxes.forEach(box => box.addEventListener('click', event => { event.stopPropagation(); clear();
  const name = box.dataset.table;
  const seen = new Set([...walk(name, 'source', 'target'), ...walk(name, 'target', 'source')]);
  svg.classList.add('picked'); boxes.filter(b => seen.has(b.dataset.table)).forEach(b => b.classList.add('on')); }));
document.addEventListener('click', clear);
"""


def page(title: str, graph: Graph, edges: Sequence[Edge], chosen: Place | None) -> str:
    """The whole document: the picture, and what its columns are made of."""
    kinds = dict.fromkeys(
        graph.tables[place.table].kind for edge in edges for place in (edge.source, edge.target)
    )
    key = "".join(f'<span class="key" style="background:{COLOURS[kind]}"></span>{kind}' for kind in kinds)
    notes = "".join(f'<p class="faint">{escape(note)}</p>\n' for note in graph.notes)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        '<p class="faint legend">From left to right as records go; a click on a table shows the ways through it.'
        f"{key}</p>\n"
        f'{notes}<div class="wide">{svg(title, graph, edges, chosen)}</div>\n{_origins(graph, edges, chosen)}'
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _origins(graph: Graph, edges: Sequence[Edge], chosen: Place | None) -> str:
    """A table of what columns are made of: those on the picture, or all of the tables on it."""
    tables = dict.fromkeys(edge.target.table for edge in edges)
    if chosen is not None and chosen.column is not None:
        places = [one for one in dict.fromkeys(edge.target for edge in edges) if one.column is not None]
    else:
        names = [chosen.table] if chosen is not None else list(tables)
        places = [Place(name, column.name) for name in names for column in graph.tables[name].columns or ()]
    rows = []
    for place in places:
        made = ", ".join(
            f"<code>{escape(str(edge.source))}</code>{f' ({edge.how})' if edge.how not in {None, 'identity'} else ''}"
            for edge in graph.above(place)
        )
        if made and graph.tables[place.table].kind != "landing":
            rows.append(f"<tr><td><code>{escape(str(place))}</code></td><td>{made}</td></tr>\n")
    if not rows:
        return ""
    return (
        '<h2>What columns are made of</h2>\n<div class="wide"><table>\n'
        f"<tr><th>column</th><th>made of</th></tr>\n{''.join(rows)}</table></div>\n"
    )
