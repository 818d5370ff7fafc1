"""Opening the state database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool
from sqlalchemy.schema import CreateIndex, CreateTable

from dpipe.errors import UnavailableError
from dpipe.folders import make_private
from dpipe.state.liveness import fail_dead_runs
from dpipe.state.schema import metadata

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dpipe.settings import Project

BUSY_TIMEOUT_SECONDS = 30


def open_state(project: Project, *, serving: bool = False) -> Engine:
    """The state database, made on the first call; runs whose process is gone are marked failed.

    A server keeps connections open, and doesn't wait for SQLite to sync: what a crash of the machine takes back of the
    last moment is in landing. Raises `UnavailableError` when the database can't be reached.
    """
    make_private(project.data_dir)
    if serving:
        engine = create_engine(project.state_url, poolclass=QueuePool, pool_pre_ping=True)
    else:
        engine = create_engine(project.state_url, poolclass=NullPool)
    if make_url(project.state_url).get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_serving_sqlite if serving else _prepare_sqlite)
    try:
        _make_tables(engine)
        fail_dead_runs(engine)
    except SQLAlchemyError as error:
        raise UnavailableError(
            f"the state database `{engine.url.render_as_string(hide_password=True)}` can't be used: {error}",
            hint="check that it is reachable, that its folder can be written and that the disk isn't full",
        ) from error
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DB-API connection
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")
    connection.execute("PRAGMA journal_mode = WAL")


def _prepare_serving_sqlite(connection: Any, record: object) -> None:  # noqa: ANN401
    _prepare_sqlite(connection, record)
    connection.execute("PRAGMA synchronous = NORMAL")


def _make_tables(engine: Engine) -> None:
    """Make what is missing. `create_all` would look first, and fail when another process is making it too."""
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))
