"""The warehouse that a project builds its marts in."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dpipe.warehouse.duckdb_target import DuckDbTarget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpipe.settings import Project
    from dpipe.warehouse.target import Target


@contextmanager
def opened(project: Project) -> Iterator[Target]:
    """The project's target for a block. Raises `ConfigError` or `UnavailableError` when it can't be reached."""
    if project.settings.target == "duckdb":
        yield DuckDbTarget(project)
        return
    from dpipe.warehouse.snowflake.session import connected
    from dpipe.warehouse.snowflake.target import SnowflakeTarget

    with connected(project) as session:
        yield SnowflakeTarget(project, session)
