"""Charts of flights: a figure by carrier, route, hour, month or weather."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import altair as alt
from charts import BAR, COUNTS, LABEL_WIDTH, ROW_HEIGHT

if TYPE_CHECKING:
    import pandas as pd


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
