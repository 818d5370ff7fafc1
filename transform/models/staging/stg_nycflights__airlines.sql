with

source as (
    select * from {{ source('nycflights', 'airlines') }}
),

renamed as (
    select
        -- keys
        carrier as carrier_code,

        -- attributes
        name as airline_name,

        -- provenance
        _dpipe_batch_id as batch_id,
        _dpipe_record_no as record_number
    from source
)

select * from renamed
