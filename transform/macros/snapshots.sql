{#-
    Before a snapshot of a dataset is taken in a full refresh: versions leave whose batch the lake no longer has, as when
    it was restored from a backup. A full refresh takes every batch of the ledger.
-#}
{% macro forget_lost_versions(dataset) -%}
    {%- if execute and flags.FULL_REFRESH and load_relation(this) is not none -%}
        delete from {{ this }}
        where
            batch_id not in (
                select batch_id from {{ source('dpipe', 'batches_to_transform') }} where dataset = '{{ dataset }}'
            )
    {%- endif -%}
{%- endmacro %}

{#- After that the last version of each key that is left is the newest. -#}
{% macro reopen_last_versions(key) -%}
    {%- if execute and flags.FULL_REFRESH and load_relation(this) is not none -%}
        update {{ this }}
        set dbt_valid_to = null
        where
            dbt_scd_id in (
                select dbt_scd_id
                from (
                    select
                        dbt_scd_id,
                        row_number() over (partition by {{ key }} order by dbt_valid_from desc) as newest
                    from {{ this }}
                ) as versions
                where newest = 1
            )
    {%- endif -%}
{%- endmacro %}
