{#-
    The batches of a dataset that the published marts don't have, for `where batch_id in (…)` in an incremental model. It
    never goes by time, so that a batch that was committed late is not missed.
-#}
{% macro new_batches(dataset) -%}
    select new_batches.batch_id
    from {{ source('dpipe', 'batches_to_transform') }} as new_batches
    where new_batches.dataset = '{{ dataset }}'
{%- endmacro %}
