with

flights as (
    select * from {{ ref('fct_flights') }}
),

final as (
    select
        {{ surrogate_key(['scheduled_departure_date_id', 'origin_airport_id', 'destination_airport_id']) }}
            as daily_route_id,
        scheduled_departure_date_id,
        origin_airport_id,
        destination_airport_id,
        scheduled_departure_date,
        origin_airport_code,
        destination_airport_code,
        count(*) as flight_count,
        {{ count_where('is_departed') }} as departed_flight_count,
        {{ count_where('is_cancelled') }} as cancelled_flight_count,
        {{ count_where('is_diverted') }} as diverted_flight_count,
        {{ count_where('departure_delay_minutes > ' ~ var('late_after_minutes')) }} as late_departure_count,
        {{ count_where('arrival_delay_minutes > ' ~ var('late_after_minutes')) }} as late_arrival_count,
        cast(sum(departure_delay_minutes) as bigint) as total_departure_delay_minutes,
        cast(sum(arrival_delay_minutes) as bigint) as total_arrival_delay_minutes,
        cast(avg(departure_delay_minutes) as double) as mean_departure_delay_minutes,
        cast(avg(arrival_delay_minutes) as double) as mean_arrival_delay_minutes,
        cast(avg(air_time_minutes) as double) as mean_air_time_minutes
    from flights
    group by
        scheduled_departure_date_id,
        origin_airport_id,
        destination_airport_id,
        scheduled_departure_date,
        origin_airport_code,
        destination_airport_code
)

select * from final
