with

versions as (
    select * from {{ ref('int_aircraft_versions') }}
),

flights as (
    select * from {{ ref('int_flights_enriched') }}
),

inferred as (
    select distinct flights.tail_number
    from flights
    left join versions on flights.tail_number = versions.tail_number
    where flights.tail_number is not null and versions.tail_number is null
),

members as (
    select
        aircraft_version_id,
        aircraft_id,
        tail_number,
        version_number,
        manufactured_year,
        aircraft_type,
        manufacturer,
        model_name,
        engine_count,
        seat_count,
        cruising_speed_mph,
        engine_type,
        valid_from_at,
        valid_to_at,
        is_current,
        false as is_inferred,
        false as is_unknown
    from versions

    union all

    select
        {{ version_key('tail_number', 1) }} as aircraft_version_id,
        {{ member_key(['tail_number']) }} as aircraft_id,
        tail_number,
        1 as version_number,
        null as manufactured_year,
        null as aircraft_type,
        null as manufacturer,
        null as model_name,
        null as engine_count,
        null as seat_count,
        null as cruising_speed_mph,
        null as engine_type,
        {{ beginning_of_time() }} as valid_from_at,
        {{ end_of_time() }} as valid_to_at,
        true as is_current,
        true as is_inferred,
        false as is_unknown
    from inferred

    union all

    select
        {{ unknown_key() }} as aircraft_version_id,
        {{ unknown_key() }} as aircraft_id,
        null as tail_number,
        1 as version_number,
        null as manufactured_year,
        'Unknown' as aircraft_type,
        'Unknown' as manufacturer,
        'Unknown' as model_name,
        null as engine_count,
        null as seat_count,
        null as cruising_speed_mph,
        'Unknown' as engine_type,
        {{ beginning_of_time() }} as valid_from_at,
        {{ end_of_time() }} as valid_to_at,
        true as is_current,
        false as is_inferred,
        true as is_unknown
),

final as (
    select
        aircraft_version_id,
        aircraft_id,
        tail_number,
        version_number,
        manufactured_year,
        aircraft_type,
        manufacturer,
        model_name,
        engine_count,
        seat_count,
        cruising_speed_mph,
        engine_type,
        valid_from_at,
        valid_to_at,
        is_current,
        is_inferred,
        is_unknown
    from members
)

select * from final
