with

versions as (
    select * from {{ ref('int_aircraft_versions') }}
),

{% if is_incremental() %}
    new_batches as (
        select
            dataset,
            batch_id
        from {{ source('dpipe', 'batches_to_transform') }}
    ),

    new_flights as (
        select *
        from {{ ref('int_flights_enriched') }}
        where batch_id in (select new_batches.batch_id from new_batches where new_batches.dataset = 'flights')
    ),

    changed_aircraft as (
        select
            tail_number,
            min(valid_from_at) as changed_from_at
        from versions
        where
            version_number > 1
            and batch_id in (select new_batches.batch_id from new_batches where new_batches.dataset = 'planes')
        group by tail_number
    ),

    -- A new version takes over the flights from its beginning on, those too that are here already.
    taken_over as (
        select flights.*
        from {{ ref('int_flights_enriched') }} as flights
        inner join changed_aircraft
            on
                flights.tail_number = changed_aircraft.tail_number
                and flights.scheduled_departure_at >= changed_aircraft.changed_from_at
    ),

    -- A flight may be both.
    flights as (
        select * from new_flights
        union
        select * from taken_over
    ),
{% else %}
    flights as (
        select * from {{ ref('int_flights_enriched') }}
    ),
{% endif %}

final as (
    select
        flights.flight_id,
        flights.airline_id,
        flights.origin_airport_id,
        flights.destination_airport_id,
        flights.aircraft_id,
        coalesce(versions.aircraft_version_id, {{ version_key('flights.tail_number', 1) }}) as aircraft_version_id,
        flights.scheduled_departure_date_id,
        flights.departed_date_id,
        flights.arrived_date_id,
        flights.weather_id,
        flights.carrier_code,
        flights.flight_number,
        flights.tail_number,
        flights.origin_airport_code,
        flights.destination_airport_code,
        flights.scheduled_departure_date,
        flights.scheduled_departure_hour,
        flights.scheduled_departure_at,
        flights.scheduled_departure_local,
        flights.departed_at,
        flights.departed_local,
        flights.scheduled_arrival_local,
        flights.arrived_local,
        flights.departure_delay_minutes,
        flights.arrival_delay_minutes,
        flights.air_time_minutes,
        flights.distance_miles,
        flights.is_departed,
        flights.is_cancelled,
        flights.is_diverted,
        flights.is_overnight,
        flights.batch_id,
        flights.record_number
    from flights
    left join versions
        on
            flights.tail_number = versions.tail_number
            and flights.scheduled_departure_at >= versions.valid_from_at
            and flights.scheduled_departure_at < versions.valid_to_at
)

select * from final
