with

flights as (
    select * from {{ ref('int_flights_enriched') }}
),

versions as (
    select * from {{ ref('int_aircraft_versions') }}
),

{% if is_incremental() %}
    new_batches as (
        select distinct
            dataset,
            batch_id
        from {{ source('dpipe', 'batches_to_transform') }}
    ),

    -- A new version takes over the flights from its beginning on, those too that are here already.
    changed_aircraft as (
        select
            versions.tail_number,
            min(versions.valid_from_at) as changed_from_at
        from versions
        inner join new_batches on versions.batch_id = new_batches.batch_id
        where new_batches.dataset = 'planes' and versions.version_number > 1
        group by versions.tail_number
    ),
{% endif %}

wanted as (
    select flights.*
    from flights
    {% if is_incremental() %}
        left join new_batches on flights.batch_id = new_batches.batch_id and new_batches.dataset = 'flights'
        left join changed_aircraft on flights.tail_number = changed_aircraft.tail_number
        where
            new_batches.batch_id is not null
            or flights.scheduled_departure_at >= changed_aircraft.changed_from_at
    {% endif %}
),

final as (
    select
        wanted.flight_id,
        wanted.airline_id,
        wanted.origin_airport_id,
        wanted.destination_airport_id,
        wanted.aircraft_id,
        coalesce(versions.aircraft_version_id, {{ version_key('wanted.tail_number', 1) }}) as aircraft_version_id,
        wanted.scheduled_departure_date_id,
        wanted.departed_date_id,
        wanted.arrived_date_id,
        wanted.weather_id,
        wanted.carrier_code,
        wanted.flight_number,
        wanted.tail_number,
        wanted.origin_airport_code,
        wanted.destination_airport_code,
        wanted.scheduled_departure_date,
        wanted.scheduled_departure_hour,
        wanted.scheduled_departure_at,
        wanted.scheduled_departure_local,
        wanted.departed_at,
        wanted.departed_local,
        wanted.scheduled_arrival_local,
        wanted.arrived_local,
        wanted.departure_delay_minutes,
        wanted.arrival_delay_minutes,
        wanted.air_time_minutes,
        wanted.distance_miles,
        wanted.is_departed,
        wanted.is_cancelled,
        wanted.is_diverted,
        wanted.is_overnight,
        wanted.batch_id,
        wanted.record_number
    from wanted
    left join versions
        on
            wanted.tail_number = versions.tail_number
            and wanted.scheduled_departure_at >= versions.valid_from_at
            and wanted.scheduled_departure_at < versions.valid_to_at
)

select * from final
