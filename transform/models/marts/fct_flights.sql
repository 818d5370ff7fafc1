with

flights as (
    select * from {{ ref('int_flights_enriched') }}
    {% if is_incremental() %}
    where batch_id in (
        select new_batches.batch_id
        from {{ source('dpipe', 'batches_to_transform') }} as new_batches
        where new_batches.dataset = 'flights'
    )
    {% endif %}
),

final as (
    select
        flight_id,
        airline_id,
        origin_airport_id,
        destination_airport_id,
        aircraft_id,
        scheduled_departure_date_id,
        weather_id,
        carrier_code,
        flight_number,
        tail_number,
        origin_airport_code,
        destination_airport_code,
        scheduled_departure_date,
        scheduled_departure_hour,
        scheduled_departure_at,
        scheduled_departure_local,
        departed_at,
        departed_local,
        scheduled_arrival_local,
        arrived_local,
        departure_delay_minutes,
        arrival_delay_minutes,
        air_time_minutes,
        distance_miles,
        is_departed,
        is_cancelled,
        is_diverted,
        is_overnight,
        batch_id,
        record_number
    from flights
)

select * from final
