with

source as (
    select * from {{ source('tpch', 'customer') }}
),

renamed as (
    select
        c_custkey,
        c_name,
        c_address,
        c_nationkey,
        c_phone,
        c_acctbal,
        c_mktsegment,
        c_comment,
        _dpipe_batch_id as batch_id,
        _dpipe_record_no as record_number
    from source
)

-- dpipe: `dpipe contract apply` writes what is above this line; what is below is yours

select * from renamed
