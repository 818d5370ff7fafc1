"""Flights out of the published marts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from queries import published

if TYPE_CHECKING:
    from datetime import date

    import pandas as pd


@dataclass(frozen=True)
class Filters:
    """Which flights are meant; None and empty mean all. Both dates are included."""

    begin: date | None = None
    end: date | None = None
    origins: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()

    def parameters(self) -> dict[str, Any]:
        """The values that the conditions bind."""
        route = {"begin": self.begin, "end": self.end, "origins": list(self.origins)}
        return {**route, "carriers": list(self.carriers)}


# Constants that the queries are put together from. Values come in as `$parameters` only.
_ON_ROUTE = """
    ($begin::date is null or scheduled_departure_date >= $begin)
    and ($end::date is null or scheduled_departure_date <= $end)
    and (len($origins::varchar[]) = 0 or list_contains($origins::varchar[], origin_airport_code))
"""
_OF_CARRIER = "(len($carriers::varchar[]) = 0 or list_contains($carriers::varchar[], carrier_code))"
_CHOSEN = f"with chosen as (select * from marts.fct_flights where {_ON_ROUTE} and {_OF_CARRIER})"  # noqa: S608
_MEASURES = """
    count(*) as flights,
    count_if(is_departed) as departed,
    count_if(is_cancelled) as cancelled,
    avg(departure_delay_minutes) as mean_delay_minutes,
    count_if(is_cancelled) / count(*) as cancelled_share
"""


def bounds() -> tuple[date, date] | None:
    """The first and the last scheduled date; None without flights."""
    found = published.read(
        "select min(scheduled_departure_date) as first, max(scheduled_departure_date) as last from marts.fct_flights"
    )
    first, last = found["first"].iloc[0], found["last"].iloc[0]
    return (first, last) if first and last else None


def origins() -> list[str]:
    """Codes of the airports that flights leave from."""
    sql = "select distinct origin_airport_code as code from marts.fct_flights order by code"
    return published.read(sql)["code"].dropna().tolist()


def carriers() -> dict[str, str]:
    """Names of the carriers that fly, by code."""
    found = published.read(
        """
        select distinct carrier_code, coalesce(airline_name, carrier_code) as airline
        from marts.fct_flights
        inner join marts.dim_airline using (airline_id, carrier_code)
        order by airline
        """
    )
    return dict(zip(found["carrier_code"], found["airline"], strict=True))


def overall(filters: Filters) -> dict[str, Any]:
    """`flights, departed, cancelled, mean_delay_minutes` (of those that left) and `cancelled_share` of all chosen."""
    sql = f"{_CHOSEN} select {_MEASURES} from chosen"  # noqa: S608 - constants
    return published.read(sql, filters.parameters()).iloc[0].to_dict()


def by_carrier(filters: Filters) -> pd.DataFrame:
    """The measures by `airline`."""
    return _measured("coalesce(airline_name, chosen.carrier_code) as airline", filters)


def by_hour(filters: Filters) -> pd.DataFrame:
    """The measures by `hour` of the scheduled departure, local, 0 to 23."""
    return _measured("scheduled_departure_hour as hour", filters)


def by_month(filters: Filters) -> pd.DataFrame:
    """The measures by the first day of each `month`."""
    return _measured("date_trunc('month', scheduled_departure_date)::timestamp as month", filters)


def by_route(filters: Filters, top: int) -> pd.DataFrame:
    """The measures of the `top` routes with the most flights, out of `daily_route_performance`.

    That table doesn't know carriers: with a filter on those, the flights themselves are counted.
    """
    if filters.carriers:
        source, measures = f"{_CHOSEN} select", f"{_MEASURES} from chosen"
    else:
        source = "select"
        measures = f"""
            sum(flight_count)::bigint as flights,
            sum(departed_flight_count)::bigint as departed,
            sum(cancelled_flight_count)::bigint as cancelled,
            sum(total_departure_delay_minutes) / nullif(sum(departed_flight_count), 0) as mean_delay_minutes,
            sum(cancelled_flight_count) / sum(flight_count) as cancelled_share
            from marts.daily_route_performance
            where {_ON_ROUTE}
        """
    route = "origin_airport_code || ' → ' || destination_airport_code as route"
    sql = f"{source} {route}, {measures} group by route order by flights desc, route limit $top"
    parameters = {**filters.parameters(), "top": top}
    if not filters.carriers:
        del parameters["carriers"]
    return published.read(sql, parameters)


def by_weather() -> pd.DataFrame:
    """The measures of every flight by `weather_factor` and `weather_band`, the band `unknown` last.

    The table knows neither dates nor carriers.
    """
    return published.read(
        """
        select
            weather_factor,
            band_order,
            weather_band,
            flight_count as flights,
            departed_flight_count as departed,
            cancelled_flight_count as cancelled,
            mean_departure_delay_minutes as mean_delay_minutes,
            cancelled_flight_count / flight_count as cancelled_share
        from marts.delay_by_weather
        order by weather_factor, band_order = 0, band_order
        """
    )


def _measured(group: str, filters: Filters) -> pd.DataFrame:
    name = group.rpartition(" ")[2]
    airlines = "inner join marts.dim_airline using (airline_id)" if name == "airline" else ""
    sql = f"{_CHOSEN} select {group}, {_MEASURES} from chosen {airlines} group by all order by {name}"  # noqa: S608 - constants
    return published.read(sql, filters.parameters())
