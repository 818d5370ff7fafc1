"""The published marts. The file is opened for one query at a time, so that `publish` can replace it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import streamlit as st
from dpipe.errors import UnavailableError, UsageError

from queries.project import current

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd


def is_there() -> bool:
    """Whether anything was published yet."""
    return current().marts.is_file()


def read(sql: str, parameters: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """The answer of one query; remembered until the next publish.

    Raises `UsageError` when nothing is published and `UnavailableError` when the file can't answer.
    """
    marts = current().marts
    return _read(str(marts), _version(marts), sql, dict(parameters or {}))


def _version(marts: Path) -> tuple[int, int]:
    """What changes when the published file is replaced."""
    try:
        found = marts.stat()
    except FileNotFoundError as error:
        raise UsageError("nothing is published yet", hint="`dpipe run` takes the data all the way") from error
    return found.st_ino, found.st_mtime_ns


@st.cache_data(ttl="1h", max_entries=500, show_spinner=False)
def _read(
    path: str,
    version: tuple[int, int],  # noqa: ARG001 - part of the key
    sql: str,
    parameters: dict[str, Any],
) -> pd.DataFrame:
    quoted = path.replace("'", "''")
    try:
        # A database of its own that attaches the file: `duckdb.connect(path)` would give a reader that another
        # session still has open, and with it the file as it was before `publish`.
        with duckdb.connect() as connection:
            connection.execute(f"attach '{quoted}' as published (read_only)")
            connection.execute("use published")
            return connection.execute(sql, parameters).to_arrow_table().to_pandas()
    except duckdb.Error as error:
        raise UnavailableError(
            f"the published marts can't answer: {str(error).splitlines()[0]}",
            hint="do the models in `transform/` still have what this page in `ui/` asks for?",
        ) from error
