-- The summary adds up to the fact.
with

line_items as (
    select count(*) as line_item_count from {{ ref('fct_line_items') }}
    where ship_date <= {{ dbt.dateadd('day', -90, "cast('1998-12-01' as date)") }}
),

summary as (
    select coalesce(sum(line_item_count), 0) as line_item_count from {{ ref('pricing_summary') }}
),

final as (
    select
        line_items.line_item_count,
        summary.line_item_count as summary_line_item_count
    from line_items
    cross join summary
    where line_items.line_item_count <> summary.line_item_count
)

select * from final
