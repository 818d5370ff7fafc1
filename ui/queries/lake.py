"""The lake's tables as they stand now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import streamlit as st
from dpipe.errors import UnavailableError
from dpipe.iceberg.catalog import metadata_locations
from dpipe.warehouse.lake import attach_lake

from queries.project import current

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd


def tables() -> dict[str, str]:
    """Every table of the lake, `<namespace>.<name>`, with its current metadata file."""
    return _tables(str(current().root))


@st.cache_data(ttl=2, show_spinner=False)
def _tables(root: str) -> dict[str, str]:  # noqa: ARG001 - the key
    return metadata_locations(current())


def read(table: str, sql: str, parameters: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """The answer of one query on one table, which the SQL calls `lake_table`; remembered until its next commit.

    Raises `UnavailableError` when the table can't be read.
    """
    return _read(table, tables()[table], sql, dict(parameters or {}))


@st.cache_data(ttl="1h", max_entries=200, show_spinner=False)
def _read(table: str, location: str, sql: str, parameters: dict[str, Any]) -> pd.DataFrame:
    namespace, name = (part.replace('"', '""') for part in table.split(".", 1))
    try:
        with duckdb.connect() as connection:
            attach_lake(connection, {table: location})
            connection.execute(f'create view lake_table as from lake."{namespace}"."{name}"')
            return connection.execute(sql, parameters).to_arrow_table().to_pandas()
    except duckdb.Error as error:
        raise UnavailableError(
            f"the table `{table}` can't be read: {str(error).splitlines()[0]}",
            hint="`dpipe doctor` looks whether the lake is whole",
        ) from error
