with

source as (
    select * from {{ source('tpch', 'part') }}
),

renamed as (
    select
        p_partkey,
        p_name,
        p_mfgr,
        p_brand,
        p_type,
        p_size,
        p_container,
        p_retailprice,
        p_comment,
        _dpipe_batch_id as batch_id,
        _dpipe_record_no as record_number
    from source
)

-- dpipe: `dpipe contract apply` writes what is above this line; what is below is yours

select * from renamed
