"""Quality: what the checks said, newest first and over runs, and the records that were kept out."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st
from charts import COUNTS, LABEL_WIDTH, ROW_HEIGHT, SHORT_TIME, VERDICT_COLOURS, legend_on_top
from notices import nothing_yet, problems_told
from quarantine_explorer import explorer
from queries import checks
from words import at

RUNS_SHOWN = 15
RUN_WIDTH = 46


def newest_results() -> None:
    """The newest verdict of every check, the failing ones told in full."""
    found = checks.newest()
    if found.empty:
        nothing_yet("Nothing was checked in this project yet.", "dpipe run")
        return
    counts = found["verdict"].value_counts()
    for column, verdict in zip(st.columns(4), reversed(checks.VERDICTS), strict=True):
        column.metric(
            f"Checks {verdict}" if verdict != "warning" else "Checks with a warning", f"{counts[verdict]:,}"
        )
    failing = found[found["verdict"] != "passed"]
    for _, row in failing.iterrows():
        failing_check(row)
    with st.expander(f"All {len(found):,} checks", expanded=failing.empty):
        st.dataframe(
            found[
                [
                    "verdict",
                    "layer",
                    "relation",
                    "column_name",
                    "rule",
                    "unexpected_count",
                    "total_count",
                    "observed",
                ]
            ].assign(checked_at=found["checked_at"].map(at)),
            hide_index=True,
            column_config={
                "verdict": "Verdict",
                "layer": "Layer",
                "relation": "Relation",
                "column_name": "Column",
                "rule": "Rule",
                "unexpected_count": st.column_config.NumberColumn("Rows that broke it", format="localized"),
                "total_count": st.column_config.NumberColumn("Rows", format="localized"),
                "observed": "Observed",
                "checked_at": "Checked at (UTC)",
            },
        )


def failing_check(row: pd.Series) -> None:
    """One check that didn't pass: how many rows, which, and the SQL that finds them."""
    where = f"`{row['relation']}`" + (f" `{row['column_name']}`" if row["column_name"] else "")
    with st.expander(f"**{row['verdict']}** · {row['layer']} · {where} · `{row['rule']}` · {how_many(row)}"):
        words, sql = checks.explained(row["detail"])
        for sentence in words:
            st.text(sentence)
        if row["verdict"] == "could not run":
            st.text(row["observed"])
        if sql:
            st.code(sql, language="sql", wrap_lines=True)


def how_many(row: pd.Series) -> str:
    """How many rows broke a rule, or what was seen where rows aren't counted."""
    if pd.notna(row["unexpected_count"]):
        of = f" of {int(row['total_count']):,}" if pd.notna(row["total_count"]) else ""
        return f"{int(row['unexpected_count']):,}{of} rows"
    return f"observed `{row['observed']}`"


def over_runs() -> None:
    """A grid of verdicts: relations by run, then the rules of one relation by run."""
    found = checks.over_runs(RUNS_SHOWN)
    if found.empty:
        return
    st.subheader("Checks over runs")
    found["run"] = found["run_at"].map(at)
    found["what"] = found["layer"] + " · " + found["relation"].str.rpartition(".")[2]
    names = [f"{layer} · " for layer in checks.LAYERS]
    order = sorted(
        found["what"].unique(), key=lambda what: ([what.startswith(n) for n in names].index(True), what)
    )
    st.altair_chart(grid(found, order, "Worst verdict by relation and run"), width="content")
    ranks = found["verdict"].map(checks.VERDICTS.index).groupby(found["what"]).min()
    chosen = st.selectbox("Rules of", order, index=order.index(ranks.idxmin()))
    rules = found[found["what"] == chosen]
    rules = rules.assign(
        what=rules["rule"] + rules["column_name"].map(lambda name: f" ({name})" if name else "")
    )
    st.altair_chart(
        grid(rules, sorted(rules["what"].unique()), f"Verdict by rule and run: {chosen}"), width="content"
    )


def grid(found: pd.DataFrame, order: list[str], title: str) -> alt.Chart:
    """A cell a thing and run, coloured by the worst verdict in it."""
    grouped = found.assign(
        rank=found["verdict"].map(checks.VERDICTS.index),
        broke=found["unexpected_count"].where(found["verdict"] != "passed"),
    ).groupby(["what", "run"], as_index=False)
    frame = grouped.agg(rank=("rank", "min"), checks=("rank", "size"), broke=("broke", "sum"))
    frame["verdict"] = frame["rank"].map(lambda rank: checks.VERDICTS[rank])
    return (
        alt.Chart(frame, title=title)
        .mark_rect(stroke="white", strokeWidth=2)
        .encode(
            x=alt.X(
                "run:O", sort=found["run"].drop_duplicates().tolist(), title="Run (UTC)", axis=SHORT_TIME
            ),
            y=alt.Y("what:N", sort=order, title=None, axis=alt.Axis(labelLimit=LABEL_WIDTH)),
            color=legend_on_top("verdict", VERDICT_COLOURS),
            tooltip=[
                alt.Tooltip("what", title="what"),
                "run",
                "verdict",
                alt.Tooltip("checks", format=COUNTS),
                alt.Tooltip("broke", title="rows that broke a rule", format=COUNTS),
            ],
        )
        .properties(height=alt.Step(ROW_HEIGHT), width=alt.Step(RUN_WIDTH))
    )


st.title("Quality")
asked_for_a_batch = "batch" in st.query_params
with problems_told():
    if asked_for_a_batch:
        explorer()
    newest_results()
    over_runs()
    if not asked_for_a_batch:
        explorer()
