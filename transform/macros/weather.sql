{#- The key of an hour's weather at an airport, the unknown member's when either is null. -#}
{% macro weather_key(airport_code, observed_at) -%}
    case
        when {{ airport_code }} is null or {{ observed_at }} is null then {{ unknown_key() }}
        else {{ surrogate_key([airport_code, timestamp_text(observed_at)]) }}
    end
{%- endmacro %}
