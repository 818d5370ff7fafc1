with

source as (
    select * from {{ source('nycflights', 'weather') }}
),

renamed as (
    select
        -- keys
        origin as airport_code,
        {{ to_utc('time_hour') }} as observed_at,

        -- local time at the airport
        {{ date_of('year', 'month', 'day') }} as observation_date,
        hour as observation_hour,

        -- measures
        temp as temperature_fahrenheit,
        dewp as dew_point_fahrenheit,
        humid as relative_humidity_percent,
        wind_dir as wind_direction_degrees,
        wind_speed as wind_speed_mph,
        wind_gust as wind_gust_mph,
        precip as precipitation_inches,
        pressure as pressure_millibars,
        visib as visibility_miles,

        -- provenance
        _dpipe_batch_id as batch_id,
        _dpipe_record_no as record_number
    from source
)

select * from renamed
