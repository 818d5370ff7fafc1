with

customers as (
    select * from {{ ref('stg_tpch__customer') }}
),

nations as (
    select * from {{ ref('int_nations') }}
),

members as (
    select
        customers.c_custkey as customer_id,
        customers.c_name as customer_name,
        customers.c_mktsegment as market_segment,
        customers.c_acctbal as account_balance_dollars,
        nations.nation_name,
        nations.region_name,
        false as is_unknown
    from customers
    left join nations on customers.c_nationkey = nations.nation_id

    union all

    select
        -1 as customer_id,
        'Unknown' as customer_name,
        'Unknown' as market_segment,
        null as account_balance_dollars,
        null as nation_name,
        null as region_name,
        true as is_unknown
),

final as (
    select
        customer_id,
        customer_name,
        market_segment,
        account_balance_dollars,
        nation_name,
        region_name,
        is_unknown
    from members
)

select * from final
