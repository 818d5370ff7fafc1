-- Bands that overlap would count a flight twice, bands with gaps would hide it among the unknown.
with

flights as (
    select * from {{ ref('fct_flights') }}
),

bands as (
    select * from {{ ref('delay_by_weather') }}
),

expected as (
    select count(*) as flight_count from flights
),

counted as (
    select
        weather_factor,
        sum(flight_count) as flight_count
    from bands
    group by weather_factor
),

final as (
    select
        counted.weather_factor,
        counted.flight_count,
        expected.flight_count as expected_flight_count
    from counted
    cross join expected
    where counted.flight_count <> expected.flight_count
)

select * from final
