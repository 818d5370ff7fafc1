with

source as (
    select * from {{ source('tpch', 'region') }}
),

renamed as (
    select
        r_regionkey,
        r_name,
        r_comment,
        _dpipe_batch_id as batch_id,
        _dpipe_record_no as record_number
    from source
)

-- dpipe: `dpipe contract apply` writes what is above this line; what is below is yours

select * from renamed
