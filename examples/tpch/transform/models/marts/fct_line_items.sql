with

line_items as (
    select * from {{ ref('stg_tpch__lineitem') }}
),

orders as (
    select * from {{ ref('stg_tpch__orders') }}
),

-- A line may come before its order: it points at the unknown customer and day until then.
joined as (
    select
        line_items.*,
        orders.o_custkey,
        orders.o_orderdate
    from line_items
    left join orders on line_items.l_orderkey = orders.o_orderkey
    {% if is_incremental() %}
    where
        line_items.batch_id in ({{ new_batches('lineitem') }})
        or orders.batch_id in ({{ new_batches('orders') }})
    {% endif %}
),

final as (
    select
        l_orderkey as order_id,
        l_linenumber as line_number,
        coalesce(o_custkey, -1) as customer_id,
        l_partkey as part_id,
        l_suppkey as supplier_id,
        {{ date_key('o_orderdate') }} as order_date_id,
        {{ date_key('l_shipdate') }} as ship_date_id,
        {{ date_key('l_commitdate') }} as commit_date_id,
        {{ date_key('l_receiptdate') }} as receipt_date_id,
        l_shipdate as ship_date,
        l_returnflag as return_flag,
        l_linestatus as line_status,
        l_shipmode as ship_mode,
        l_shipinstruct as ship_instruction,
        l_quantity as quantity,
        l_extendedprice as extended_price_dollars,
        l_discount as discount_share,
        l_tax as tax_share,
        cast(l_extendedprice * (1 - l_discount) as decimal(18, 4)) as discounted_price_dollars,
        cast(l_extendedprice * (1 - l_discount) * (1 + l_tax) as decimal(18, 6)) as charged_price_dollars,
        batch_id,
        record_number
    from joined
)

select * from final
