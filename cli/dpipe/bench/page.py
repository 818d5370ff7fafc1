"""A report as one HTML file that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STYLE = """
body { font: 15px/1.5 system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; color: #1f2933; background: #f5f7fa;
       max-width: 1080px; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; }
p, li { max-width: 70ch; } .faint { color: #616e7c; margin-top: 0; }
.wide { overflow-x: auto; background: #fff; border-radius: 6px; margin: .75rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .75rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e4e7eb; }
th { font-weight: 600; font-size: .85rem; color: #616e7c; } tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child { text-align: left; }
svg { display: block; max-width: 100%; height: auto; margin: .75rem 0; }
"""


@dataclass(frozen=True)
class Section:
    """A heading, words, a table of texts and charts as SVG; what is empty is left out."""

    heading: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    charts: Sequence[str] = ()
    notes: Sequence[str] = field(default=())


def page(title: str, subtitle: str, machine: Mapping[str, Any], sections: Sequence[Section]) -> str:
    """The whole document."""
    facts = " · ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items())
    body = "".join(_section(section) for section in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f'<p class="faint">{escape(subtitle)}<br>{escape(facts)}</p>\n{body}</body>\n</html>\n'
    )


def _section(section: Section) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in section.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell(value))}</td>" for value in row) + "</tr>\n"
        for row in section.rows
    )
    table = f'<div class="wide"><table>\n<tr>{head}</tr>\n{rows}</table></div>\n' if rows else ""
    notes = "".join(f"<li>{escape(note)}</li>\n" for note in section.notes)
    listed = f"<ul>\n{notes}</ul>\n" if notes else ""
    return f"<h2>{escape(section.heading)}</h2>\n{''.join(section.charts)}{table}{listed}"


def cell(value: object) -> str:
    """A value as a table shows it."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return str(value)
