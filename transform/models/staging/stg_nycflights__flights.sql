with

source as (
    select * from {{ source('nycflights', 'flights') }}
),

renamed as (
    select
        -- keys
        carrier as carrier_code,
        flight as flight_number,
        tailnum as tail_number,
        origin as origin_airport_code,
        dest as destination_airport_code,

        -- schedule: hhmm clock times, local to the airport
        {{ date_of('year', 'month', 'day') }} as scheduled_departure_date,
        year as scheduled_departure_year,
        month as scheduled_departure_month,
        day as scheduled_departure_day,
        sched_dep_time as scheduled_departure_hhmm,
        sched_arr_time as scheduled_arrival_hhmm,
        hour as scheduled_departure_hour,
        minute as scheduled_departure_minute,
        {{ to_utc('time_hour') }} as scheduled_departure_hour_at,

        -- what happened: hhmm clock times, local to the airport
        dep_time as departure_hhmm,
        arr_time as arrival_hhmm,
        dep_delay as departure_delay_minutes,
        arr_delay as arrival_delay_minutes,
        air_time as air_time_minutes,
        distance as distance_miles,

        -- provenance
        _dpipe_batch_id as batch_id,
        _dpipe_record_no as record_number
    from source
)

select * from renamed
