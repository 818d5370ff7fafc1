-- The years that the contracts let a date be in.
with

day_numbers as (
    {{ dbt.generate_series(2557) }}
),

days as (
    select cast({{ dbt.dateadd('day', 'generated_number - 1', "cast('1992-01-01' as date)") }} as date) as calendar_date
    from day_numbers
),

members as (
    select
        {{ date_key('calendar_date') }} as date_id,
        calendar_date,
        cast(extract(year from calendar_date) as integer) as year_number,
        cast(extract(quarter from calendar_date) as integer) as quarter_number,
        cast(extract(month from calendar_date) as integer) as month_number,
        false as is_unknown
    from days

    union all

    select
        {{ unknown_date_key() }} as date_id,
        null as calendar_date,
        null as year_number,
        null as quarter_number,
        null as month_number,
        true as is_unknown
),

final as (
    select
        date_id,
        calendar_date,
        year_number,
        quarter_number,
        month_number,
        is_unknown
    from members
)

select * from final
