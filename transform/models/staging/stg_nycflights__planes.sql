with

source as (
    select * from {{ source('nycflights', 'planes') }}
),

renamed as (
    select
        -- keys
        tailnum as tail_number,

        -- attributes
        year as manufactured_year,
        type as aircraft_type,
        manufacturer,
        model as model_name,
        engines as engine_count,
        seats as seat_count,
        speed as cruising_speed_mph,
        engine as engine_type,

        -- provenance
        _dpipe_batch_id as batch_id,
        _dpipe_record_no as record_number
    from source
)

select * from renamed
