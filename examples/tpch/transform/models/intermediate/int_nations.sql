with

nations as (
    select * from {{ ref('stg_tpch__nation') }}
),

regions as (
    select * from {{ ref('stg_tpch__region') }}
),

final as (
    select
        nations.n_nationkey as nation_id,
        nations.n_name as nation_name,
        regions.r_name as region_name
    from nations
    left join regions on nations.n_regionkey = regions.r_regionkey
)

select * from final
