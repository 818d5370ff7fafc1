with

flights as (
    select * from {{ ref('stg_nycflights__flights') }}
),

-- Each step adds what the next one reads.
flagged as (
    select
        *,
        departure_hhmm is not null as is_departed,
        departure_hhmm is null as is_cancelled,
        departure_hhmm is not null and arrival_delay_minutes is null as is_diverted,
        {{ dbt.dateadd('minute', 'scheduled_departure_minute', 'scheduled_departure_hour_at') }}
            as scheduled_departure_at,
        {{ time_on_date('scheduled_departure_date', 'scheduled_departure_hhmm') }} as scheduled_departure_local
    from flights
),

-- The delay says which day a clock time belongs to: a flight due at 23:55 that left at 0:10 left the next day, one
-- due at 0:05 that left at 23:59 the day before.
departed as (
    select
        *,
        {{ next_time_on_clock('scheduled_departure_local', 'scheduled_arrival_hhmm') }} as scheduled_arrival_local,
        case
            when is_departed then {{ dbt.dateadd('minute', 'departure_delay_minutes', 'scheduled_departure_at') }}
        end as departed_at,
        case
            when is_departed then {{ dbt.dateadd('minute', 'departure_delay_minutes', 'scheduled_departure_local') }}
        end as departed_local
    from flagged
),

arrived as (
    select
        *,
        case
            when arrival_delay_minutes is not null
                then {{ dbt.dateadd('minute', 'arrival_delay_minutes', 'scheduled_arrival_local') }}
            else {{ next_time_on_clock('departed_local', 'arrival_hhmm') }}
        end as arrived_local
    from departed
),

keyed as (
    select
        *,
        {{ surrogate_key([
            'scheduled_departure_year', 'scheduled_departure_month', 'scheduled_departure_day', 'carrier_code',
            'flight_number', 'origin_airport_code', 'scheduled_departure_hhmm'
        ]) }} as flight_id,
        {{ member_key(['carrier_code']) }} as airline_id,
        {{ member_key(['origin_airport_code']) }} as origin_airport_id,
        {{ member_key(['destination_airport_code']) }} as destination_airport_id,
        {{ member_key(['tail_number']) }} as aircraft_id,
        {{ date_key('scheduled_departure_date') }} as scheduled_departure_date_id,
        {{ date_key('departed_local') }} as departed_date_id,
        {{ date_key('arrived_local') }} as arrived_date_id,
        {{ weather_key('origin_airport_code', 'scheduled_departure_hour_at') }} as weather_id
    from arrived
),

final as (
    select
        flight_id,
        airline_id,
        origin_airport_id,
        destination_airport_id,
        aircraft_id,
        scheduled_departure_date_id,
        departed_date_id,
        arrived_date_id,
        weather_id,
        carrier_code,
        flight_number,
        tail_number,
        origin_airport_code,
        destination_airport_code,
        scheduled_departure_date,
        scheduled_departure_hour,
        scheduled_departure_hour_at,
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
        coalesce(
            cast(coalesce(arrived_local, scheduled_arrival_local) as date)
            > cast(coalesce(departed_local, scheduled_departure_local) as date),
            false
        ) as is_overnight,
        batch_id,
        record_number
    from keyed
)

select * from final
