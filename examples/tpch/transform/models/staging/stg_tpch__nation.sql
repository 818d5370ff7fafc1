with

source as (
    select * from {{ source('tpch', 'nation') }}
),

renamed as (
    select
        n_nationkey,
        n_name,
        n_regionkey,
        n_comment,
        _dpipe_batch_id as batch_id,
        _dpipe_record_no as record_number
    from source
)

-- dpipe: `dpipe contract apply` writes what is above this line; what is below is yours

select * from renamed
