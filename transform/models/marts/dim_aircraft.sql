with

planes as (
    select * from {{ ref('stg_nycflights__planes') }}
),

flights as (
    select * from {{ ref('int_flights_enriched') }}
),

inferred as (
    select distinct flights.tail_number
    from flights
    left join planes on flights.tail_number = planes.tail_number
    where flights.tail_number is not null and planes.tail_number is null
),

members as (
    select
        {{ member_key(['tail_number']) }} as aircraft_id,
        tail_number,
        manufactured_year,
        aircraft_type,
        manufacturer,
        model_name,
        engine_count,
        seat_count,
        cruising_speed_mph,
        engine_type,
        false as is_inferred,
        false as is_unknown
    from planes

    union all

    select
        {{ member_key(['tail_number']) }} as aircraft_id,
        tail_number,
        null as manufactured_year,
        null as aircraft_type,
        null as manufacturer,
        null as model_name,
        null as engine_count,
        null as seat_count,
        null as cruising_speed_mph,
        null as engine_type,
        true as is_inferred,
        false as is_unknown
    from inferred

    union all

    select
        {{ unknown_key() }} as aircraft_id,
        null as tail_number,
        null as manufactured_year,
        'Unknown' as aircraft_type,
        'Unknown' as manufacturer,
        'Unknown' as model_name,
        null as engine_count,
        null as seat_count,
        null as cruising_speed_mph,
        'Unknown' as engine_type,
        false as is_inferred,
        true as is_unknown
),

final as (
    select
        aircraft_id,
        tail_number,
        manufactured_year,
        aircraft_type,
        manufacturer,
        model_name,
        engine_count,
        seat_count,
        cruising_speed_mph,
        engine_type,
        is_inferred,
        is_unknown
    from members
)

select * from final
