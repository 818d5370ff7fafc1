"""Overview: what ran, what became of the records, and how fresh the marts are. It refreshes itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st
from charts import COUNTS, DISPOSITIONS, LABEL_WIDTH, ROW_HEIGHT, SHORT_TIME, STAGE_COLOURS, legend_on_top
from notices import nothing_yet, problems_told
from queries import pipeline
from words import ago, at, lasted

REFRESH_SECONDS = 5
RUNS_SHOWN = 15
MARKS = {"succeeded": "✔ succeeded", "failed": "✖ failed", "running": "… running"}


@st.fragment(run_every=REFRESH_SECONDS)
def overview() -> None:
    """The whole page, drawn anew every few seconds."""
    with problems_told():
        runs = pipeline.latest_runs(RUNS_SHOWN)
        if not runs:
            nothing_yet("Nothing has run in this project yet.", "dpipe run")
            return
        counts = pipeline.records_by_dataset()
        freshness(runs[0], counts)
        records(counts)
        refused()
        latest(runs)
        history()


def freshness(last: dict[str, Any], counts: pd.DataFrame) -> None:
    """The last run, commit and publish, each with its age."""
    run, commit, publish = st.columns(3)
    run.metric(
        f"Last run: `dpipe {last['command']}` {MARKS[last['status']]}", ago(last["started_at"]), border=True
    )
    committed = None if counts.empty else counts["last_commit"].max().to_pydatetime()
    commit.metric("Last commit to the lake", ago(committed) if committed else "none yet", border=True)
    published = pipeline.last_publish()
    publish.metric("Last publish of the marts", ago(published) if published else "none yet", border=True)


def records(counts: pd.DataFrame) -> None:
    """Records in = accepted + rejected + duplicate, in all and by dataset."""
    st.subheader("Records in = accepted + rejected + duplicate")
    if counts.empty:
        nothing_yet("No batch is in the lake yet.", "dpipe run")
        return
    totals = counts[list(pipeline.COUNTS)].sum()
    for column, name, sign in zip(st.columns(4), pipeline.COUNTS, ("", "= ", "+ ", "+ "), strict=True):
        column.metric(f"{sign}{name.replace('_', ' ').capitalize()}", f"{totals[name]:,}")
    balanced = counts["records_in"] == counts["accepted"] + counts["rejected"] + counts["duplicate"]
    shown = counts.assign(
        balance=balanced.map({True: "✔ balances", False: "✖ does not balance"}),
        last_commit=counts["last_commit"].map(at),
    )
    st.dataframe(
        shown[["dataset", "batches", *pipeline.COUNTS, "balance", "last_commit"]],
        hide_index=True,
        column_config={
            "dataset": "Dataset",
            "batches": st.column_config.NumberColumn("Batches", format="localized"),
            **{
                name: st.column_config.NumberColumn(name.replace("_", " ").capitalize(), format="localized")
                for name in pipeline.COUNTS
            },
            "balance": "Balance",
            "last_commit": "Last commit (UTC)",
        },
    )


def refused() -> None:
    """Batches that the gate keeps out; they are in none of the counts above."""
    batches = pipeline.refused_batches()
    if not batches:
        return
    st.subheader("Batches that the gate refused")
    st.caption("They are in no count above. `dpipe process --retry-refused` takes them again.")
    rows = [
        {
            "Dataset": batch.dataset,
            "Batch": batch.batch_id,
            "Refused at (UTC)": at(batch.refused_at),
            "Why": "; ".join(batch.reasons),
        }
        for batch in batches
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)


def latest(runs: list[dict[str, Any]]) -> None:
    """The newest runs with how they ended, and where their seconds went."""
    st.subheader("Last runs")
    now = datetime.now(UTC)
    rows = [
        {
            "Started (UTC)": at(run["started_at"]),
            "Command": run["command"],
            "Status": MARKS[run["status"]],
            "Duration": lasted(((run["finished_at"] or now) - run["started_at"]).total_seconds()),
            "Run": run["run_id"],
            "Error": run["error"] or "",
        }
        for run in runs
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    seconds = pipeline.stage_seconds([run["run_id"] for run in runs])
    if not seconds.empty:
        st.altair_chart(stage_chart(seconds, runs))


def stage_chart(seconds: pd.DataFrame, runs: list[dict[str, Any]]) -> alt.Chart:
    """Seconds by stage, a bar a run, the newest on top."""
    labels = {run["run_id"]: f"{at(run['started_at'])}  {run['command']}" for run in runs}
    stages = list(STAGE_COLOURS)
    frame = seconds.assign(run=seconds["run_id"].map(labels), place=seconds["stage"].map(stages.index))
    return (
        alt.Chart(frame, title="Seconds by stage in the last runs")
        .mark_bar()
        .encode(
            y=alt.Y("run:N", sort=list(labels.values()), title=None, axis=alt.Axis(labelLimit=LABEL_WIDTH)),
            x=alt.X("seconds:Q", title="Time (seconds)"),
            color=legend_on_top("stage", STAGE_COLOURS),
            order="place:Q",
            tooltip=["run", "stage", alt.Tooltip("seconds", format=",.2f")],
        )
        .properties(height=alt.Step(ROW_HEIGHT))
    )


def history() -> None:
    """What became of the records of each run that processed any; the few that were kept out have their own scale."""
    frame = pipeline.records_by_run(RUNS_SHOWN)
    if frame.empty:
        return
    frame["run"] = frame["started_at"].map(at)
    accepted = run_chart(frame, ("accepted",), "Records accepted by run")
    if not frame[["rejected", "duplicate"]].to_numpy().any():
        st.altair_chart(accepted)
        return
    taken, kept_out = st.columns(2)
    taken.altair_chart(accepted)
    kept_out.altair_chart(run_chart(frame, ("rejected", "duplicate"), "Records in quarantine by run"))


def run_chart(frame: pd.DataFrame, dispositions: tuple[str, ...], title: str) -> alt.Chart:
    """Records of some dispositions, a stacked bar a run, the oldest at the left."""
    tall = frame.melt("run", list(dispositions), "disposition", "records")
    colours = {name: DISPOSITIONS[name] for name in dispositions}
    return (
        alt.Chart(tall, title=title)
        .mark_bar(width=alt.RelativeBandSize(0.6))
        .encode(
            x=alt.X("run:O", sort=frame["run"].tolist(), title="Run (UTC)", axis=SHORT_TIME),
            y=alt.Y("records:Q", title="Records", axis=alt.Axis(format=COUNTS, tickMinStep=1)),
            color=legend_on_top("disposition", colours) if len(colours) > 1 else alt.value(*colours.values()),
            tooltip=["run", "disposition", alt.Tooltip("records", format=COUNTS)],
        )
        .properties(height=320)
    )


st.title("Overview")
overview()
