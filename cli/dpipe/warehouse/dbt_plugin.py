"""dbt-duckdb's plugin that shows dbt the lake, named in the profile of `dpipe.warehouse.dbt_process`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbt.adapters.duckdb.plugins import BasePlugin

from dpipe.warehouse.lake import attach_lake

if TYPE_CHECKING:
    import duckdb


class Plugin(BasePlugin):
    """Attaches the lake as it stood when the transform began.

    Its one setting, `locations`, names a JSON file that maps tables to metadata files. The file's path never
    changes, so that the profile doesn't either and dbt need not parse the project anew.
    """

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Keep where the locations are."""
        self._locations = Path(plugin_config["locations"])

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Called once, on the connection that all of dbt's threads share."""
        attach_lake(conn, json.loads(self._locations.read_text(encoding="utf-8")))
