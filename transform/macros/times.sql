{#- A timestamp with zone as the UTC clock time without one. -#}
{% macro to_utc(column) -%}
    {{ return(adapter.dispatch('to_utc', 'nycflights')(column)) }}
{%- endmacro %}

{% macro default__to_utc(column) -%}
    cast({{ column }} at time zone 'UTC' as timestamp)
{%- endmacro %}

{% macro snowflake__to_utc(column) -%}
    cast(convert_timezone('UTC', {{ column }}) as timestamp_ntz)
{%- endmacro %}

{#- A timestamp as ISO 8601 text, the same on every warehouse; used in keys. -#}
{% macro timestamp_text(column) -%}
    {{ return(adapter.dispatch('timestamp_text', 'nycflights')(column)) }}
{%- endmacro %}

{% macro default__timestamp_text(column) -%}
    strftime({{ column }}, '%Y-%m-%dT%H:%M:%S')
{%- endmacro %}

{% macro snowflake__timestamp_text(column) -%}
    {#- Of its parts: what `to_char` does with a column depends on the column's type. -#}
    lpad(cast(extract(year from {{ column }}) as varchar), 4, '0')
    {%- for separator, part in [('-', 'month'), ('-', 'day'), ('T', 'hour'), (':', 'minute'), (':', 'second')] %}
    || '{{ separator }}' || lpad(cast(extract({{ part }} from {{ column }}) as varchar), 2, '0')
    {%- endfor %}
{%- endmacro %}

{#- The day that three numbers name, null when there is no such day (31 February). -#}
{% macro date_of(year, month, day) -%}
    try_cast(
        lpad(cast({{ year }} as varchar), 4, '0')
        || '-' || lpad(cast({{ month }} as varchar), 2, '0')
        || '-' || lpad(cast({{ day }} as varchar), 2, '0') as date
    )
{%- endmacro %}

{#- Minutes since midnight of a clock time written as the number hhmm: 517 is 317, and 2400 is 1440, the day's end. -#}
{% macro minutes_of_day(hhmm) -%}
    (cast(floor({{ hhmm }} / 100) as integer) * 60 + mod({{ hhmm }}, 100))
{%- endmacro %}

{#- The moment when the clock shows `hhmm` on a day; 2400 is the midnight that ends the day. -#}
{% macro time_on_date(day, hhmm) -%}
    {{ dbt.dateadd('minute', minutes_of_day(hhmm), 'cast(' ~ day ~ ' as timestamp)') }}
{%- endmacro %}

{#-
    The first moment at or after `start` when the clock shows `hhmm`. It gives a clock time its day when the time comes
    less than 24 hours after a known moment: past midnight the clock shows less than it did at the start.
-#}
{% macro next_time_on_clock(start, hhmm) -%}
    {%- set start_minute = '(extract(hour from ' ~ start ~ ') * 60 + extract(minute from ' ~ start ~ '))' -%}
    {{ dbt.dateadd('minute', 'mod(' ~ minutes_of_day(hhmm) ~ ' - ' ~ start_minute ~ ' + 1440, 1440)', start) }}
{%- endmacro %}

{#- The day of the week, Monday 1 to Sunday 7. -#}
{% macro iso_day_of_week(day) -%}
    {{ return(adapter.dispatch('iso_day_of_week', 'nycflights')(day)) }}
{%- endmacro %}

{% macro default__iso_day_of_week(day) -%}
    extract(isodow from {{ day }})
{%- endmacro %}

{% macro snowflake__iso_day_of_week(day) -%}
    dayofweekiso({{ day }})
{%- endmacro %}

{#- From when on what a dimension's first version says is taken to be so: facts are older than what is known of them. -#}
{% macro beginning_of_time() -%}
    cast('1900-01-01 00:00:00' as timestamp)
{%- endmacro %}

{#- Until when a current version is valid: for the time being, as a moment that compares. -#}
{% macro end_of_time() -%}
    cast('9999-12-31 00:00:00' as timestamp)
{%- endmacro %}
