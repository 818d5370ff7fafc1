{% snapshot snap_nycflights__planes %}

    with

    planes as (
        select * from {{ ref('stg_nycflights__planes') }}
    ),

    -- Others are in the snapshot already.
    new_batches as (
        select distinct
            batch_id,
            received_at
        from {{ source('dpipe', 'batches_to_transform') }}
        where dataset = 'planes'
    ),

    final as (
        select
            planes.tail_number,
            planes.manufactured_year,
            planes.aircraft_type,
            planes.manufacturer,
            planes.model_name,
            planes.engine_count,
            planes.seat_count,
            planes.cruising_speed_mph,
            planes.engine_type,
            new_batches.received_at,
            planes.batch_id,
            planes.record_number
        from planes
        inner join new_batches on planes.batch_id = new_batches.batch_id
    )

    select * from final

{% endsnapshot %}
