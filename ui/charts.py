"""Charts that several pages draw. Every axis names its unit; every title says what is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import altair as alt

if TYPE_CHECKING:
    import pandas as pd

BAR = "#2f6690"
DISPOSITIONS = {"accepted": "#4c9f70", "rejected": "#c8553d", "duplicate": "#e9b44c"}
STATE_COLOURS = {
    "committed": "#4c9f70",
    "accepted": "#d3dce2",
    "landed": "#9db4c0",
    "processing": "#2f6690",
    "refused": "#c8553d",
    "dropped": "#8d6a9f",
}
VERDICT_COLOURS = {"passed": "#8fc9a3", "warning": "#e9b44c", "could not run": "#8d6a9f", "failed": "#c8553d"}
STAGE_COLOURS = {
    "ingest": "#9db4c0",
    "process": "#2f6690",
    "validate": "#4c9f70",
    "transform": "#e9b44c",
    "publish": "#8d6a9f",
}
ROW_HEIGHT = 24
LABEL_WIDTH = 260
COUNTS = ",d"
# `2026-11-23 09:02:21` as `11-23 09:02`; the whole is in the tooltip.
SHORT_TIME = alt.Axis(labelExpr="slice(datum.label, 5, 16)", labelAngle=-45, labelOverlap=False)


def legend_on_top(field: str, colours: dict[str, str]) -> alt.Color:
    """The colours of a nominal field, and its legend below the title."""
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color(f"{field}:N", scale=scale, legend=alt.Legend(title=None, orient="top", offset=4))


@dataclass(frozen=True)
class Measure:
    """A figure of flights: its column, what it is called with its unit, and how a value and an axis are written."""

    column: str
    title: str
    value: str
    axis: str


MEASURES = {
    "Mean departure delay": Measure("mean_delay_minutes", "Mean departure delay (minutes)", ",.1f", ",f"),
    "Share cancelled": Measure("cancelled_share", "Flights cancelled (%)", ".1%", "%"),
}


def lying_bars(frame: pd.DataFrame, category: str, measure: Measure, title: str) -> alt.LayerChart:
    """A bar a category, lying, in the frame's order from the top, with its value beside it."""
    bars = alt.Chart(frame).encode(
        y=alt.Y(
            f"{category}:N", sort=frame[category].tolist(), title=None, axis=alt.Axis(labelLimit=LABEL_WIDTH)
        ),
        x=alt.X(f"{measure.column}:Q", title=measure.title, axis=alt.Axis(format=measure.axis)),
        tooltip=_tooltip(category),
    )
    values = bars.mark_text(align="left", dx=4).encode(
        text=alt.Text(f"{measure.column}:Q", format=measure.value)
    )
    return (bars.mark_bar(color=BAR) + values).properties(title=title, height=alt.Step(ROW_HEIGHT))


def standing_bars(
    frame: pd.DataFrame, category: str, category_title: str, measure: Measure, title: str, height: int = 320
) -> alt.Chart:
    """A bar a category, standing, in the frame's order from the left; `height` is in pixels."""
    order = frame[category].tolist()
    return (
        alt.Chart(frame)
        .mark_bar(color=BAR)
        .encode(
            x=alt.X(f"{category}:O", sort=order, title=category_title, axis=alt.Axis(labelAngle=0)),
            y=alt.Y(f"{measure.column}:Q", title=measure.title, axis=alt.Axis(format=measure.axis)),
            tooltip=_tooltip(category),
        )
        .properties(title=title, height=height)
    )


def _tooltip(category: str) -> list[alt.Tooltip]:
    figures = [alt.Tooltip(f"{m.column}:Q", title=m.title, format=m.value) for m in MEASURES.values()]
    return [
        alt.Tooltip(f"{category}:N", title=category.replace("_", " ")),
        alt.Tooltip("flights:Q", title="flights", format=COUNTS),
        *figures,
    ]
