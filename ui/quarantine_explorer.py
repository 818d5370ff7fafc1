"""The quarantine explorer of the quality page: records by rule, and each with its place and bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st
from charts import COUNTS, DISPOSITIONS, LABEL_WIDTH, ROW_HEIGHT, legend_on_top
from dpipe.landing.manifest import BATCH_ID
from notices import nothing_yet
from queries import quarantine
from words import visible

RECORDS_SHOWN = 500
KEPT_OUT = {name: DISPOSITIONS[name] for name in ("rejected", "duplicate")}


def explorer() -> None:
    """The quarantined records of a dataset, or of the batch that the address names: counts by reason, then all."""
    st.subheader("Quarantine")
    names, batch = quarantine.datasets(), asked_batch()
    if not names:
        nothing_yet("Nothing was processed in this project yet.", "dpipe run")
        return
    reasons = {name: quarantine.reasons(name, batch) for name in names}
    filled = [name for name in names if not reasons[name].empty]
    if not filled:
        what = f" of the batch `{batch}`" if batch else ""
        st.success(f"No record{what} is in quarantine.", icon=":material/check_circle:")
        return
    dataset_box, disposition_box, rule_box = st.columns(3)
    dataset = dataset_box.selectbox("Dataset", filled)
    by_reason = reasons[dataset]
    disposition = disposition_box.selectbox(
        "Disposition", ["all", *sorted(by_reason["disposition"].unique())]
    )
    if disposition != "all":
        by_reason = by_reason[by_reason["disposition"] == disposition]
    any_rule = quarantine.Reason(disposition=None if disposition == "all" else disposition, batch=batch)
    choices = {any_rule: "all"} | {
        replace(reason_of(row), batch=batch): words(row) for row in by_reason.to_dict("records")
    }
    reason = rule_box.selectbox("Rule", list(choices), format_func=choices.__getitem__)
    st.altair_chart(reason_chart(reasons[dataset], dataset))
    records(dataset, reason)


def asked_batch() -> str | None:
    """The batch that the address asks for (`?batch=…`), said with a way back to all of them."""
    batch = st.query_params.get("batch", "")
    if not BATCH_ID.fullmatch(batch):
        return None
    said, back = st.columns([4, 1], vertical_alignment="center")
    said.info(f"Only records of the batch `{batch}`.", icon=":material/filter_alt:")
    if back.button("Show all batches", width="stretch"):
        st.query_params.clear()
        st.rerun()
    return batch


def reason_of(row: dict[str, Any]) -> quarantine.Reason:
    """The reason that a row of counts is about."""
    column = row["column_name"] if isinstance(row["column_name"], str) else None
    return quarantine.Reason(row["disposition"], row["rule"], column)


def words(row: dict[str, Any]) -> str:
    """A reason as people say it."""
    reason = reason_of(row)
    if reason.disposition == "duplicate":
        return f"duplicate, {reason.rule}"
    return f"{reason.rule} ({reason.column})" if reason.column else str(reason.rule)


def reason_chart(by_reason: pd.DataFrame, dataset: str) -> alt.Chart:
    """Records by reason; one that broke several rules counts under each."""
    frame = by_reason.assign(reason=[words(row) for row in by_reason.to_dict("records")])
    bars = alt.Chart(frame, title=f"Quarantined records of {dataset} by rule").encode(
        y=alt.Y("reason:N", sort=frame["reason"].tolist(), title=None, axis=alt.Axis(labelLimit=LABEL_WIDTH)),
        x=alt.X(
            "records:Q",
            title="Records (one that broke several rules counts under each)",
            axis=alt.Axis(format=COUNTS, tickMinStep=1),
        ),
        tooltip=["disposition", "reason", alt.Tooltip("records", format=COUNTS)],
    )
    labels = bars.mark_text(align="left", dx=4).encode(text=alt.Text("records:Q", format=COUNTS))
    return (bars.mark_bar().encode(color=legend_on_top("disposition", KEPT_OUT)) + labels).properties(
        height=alt.Step(ROW_HEIGHT)
    )


def records(dataset: str, reason: quarantine.Reason) -> None:
    """The records of a reason with their place and bytes, and one of them in full."""
    total = quarantine.count(dataset, reason)
    found = quarantine.records(dataset, reason, RECORDS_SHOWN)
    st.caption(
        f"{total:,} record{'' if total == 1 else 's'}"
        + (f", the first {RECORDS_SHOWN:,} shown" if total > RECORDS_SHOWN else "")
        + ". Choose one to see it in full."
    )
    table = pd.DataFrame(
        {
            "Record": found["record_number"],
            "Line": found["line"],
            "Byte offset": found["byte_offset"],
            "Disposition": found["disposition"],
            "Violations": found["violations"].map(
                lambda broken: "; ".join(violation["message"] for violation in broken)
            ),
            "Raw bytes": found["raw"].map(lambda raw: visible(bytes(raw))),
            "Batch": found["batch_id"],
        }
    )
    number = st.column_config.NumberColumn(format="%d", width="small")
    event = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            **dict.fromkeys(("Record", "Line", "Byte offset"), number),
            "Violations": st.column_config.TextColumn(width=260),
            "Raw bytes": st.column_config.TextColumn(width=360),
        },
    )
    for index in event.selection.rows:
        one_record(found.iloc[index])


def one_record(row: pd.Series) -> None:
    """A record in full: place, what it broke, the winner's place of a duplicate, and its bytes."""
    place = [f"batch {row['batch_id']}", f"record {row['record_number']}"]
    place += [
        f"{label} {int(row[name]) if name != 'member' else row[name]}"
        for name, label in (("member", "file"), ("line", "line"), ("byte_offset", "byte offset"))
        if pd.notna(row[name])
    ]
    st.text(f"{row['disposition'].capitalize()}: {', '.join(place)}")
    if pd.notna(row["winner_batch_id"]):
        relation = {"identical": "Identical to", "conflicting": "Conflicts with"}[row["duplicate_kind"]]
        winner = f"record {int(row['winner_record_number'])} of batch {row['winner_batch_id']}"
        st.text(f"{relation} {winner}, which was kept")
    else:
        broken = pd.DataFrame(list(row["violations"]), columns=["column", "rule", "message"]).fillna("")
        st.dataframe(broken.rename(columns=str.capitalize), hide_index=True)
    header = [] if row["raw_header"] is None else [visible(bytes(row["raw_header"]))]
    st.code("\n".join([*header, visible(bytes(row["raw"]))]), language=None, wrap_lines=True)
    if row["raw_bytes"] > quarantine.SHOWN_BYTES:
        st.caption(f"The first {quarantine.SHOWN_BYTES:,} of {row['raw_bytes']:,} bytes.")
