"""What the pages' charts have in common. Every axis names its unit; every title says what is shown."""

from __future__ import annotations

import altair as alt

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
