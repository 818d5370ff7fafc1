with

airlines as (
    select * from {{ ref('stg_nycflights__airlines') }}
),

flights as (
    select * from {{ ref('int_flights_enriched') }}
),

inferred as (
    select distinct flights.carrier_code
    from flights
    left join airlines on flights.carrier_code = airlines.carrier_code
    where flights.carrier_code is not null and airlines.carrier_code is null
),

members as (
    select
        {{ member_key(['carrier_code']) }} as airline_id,
        carrier_code,
        airline_name,
        false as is_inferred,
        false as is_unknown
    from airlines

    union all

    select
        {{ member_key(['carrier_code']) }} as airline_id,
        carrier_code,
        null as airline_name,
        true as is_inferred,
        false as is_unknown
    from inferred

    union all

    select
        {{ unknown_key() }} as airline_id,
        null as carrier_code,
        'Unknown' as airline_name,
        false as is_inferred,
        true as is_unknown
),

final as (
    select
        airline_id,
        carrier_code,
        airline_name,
        is_inferred,
        is_unknown
    from members
)

select * from final
