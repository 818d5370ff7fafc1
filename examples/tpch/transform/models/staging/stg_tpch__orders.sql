with

source as (
    select * from {{ source('tpch', 'orders') }}
),

renamed as (
    select
        o_orderkey,
        o_custkey,
        o_orderstatus,
        o_totalprice,
        o_orderdate,
        o_orderpriority,
        o_clerk,
        o_shippriority,
        o_comment,
        _dpipe_batch_id as batch_id,
        _dpipe_record_no as record_number
    from source
)

-- dpipe: `dpipe contract apply` writes what is above this line; what is below is yours

select * from renamed
