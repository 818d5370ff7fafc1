-- The daily routes add up to the fact.
with

flights as (
    select count(*) as flight_count from {{ ref('fct_flights') }}
),

routes as (
    select coalesce(sum(flight_count), 0) as flight_count from {{ ref('daily_route_performance') }}
),

final as (
    select
        flights.flight_count,
        routes.flight_count as route_flight_count
    from flights
    cross join routes
    where flights.flight_count <> routes.flight_count
)

select * from final
