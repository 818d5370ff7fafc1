"""Snowflake as a warehouse: its account's objects, the lake's tables in it, and marts that dbt builds there."""
