{#-
    A stable key: the MD5 of the columns' texts. Each text is preceded by its length, and null differs from every
    text, so two rows have one key only when all their columns are equal. The same values give the same key in every
    run and on every warehouse; facts can point at a dimension's row before it exists.
-#}
{% macro surrogate_key(columns) -%}
    md5(
        {%- for column in columns %}
        coalesce(
            cast(length(cast({{ column }} as varchar)) as varchar) || ':' || cast({{ column }} as varchar), '-'
        )
        {%- if not loop.last %} || {% endif %}
        {%- endfor %}
    )
{%- endmacro %}

{#- The key of every dimension's unknown member: what a fact points at when its source names nothing. -#}
{% macro unknown_key() -%}
    '00000000000000000000000000000000'
{%- endmacro %}

{#- The key of a dimension's member, or the unknown member's when one of the columns is null. -#}
{% macro member_key(columns) -%}
    case
        when {% for column in columns %}{{ column }} is null{% if not loop.last %} or {% endif %}{% endfor %}
            then {{ unknown_key() }}
        else {{ surrogate_key(columns) }}
    end
{%- endmacro %}

{#- `dim_date`'s key: the day as the number yyyymmdd, -1 for the unknown day. -#}
{% macro date_key(column) -%}
    coalesce(
        cast(
            extract(year from {{ column }}) * 10000
            + extract(month from {{ column }}) * 100
            + extract(day from {{ column }})
            as integer
        ),
        {{ unknown_date_key() }}
    )
{%- endmacro %}

{% macro unknown_date_key() -%}
    -1
{%- endmacro %}
