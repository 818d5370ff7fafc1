with

suppliers as (
    select * from {{ ref('stg_tpch__supplier') }}
),

nations as (
    select * from {{ ref('int_nations') }}
),

final as (
    select
        suppliers.s_suppkey as supplier_id,
        suppliers.s_name as supplier_name,
        suppliers.s_acctbal as account_balance_dollars,
        nations.nation_name,
        nations.region_name
    from suppliers
    left join nations on suppliers.s_nationkey = nations.nation_id
)

select * from final
