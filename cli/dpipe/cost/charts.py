"""Charts of costs: stacked bars, and lines over orders of magnitude."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dpipe.svg import FAINT, GRID, WIDTH, apart, document, nice_ticks, rule, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Told apart also where colours aren't.
COLOURS = ("#c2410c", "#f59e0b", "#1d4ed8", "#7dd3fc", "#047857")
LINES = ("#c2410c", "#1d4ed8", "#047857", "#7e22ce", "#b45309", "#0e7490", "#be123c", "#4d7c0f")
# Lines that run one upon the other are both seen.
DASHES = ("", "", "", "8 4", "8 4", "2 3")
SHORT = ((1e9, "billion"), (1e6, "million"), (1e3, "thousand"))


def stacked(
    title: str, axis: str, parts: Sequence[str], rows: Sequence[tuple[str, Sequence[float], str]]
) -> str:
    """Horizontal bars of the parts of each row, in their order: its label, its parts, and what stands beside it.

    Parts that no row has are left out.
    """
    shown = [at for at in range(len(parts)) if any(values[at] > 0 for _, values, _ in rows)]
    left, right, top, height = 176, 96, 78, 34
    ticks = nice_ticks(max((sum(values) for _, values, _ in rows), default=0))
    scale = (WIDTH - left - right) / ticks[-1]
    bottom = top + height * len(rows)
    drawn = [text(16, 28, title, size=14, weight="600")]
    x = float(left)
    for at in shown:
        drawn.append(f'<rect x="{x:.0f}" y="42" width="12" height="12" rx="2" fill="{COLOURS[at]}"/>')
        drawn.append(text(x + 18, 52, parts[at], size=12, fill=FAINT))
        x += 34 + 7 * len(parts[at])
    for tick in ticks:
        drawn.append(rule(left + tick * scale, top - 6, left + tick * scale, bottom, GRID))
        drawn.append(
            text(left + tick * scale, bottom + 18, f"{tick:,g}", size=12, fill=FAINT, anchor="middle")
        )
    for number, (label, values, note) in enumerate(rows):
        y = top + height * number
        drawn.append(text(left - 10, y + 20, _cut(label), size=13, anchor="end"))
        x = float(left)
        for at in shown:
            width = values[at] * scale
            drawn.append(
                f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="22" fill="{COLOURS[at]}"/>'
            )
            x += width
        drawn.append(text(x + 8, y + 20, note, size=13, fill=FAINT))
    drawn.append(text((left + WIDTH - right) / 2, bottom + 40, axis, size=12, fill=FAINT, anchor="middle"))
    return document(bottom + 54, title, drawn)


def log_lines(
    title: str, x_axis: str, y_axis: str, series: Mapping[str, Sequence[tuple[float, float]]]
) -> str:
    """Lines through points, both axes by powers of ten; points of no height are left out."""
    left, right, top, bottom = 76, 190, 70, 370
    points = [point for line in series.values() for point in line if min(point) > 0]
    xs, ys = _powers([x for x, _ in points]), _powers([y for _, y in points])

    def across(x: float) -> float:
        return left + (math.log10(x) - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - left - right)

    def down(y: float) -> float:
        return bottom - (math.log10(y) - ys[0]) / (ys[-1] - ys[0]) * (bottom - top)

    drawn = [text(16, 26, title, size=14, weight="600"), text(16, 46, y_axis, size=12, fill=FAINT)]
    for power in ys:
        y = down(10.0**power)
        drawn.append(rule(left, y, WIDTH - right, y, GRID))
        drawn.append(text(left - 8, y + 4, f"{10.0**power:,g}", size=12, fill=FAINT, anchor="end"))
    for power in xs:
        x = across(10.0**power)
        drawn.append(rule(x, top, x, bottom, GRID))
        drawn.append(text(x, bottom + 18, _short(10.0**power), size=12, fill=FAINT, anchor="middle"))
    ends: list[float] = []
    # Labels go down from the highest line, so that none pushes another one past its own line.
    by_height = sorted(series.items(), key=lambda one: -one[1][-1][1])
    for number, (name, line) in enumerate(by_height):
        colour = LINES[number % len(LINES)]
        at = [(across(x), down(y)) for x, y in line if min(x, y) > 0]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        dash = f' stroke-dasharray="{DASHES[number % len(DASHES)]}"' if DASHES[number % len(DASHES)] else ""
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        if at:
            ends.append(apart(at[-1][1] + 4, ends))
            drawn.append(text(at[-1][0] + 10, ends[-1], name, size=13, fill=colour))
    drawn.append(text((left + WIDTH - right) / 2, bottom + 42, x_axis, size=12, fill=FAINT, anchor="middle"))
    return document(bottom + 56, title, drawn)


def _powers(values: Sequence[float]) -> list[int]:
    """The powers of ten around the values, two at least."""
    low = math.floor(math.log10(min(values, default=1)))
    high = math.ceil(math.log10(max(values, default=10)) - 1e-9)
    return list(range(low, max(high, low + 1) + 1))


def _short(number: float) -> str:
    for size, word in SHORT:
        if number >= size:
            return f"{number / size:,g} {word}"
    return f"{number:,g}"


def _cut(label: str) -> str:
    most = 24
    return label if len(label) <= most else f"{label[: most - 1]}…"
