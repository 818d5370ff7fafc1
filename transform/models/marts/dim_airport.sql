with

airports as (
    select * from {{ ref('stg_nycflights__airports') }}
),

flights as (
    select * from {{ ref('int_flights_enriched') }}
),

weather as (
    select * from {{ ref('stg_nycflights__weather') }}
),

mentioned as (
    select origin_airport_code as airport_code from flights
    union
    select destination_airport_code as airport_code from flights
    union
    select airport_code from weather
),

inferred as (
    select mentioned.airport_code
    from mentioned
    left join airports on mentioned.airport_code = airports.airport_code
    where mentioned.airport_code is not null and airports.airport_code is null
),

members as (
    select
        {{ member_key(['airport_code']) }} as airport_id,
        airport_code,
        airport_name,
        latitude_degrees,
        longitude_degrees,
        altitude_feet,
        utc_offset_hours,
        daylight_saving_code,
        time_zone,
        false as is_inferred,
        false as is_unknown
    from airports

    union all

    select
        {{ member_key(['airport_code']) }} as airport_id,
        airport_code,
        null as airport_name,
        null as latitude_degrees,
        null as longitude_degrees,
        null as altitude_feet,
        null as utc_offset_hours,
        null as daylight_saving_code,
        null as time_zone,
        true as is_inferred,
        false as is_unknown
    from inferred

    union all

    select
        {{ unknown_key() }} as airport_id,
        null as airport_code,
        'Unknown' as airport_name,
        null as latitude_degrees,
        null as longitude_degrees,
        null as altitude_feet,
        null as utc_offset_hours,
        null as daylight_saving_code,
        null as time_zone,
        false as is_inferred,
        true as is_unknown
),

final as (
    select
        airport_id,
        airport_code,
        airport_name,
        latitude_degrees,
        longitude_degrees,
        altitude_feet,
        utc_offset_hours,
        daylight_saving_code,
        time_zone,
        is_inferred,
        is_unknown
    from members
)

select * from final
