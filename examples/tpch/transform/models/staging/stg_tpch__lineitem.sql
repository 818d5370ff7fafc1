with

source as (
    select * from {{ source('tpch', 'lineitem') }}
),

renamed as (
    select
        l_orderkey,
        l_partkey,
        l_suppkey,
        l_linenumber,
        l_quantity,
        l_extendedprice,
        l_discount,
        l_tax,
        l_returnflag,
        l_linestatus,
        l_shipdate,
        l_commitdate,
        l_receiptdate,
        l_shipinstruct,
        l_shipmode,
        l_comment,
        _dpipe_batch_id as batch_id,
        _dpipe_record_no as record_number
    from source
)

-- dpipe: `dpipe contract apply` writes what is above this line; what is below is yours

select * from renamed
