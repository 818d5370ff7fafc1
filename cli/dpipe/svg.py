"""Bars and lines as SVG: enough for a report that opens without a network, and for a picture in a README."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH = 760
FONT = "font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\""
INK, FAINT, GRID = "#1f2933", "#616e7c", "#e4e7eb"
OURS, OTHERS = "#c2410c", "#9aa5b1"
SERIES = ("#c2410c", "#1d4ed8", "#047857", "#7e22ce")
TICKS = 5


def bars(title: str, axis: str, values: Sequence[tuple[str, float, str]], *, ours: str) -> str:
    """Horizontal bars from 0: a label, a value in the axis' unit, and what stands beside it.

    The bar labelled `ours` stands out.
    """
    left, right, top, row = 110, 190, 52, 36
    room = WIDTH - left - right
    ticks = nice_ticks(max((value for _, value, _ in values), default=0))
    scale = room / ticks[-1]
    bottom = top + row * len(values)
    parts = [text(16, 28, title, size=14, weight="600")]
    for tick in ticks:
        x = left + tick * scale
        parts.append(rule(x, top - 6, x, bottom, GRID))
        parts.append(text(x, bottom + 18, f"{tick:,g}", size=12, fill=FAINT, anchor="middle"))
    for number, (label, value, note) in enumerate(values):
        y = top + row * number
        # What is there is seen, however little of the axis it takes.
        width = max(value * scale, 2)
        colour = OURS if label == ours else OTHERS
        parts.append(text(left - 10, y + 21, label, size=14, anchor="end"))
        parts.append(f'<rect x="{left}" y="{y + 5}" width="{width:.1f}" height="22" rx="2" fill="{colour}"/>')
        parts.append(text(left + width + 8, y + 21, note, size=13, fill=FAINT))
    parts.append(text(left + room / 2, bottom + 40, axis, size=12, fill=FAINT, anchor="middle"))
    return document(bottom + 54, title, parts)


def lines(title: str, x_axis: str, y_axis: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Lines through points, both axes from 0."""
    left, right, top, bottom = 76, 150, 70, 270
    points = [point for line in series.values() for point in line]
    x_ticks = nice_ticks(max((x for x, _ in points), default=0))
    y_ticks = nice_ticks(max((y for _, y in points), default=0))
    x_scale = (WIDTH - left - right) / x_ticks[-1]
    y_scale = (bottom - top) / y_ticks[-1]
    parts = [text(16, 26, title, size=14, weight="600"), text(16, 46, y_axis, size=12, fill=FAINT)]
    for tick in y_ticks:
        y = bottom - tick * y_scale
        parts.append(rule(left, y, WIDTH - right, y, GRID))
        parts.append(text(left - 8, y + 4, f"{tick:,g}", size=12, fill=FAINT, anchor="end"))
    for tick in x_ticks:
        x = left + tick * x_scale
        parts.append(text(x, bottom + 18, f"{tick:,g}", size=12, fill=FAINT, anchor="middle"))
    ends: list[float] = []
    for number, (name, line) in enumerate(series.items()):
        colour = SERIES[number % len(SERIES)]
        at = [(left + x * x_scale, bottom - y * y_scale) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in at]
        if at:
            ends.append(apart(at[-1][1] + 4, ends))
            parts.append(text(at[-1][0] + 10, ends[-1], name, size=13, fill=colour))
    parts.append(text((left + WIDTH - right) / 2, bottom + 38, x_axis, size=12, fill=FAINT, anchor="middle"))
    return document(bottom + 52, title, parts)


def nice_ticks(highest: float) -> list[float]:
    """About five round numbers from 0 to `highest` or just above."""
    if highest <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(highest / TICKS))
    step = next(times * power for times in (1, 2, 2.5, 5, 10) if times * power * TICKS >= highest)
    return [round(step * number, 10) for number in range(math.ceil(highest / step) + 1)]


def apart(y: float, others: Sequence[float]) -> float:
    """A place for a label, at `y` or below, that covers none of the others."""
    height = 15
    while any(abs(y - other) < height for other in others):
        y += height
    return y


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: int,
    fill: str = INK,
    anchor: str = "start",
    weight: str = "400",
) -> str:
    """Words on one line; `anchor` is where `x` is in them."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" '
        f'font-weight="{weight}" paint-order="stroke" stroke="#ffffff" stroke-width="4">{escape(words)}</text>'
    )


def rule(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    """A thin straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def document(height: float, title: str, parts: Sequence[str]) -> str:
    """The whole picture."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" role="img" {FONT}>\n<title>{escape(title)}</title>\n'
        f'<rect width="{WIDTH}" height="{height:.0f}" rx="6" fill="#ffffff"/>\n{body}\n</svg>\n'
    )
