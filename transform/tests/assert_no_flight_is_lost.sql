-- Every accepted flight is one row of the fact, and every row of the fact is an accepted flight.
with

staged as (
    select count(*) as flight_count from {{ ref('stg_nycflights__flights') }}
),

facts as (
    select count(*) as flight_count from {{ ref('fct_flights') }}
),

final as (
    select
        staged.flight_count as staged_flight_count,
        facts.flight_count as fact_flight_count
    from staged
    cross join facts
    where staged.flight_count <> facts.flight_count
)

select * from final
