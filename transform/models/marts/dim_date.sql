with

flights as (
    select * from {{ ref('fct_flights') }}
),

weather as (
    select * from {{ ref('stg_nycflights__weather') }}
),

day_numbers as (
    {{ dbt.generate_series(366) }}
),

-- Of the milestones of a flight: one that is due on New Year's Eve may arrive in the next year.
flight_years as (
    select distinct
        extract(year from scheduled_departure_date) as scheduled_year,
        extract(year from departed_local) as departed_year,
        extract(year from arrived_local) as arrived_year
    from flights
),

years as (
    select scheduled_year as year_number from flight_years
    union
    select departed_year as year_number from flight_years
    union
    select arrived_year as year_number from flight_years
    union
    select extract(year from observation_date) as year_number from weather
),

first_days as (
    select
        year_number,
        {{ date_of('year_number', 1, 1) }} as first_date
    from years
    where year_number is not null
),

-- Every day of every year that a fact mentions; the 366th day of a common year belongs to the next one.
days as (
    select
        cast({{ dbt.dateadd('day', 'day_numbers.generated_number - 1', 'first_days.first_date') }} as date)
            as calendar_date
    from first_days
    cross join day_numbers
    where
        extract(year from {{ dbt.dateadd('day', 'day_numbers.generated_number - 1', 'first_days.first_date') }})
        = first_days.year_number
),

members as (
    select
        {{ date_key('calendar_date') }} as date_id,
        calendar_date,
        cast(extract(year from calendar_date) as integer) as year_number,
        cast(extract(quarter from calendar_date) as integer) as quarter_number,
        cast(extract(month from calendar_date) as integer) as month_number,
        cast(extract(day from calendar_date) as integer) as day_of_month,
        cast({{ iso_day_of_week('calendar_date') }} as integer) as day_of_week,
        false as is_unknown
    from days

    union all

    select
        {{ unknown_date_key() }} as date_id,
        null as calendar_date,
        null as year_number,
        null as quarter_number,
        null as month_number,
        null as day_of_month,
        null as day_of_week,
        true as is_unknown
),

final as (
    select
        date_id,
        calendar_date,
        year_number,
        quarter_number,
        month_number,
        case month_number
            {%- for name in [
                'January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October',
                'November', 'December'
            ] %}
                when {{ loop.index }} then '{{ name }}'
            {%- endfor %}
            else 'Unknown'
        end as month_name,
        day_of_month,
        day_of_week,
        case day_of_week
            {%- for name in ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'] %}
                when {{ loop.index }} then '{{ name }}'
            {%- endfor %}
            else 'Unknown'
        end as day_name,
        coalesce(day_of_week >= 6, false) as is_weekend,
        is_unknown
    from members
)

select * from final
