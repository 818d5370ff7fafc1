with

weather as (
    select * from {{ ref('stg_nycflights__weather') }}
),

flights as (
    select * from {{ ref('int_flights_enriched') }}
),

observed as (
    select
        {{ weather_key('airport_code', 'observed_at') }} as weather_id,
        *
    from weather
),

-- Hours that flights were due to leave in and that nobody observed.
inferred as (
    select
        flights.weather_id,
        flights.origin_airport_code as airport_code,
        flights.scheduled_departure_hour_at as observed_at,
        min(flights.scheduled_departure_date) as observation_date,
        min(flights.scheduled_departure_hour) as observation_hour
    from flights
    left join observed on flights.weather_id = observed.weather_id
    where flights.weather_id <> {{ unknown_key() }} and observed.weather_id is null
    group by
        flights.weather_id,
        flights.origin_airport_code,
        flights.scheduled_departure_hour_at
),

hours as (
    select
        weather_id,
        airport_code,
        observed_at,
        observation_date,
        observation_hour,
        temperature_fahrenheit,
        dew_point_fahrenheit,
        relative_humidity_percent,
        wind_direction_degrees,
        wind_speed_mph,
        wind_gust_mph,
        precipitation_inches,
        pressure_millibars,
        visibility_miles,
        false as is_inferred,
        false as is_unknown,
        batch_id,
        record_number
    from observed

    union all

    select
        weather_id,
        airport_code,
        observed_at,
        observation_date,
        observation_hour,
        null as temperature_fahrenheit,
        null as dew_point_fahrenheit,
        null as relative_humidity_percent,
        null as wind_direction_degrees,
        null as wind_speed_mph,
        null as wind_gust_mph,
        null as precipitation_inches,
        null as pressure_millibars,
        null as visibility_miles,
        true as is_inferred,
        false as is_unknown,
        null as batch_id,
        null as record_number
    from inferred

    union all

    select
        {{ unknown_key() }} as weather_id,
        null as airport_code,
        null as observed_at,
        null as observation_date,
        null as observation_hour,
        null as temperature_fahrenheit,
        null as dew_point_fahrenheit,
        null as relative_humidity_percent,
        null as wind_direction_degrees,
        null as wind_speed_mph,
        null as wind_gust_mph,
        null as precipitation_inches,
        null as pressure_millibars,
        null as visibility_miles,
        false as is_inferred,
        true as is_unknown,
        null as batch_id,
        null as record_number
),

final as (
    select
        weather_id,
        {{ member_key(['airport_code']) }} as airport_id,
        {{ date_key('observation_date') }} as observation_date_id,
        airport_code,
        observed_at,
        observation_date,
        observation_hour,
        temperature_fahrenheit,
        dew_point_fahrenheit,
        relative_humidity_percent,
        wind_direction_degrees,
        wind_speed_mph,
        wind_gust_mph,
        precipitation_inches,
        pressure_millibars,
        visibility_miles,
        is_inferred,
        is_unknown,
        batch_id,
        record_number
    from hours
)

select * from final
