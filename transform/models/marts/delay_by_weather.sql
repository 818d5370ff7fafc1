with

flights as (
    select * from {{ ref('fct_flights') }}
),

weather as (
    select * from {{ ref('fct_weather_hourly') }}
),

bands as (
    select * from {{ ref('weather_bands') }}
),

measured as (
    {% for factor, column in [
        ('temperature', 'temperature_fahrenheit'),
        ('wind_speed', 'wind_speed_mph'),
        ('precipitation', 'precipitation_inches'),
        ('visibility', 'visibility_miles'),
    ] %}
        select
            weather_id,
            '{{ factor }}' as weather_factor,
            {{ column }} as measure
        from weather
        {% if not loop.last %}union all{% endif %}
    {% endfor %}
),

banded as (
    select
        measured.weather_id,
        measured.weather_factor,
        coalesce(bands.band_order, 0) as band_order,
        coalesce(bands.weather_band, 'unknown') as weather_band
    from measured
    left join bands
        on
            measured.weather_factor = bands.weather_factor
            and measured.measure is not null
            and measured.measure >= coalesce(bands.at_least, measured.measure)
            and (bands.below is null or measured.measure < bands.below)
),

final as (
    select
        {{ surrogate_key(['banded.weather_factor', 'banded.band_order']) }} as weather_band_id,
        banded.weather_factor,
        banded.band_order,
        banded.weather_band,
        count(*) as flight_count,
        {{ count_where('flights.is_departed') }} as departed_flight_count,
        {{ count_where('flights.is_cancelled') }} as cancelled_flight_count,
        {{ count_where('flights.departure_delay_minutes > ' ~ var('late_after_minutes')) }} as late_departure_count,
        cast(sum(flights.departure_delay_minutes) as bigint) as total_departure_delay_minutes,
        cast(avg(flights.departure_delay_minutes) as double) as mean_departure_delay_minutes
    from flights
    inner join banded on flights.weather_id = banded.weather_id
    group by
        banded.weather_factor,
        banded.band_order,
        banded.weather_band
)

select * from final
