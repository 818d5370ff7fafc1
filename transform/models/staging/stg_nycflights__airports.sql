with

source as (
    select * from {{ source('nycflights', 'airports') }}
),

renamed as (
    select
        -- keys
        faa as airport_code,

        -- attributes
        name as airport_name,
        lat as latitude_degrees,
        lon as longitude_degrees,
        alt as altitude_feet,
        tz as utc_offset_hours,
        dst as daylight_saving_code,
        tzone as time_zone,

        -- provenance
        _dpipe_batch_id as batch_id,
        _dpipe_record_no as record_number
    from source
)

select * from renamed
