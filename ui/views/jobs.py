"""Jobs: what was submitted to the API, what became of it, and how fresh it reaches tables and marts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import altair as alt
import pandas as pd
import streamlit as st
from charts import BAR, COUNTS, STATE_COLOURS, legend_on_top
from notices import nothing_yet, problems_told
from queries import jobs
from words import ago, at, lasted

if TYPE_CHECKING:
    from collections.abc import Sequence

REFRESH_SECONDS = 5
JOBS_SHOWN = 100
HEIGHT = 340
MARKS = {
    "committed": "✔ committed",
    "accepted": "… accepted",
    "landed": "… landed",
    "processing": "… processing",
    "refused": "✖ refused",
    "dropped": "- dropped",
}
# Few submissions are in these, for a moment.
PASSING = {"accepted", "processing"}
WINDOWS = {
    "Last hour": jobs.Window(timedelta(hours=1), timedelta(minutes=2)),
    "Last day": jobs.Window(timedelta(days=1), timedelta(minutes=30)),
    "Last week": jobs.Window(timedelta(days=7), timedelta(hours=6)),
    "Last 30 days": jobs.Window(timedelta(days=30), timedelta(days=1)),
}
MEASURES = {"median": "median", "p95": "95th percentile"}
MEASURE_COLOURS = {"median": BAR, "95th percentile": "#e9b44c"}


@st.fragment(run_every=REFRESH_SECONDS)
def page() -> None:
    """The whole page, drawn anew every few seconds."""
    with problems_told():
        known = jobs.datasets()
        if not known:
            nothing_yet("Nothing was submitted to this project's API yet.", "dpipe serve")
            return
        window_box, dataset_box = st.columns([2, 1], vertical_alignment="bottom")
        chosen = window_box.segmented_control("Time", list(WINDOWS), default="Last day")
        dataset = dataset_box.selectbox("Dataset", ["all", *known])
        names = known if dataset == "all" else [dataset]
        window = WINDOWS[chosen or "Last day"]
        submissions(names, window)
        freshness(names, window)
        latest(names)


def submissions(names: Sequence[str], window: jobs.Window) -> None:
    """How many submissions there were and what became of them, in all and over time."""
    counts = jobs.by_state(names, window)
    totals = counts.groupby("state")["submissions"].sum()
    labels = {"Submissions": int(totals.sum())} | {
        state.capitalize(): int(totals.get(state, 0))
        for state in STATE_COLOURS
        if state not in PASSING or state in totals
    }
    for column, (label, count) in zip(st.columns(len(labels)), labels.items(), strict=True):
        column.metric(label, f"{count:,}", border=True)
    if counts.empty:
        st.info("Nothing was submitted in this time.", icon=":material/info:")
        return
    st.altair_chart(state_chart(counts, window))


def state_chart(counts: pd.DataFrame, window: jobs.Window) -> alt.Chart:
    """Submissions by state in each step of the window, stacked."""
    order = list(STATE_COLOURS)
    frame = counts.sort_values("state", key=lambda states: states.map(order.index))
    # Bars that are as wide as their time have no stacking of their own.
    frame = frame.assign(top=frame.groupby("begin")["submissions"].cumsum())
    frame = frame.assign(bottom=frame["top"] - frame["submissions"])
    return (
        alt.Chart(frame, title="Submissions by what became of them")
        .mark_rect(stroke="white", strokeWidth=1)
        .encode(
            x=time_axis("begin", window, "Received (UTC)"),
            x2="end:T",
            y=alt.Y("bottom:Q", title="Submissions", axis=alt.Axis(format=COUNTS, tickMinStep=1)),
            y2="top:Q",
            color=legend_on_top("state", STATE_COLOURS),
            tooltip=[moment("begin", "from"), "state", alt.Tooltip("submissions", format=COUNTS)],
        )
        .properties(height=HEIGHT)
    )


def freshness(names: Sequence[str], window: jobs.Window) -> None:
    """How long submissions take to the tables, and batches to the marts."""
    commits, marts = jobs.seconds_to_commit(names, window), jobs.seconds_to_marts(window)
    if commits.empty and marts.empty:
        return
    st.subheader("Freshness")
    to_tables, to_marts = st.columns(2)
    with to_tables:
        took(
            commits, window, "From the request to the commit", "Nothing that came in this time is committed."
        )
    with to_marts:
        took(
            marts,
            window,
            "From landing to the published marts",
            "No publication was measured in this time. `dpipe run --follow` and `dpipe worker --transform-every` do.",
        )
        if not marts.empty:
            st.caption("A point is a publication, over all the batches that it brought, of files too.")


def took(frame: pd.DataFrame, window: jobs.Window, title: str, otherwise: str) -> None:
    """Median and 95th percentile of seconds over time; a sentence when there are none."""
    if frame.empty:
        st.markdown(f"**{title}**")
        st.caption(otherwise)
        return
    tall = frame.melt(["began", "batches"], list(MEASURES), "measure", "seconds")
    tall["measure"] = tall["measure"].map(MEASURES)
    chart = (
        alt.Chart(tall, title=title)
        .mark_line(point=True)
        .encode(
            x=time_axis("began", window, "UTC"),
            y=alt.Y("seconds:Q", title="Time (seconds)", axis=alt.Axis(format=",.2~f")),
            color=legend_on_top("measure", MEASURE_COLOURS),
            tooltip=[
                moment("began", "at"),
                "measure",
                alt.Tooltip("seconds", format=",.1f"),
                alt.Tooltip("batches", format=COUNTS),
            ],
        )
        .properties(height=HEIGHT)
    )
    st.altair_chart(chart)


def time_axis(field: str, window: jobs.Window, title: str) -> alt.X:
    """The window's time in UTC, up to now, so that charts below each other are of the same time."""
    edges = [edge.isoformat() for edge in (window.begin(), datetime.now(UTC))]
    pattern = "%H:%M" if window.length <= timedelta(days=1) else "%d %b"
    return alt.X(
        f"{field}:T",
        title=title,
        scale=alt.Scale(type="utc", domain=edges),
        axis=alt.Axis(format=pattern, labelOverlap=True, tickCount=8),
    )


def moment(field: str, title: str) -> alt.Tooltip:
    """A time in UTC in a tooltip."""
    return alt.Tooltip(f"{field}:T", title=title, format="%Y-%m-%d %H:%M", formatType="utc")


def latest(names: Sequence[str]) -> None:
    """The newest submissions, each with its counts and a link to its records in quarantine."""
    found = jobs.newest(names, JOBS_SHOWN)
    st.subheader("Latest submissions")
    if found.empty:
        return
    rows = [job_row(row) for row in found.to_dict("records")]
    number = {
        name: st.column_config.NumberColumn(format="localized", width="small")
        for name in ("Records in", "Accepted", "Rejected", "Duplicate")
    }
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        placeholder="",
        column_config={
            **number,
            "Quarantine": st.column_config.LinkColumn(display_text="look", width="small"),
        },
    )
    if len(found) == JOBS_SHOWN:
        st.caption(
            f"The latest {JOBS_SHOWN}; `GET /v1/jobs` has those before them, `dpipe batches list` every one."
        )


def job_row(row: dict[str, Any]) -> dict[str, Any]:
    """A job as the table shows it."""
    counts = {
        name.replace("_", " ").capitalize(): None if pd.isna(row[name]) else int(row[name])
        for name in jobs.COUNTS
    }
    committed_at = row["committed_at"]
    took = None if pd.isna(committed_at) else (committed_at - row["received_at"]).total_seconds()
    kept_out = (counts["Rejected"] or 0) + (counts["Duplicate"] or 0)
    return {
        "Received (UTC)": at(row["received_at"]),
        "Age": ago(row["received_at"]),
        "Dataset": row["dataset"],
        "State": MARKS[row["state"]],
        "Key": row["key"],
        **counts,
        "To commit": "" if took is None else lasted(took),
        "Quarantine": f"quality?{urlencode({'batch': row['job_id']})}"
        if took is not None and kept_out
        else None,
        "Why": "; ".join(row["reasons"]),
        "Job": row["job_id"],
    }


st.title("Jobs")
page()
