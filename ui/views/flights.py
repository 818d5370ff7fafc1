"""Flights: delays and cancellations by carrier, route, hour, month and weather."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st
from charts import ROW_HEIGHT
from flights_charts import MEASURES, Measure, lying_bars, standing_bars
from notices import nothing_yet, problems_told
from queries import flights, published

if TYPE_CHECKING:
    from datetime import date

FACTORS = {
    "temperature": "temperature",
    "wind_speed": "wind speed",
    "precipitation": "precipitation in the hour",
    "visibility": "visibility",
}


def chosen(first: date, last: date) -> flights.Filters:
    """What the reader asks for, out of the dates on record; a filter that takes everything in is none."""
    names = flights.carriers()
    date_box, origin_box, carrier_box = st.columns([2, 2, 3])
    dates = date_box.date_input("Scheduled departure", (first, last), min_value=first, max_value=last)
    origins = origin_box.multiselect("Origin", flights.origins(), placeholder="All airports")
    carriers = carrier_box.multiselect(
        "Carrier", list(names), format_func=lambda code: f"{names[code]} ({code})", placeholder="All carriers"
    )
    # While a range is being picked, only its beginning is there.
    begin, end = (dates[0], dates[-1]) if dates else (first, last)
    return flights.Filters(
        begin if begin > first else None, end if end < last else None, tuple(origins), tuple(carriers)
    )


def figures(filters: flights.Filters) -> bool:
    """The figures of all chosen flights; False when there are none."""
    found = flights.overall(filters)
    if not found["flights"]:
        st.info("No flight was scheduled so. Widen the filters.", icon=":material/info:")
        return False
    count, delay, cancelled = st.columns(3)
    count.metric("Flights scheduled", f"{int(found['flights']):,}", border=True)
    delay.metric(
        f"Mean departure delay of the {int(found['departed']):,} that left",
        f"{found['mean_delay_minutes']:.1f} min" if found["departed"] else "none left",
        border=True,
    )
    cancelled.metric(
        f"Cancelled: {int(found['cancelled']):,} never left", f"{found['cancelled_share']:.1%}", border=True
    )
    return True


def charts(filters: flights.Filters, measure: Measure, what: str) -> None:
    """The measure by carrier, hour and month, of the chosen flights."""
    left, right = st.columns(2)
    by_carrier = flights.by_carrier(filters).dropna(subset=measure.column)
    by_carrier = by_carrier.sort_values(measure.column, ascending=False)
    left.altair_chart(lying_bars(by_carrier, "airline", measure, f"{what} by carrier"))
    by_hour = flights.by_hour(filters).dropna(subset=[measure.column, "hour"])
    beside = max(320, ROW_HEIGHT * len(by_carrier) + 96)
    when = "Hour of the scheduled departure (local time)"
    right.altair_chart(standing_bars(by_hour, "hour", when, measure, f"{what} by hour of the day", beside))
    by_month = flights.by_month(filters).dropna(subset=[measure.column, "month"])
    by_month["month"] = by_month["month"].dt.strftime("%b %Y")
    when = "Month of the scheduled departure"
    st.altair_chart(standing_bars(by_month, "month", when, measure, f"{what} by month"))


def routes(filters: flights.Filters, measure: Measure, what: str) -> None:
    """The measure on the busiest routes."""
    top = st.slider("Routes shown", 5, 50, 15, step=5)
    busiest = flights.by_route(filters, top).dropna(subset=measure.column)
    title = f"{what} on the {len(busiest)} routes with the most flights, the busiest on top"
    st.altair_chart(lying_bars(busiest, "route", measure, title))


def weather(measure: Measure, what: str) -> None:
    """The measure by weather, a chart a factor."""
    st.subheader("Weather at the origin in the hour of the scheduled departure")
    st.caption("Of all flights on record: the filters above don't reach these charts.")
    found = flights.by_weather().dropna(subset=measure.column)
    boxes = [*st.columns(2), *st.columns(2)]
    for box, (factor, name) in zip(boxes, FACTORS.items(), strict=True):
        bands = found[found["weather_factor"] == factor]
        box.altair_chart(lying_bars(bands, "weather_band", measure, f"{what} by {name}"))


def page() -> None:
    """The whole page."""
    if not published.is_there():
        nothing_yet("No marts are published yet.", "dpipe run")
        return
    bounds = flights.bounds()
    if bounds is None:
        nothing_yet("The published marts hold no flight.", "dpipe run")
        return
    filters = chosen(*bounds)
    if not figures(filters):
        return
    what = st.segmented_control("Charts show", list(MEASURES), default="Mean departure delay", required=True)
    charts(filters, MEASURES[what], what)
    routes(filters, MEASURES[what], what)
    weather(MEASURES[what], what)


st.title("Flights")
with problems_told():
    page()
