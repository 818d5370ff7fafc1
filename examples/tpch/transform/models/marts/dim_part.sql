with

parts as (
    select * from {{ ref('stg_tpch__part') }}
),

final as (
    select
        p_partkey as part_id,
        p_name as part_name,
        p_mfgr as manufacturer,
        p_brand as brand,
        p_type as part_type,
        p_size as part_size,
        p_container as container,
        p_retailprice as retail_price_dollars
    from parts
)

select * from final
