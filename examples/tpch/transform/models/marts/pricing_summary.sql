with

line_items as (
    select * from {{ ref('fct_line_items') }}
    where ship_date <= {{ dbt.dateadd('day', -90, "cast('1998-12-01' as date)") }}
),

final as (
    select
        return_flag,
        line_status,
        sum(quantity) as quantity,
        sum(extended_price_dollars) as base_price_dollars,
        sum(discounted_price_dollars) as discounted_price_dollars,
        sum(charged_price_dollars) as charged_price_dollars,
        avg(quantity) as mean_quantity,
        avg(extended_price_dollars) as mean_price_dollars,
        avg(discount_share) as mean_discount_share,
        count(*) as line_item_count
    from line_items
    group by return_flag, line_status
)

select * from final
