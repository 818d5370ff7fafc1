with

planes as (
    select * from {{ ref('snap_nycflights__planes') }}
),

numbered as (
    select
        *,
        row_number() over (partition by tail_number order by dbt_valid_from) as version_number
    from planes
),

final as (
    select
        {{ version_key('tail_number', 'version_number') }} as aircraft_version_id,
        {{ member_key(['tail_number']) }} as aircraft_id,
        tail_number,
        cast(version_number as integer) as version_number,
        manufactured_year,
        aircraft_type,
        manufacturer,
        model_name,
        engine_count,
        seat_count,
        cruising_speed_mph,
        engine_type,
        case when version_number = 1 then {{ beginning_of_time() }} else dbt_valid_from end as valid_from_at,
        coalesce(dbt_valid_to, {{ end_of_time() }}) as valid_to_at,
        dbt_valid_to is null as is_current,
        batch_id
    from numbered
)

select * from final
