"""A session with Snowflake through its own connector, and what its errors mean to a user."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from dpipe.errors import ConfigError, DpipeError, UnavailableError
from dpipe.warehouse.snowflake.names import Names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dpipe.settings import Project, SnowflakeSettings

LOGIN_SECONDS = 20
NETWORK_SECONDS = 600
MOST_ROWS = 1000
# Of a statement in a message; its beginning holds no secret.
MOST_SHOWN = 80
# There is no such object, or the role may not see it.
MISSING = frozenset({2003, 2043})
# Snowflake's own numbers of what is wrong with a login begin so; those of a server that isn't reached don't.
REFUSED_LOGIN = "39"


class Session:
    """Statements one after the other; `seconds` is the time that they took, as the warehouse bills it."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - the connector is imported where it is used
        self._connection = connection
        self._cursor = connection.cursor()
        self.seconds = 0.0

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """A statement's rows; `?` in it stands for the values in their order.

        Raises `UnavailableError` when Snowflake doesn't answer, `DpipeError` when it refuses the statement.
        """
        found: list[tuple[Any, ...]] = self._timed(
            sql, lambda: self._cursor.execute(sql, list(values) or None).fetchall()
        )
        return found

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows, few enough at a time for the connector not to make a stage for them, which would commit."""
        for first in range(0, len(rows), MOST_ROWS):
            part = [list(row) for row in rows[first : first + MOST_ROWS]]
            sql = f"insert into {table} values ({', '.join('?' * len(part[0]))})"  # noqa: S608 - a name of ours
            self._timed(sql, partial(self._cursor.executemany, sql, part))

    @property
    def columns(self) -> list[str]:
        """The names of the last statement's columns."""
        return [str(column.name).lower() for column in self._cursor.description or ()]

    @property
    def changed(self) -> int:
        """How many rows the last statement changed."""
        return int(self._cursor.rowcount or 0)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A block of statements that take effect together, or not at all; no DDL, which commits."""
        self.execute("begin")
        try:
            yield
        except BaseException:
            self.execute("rollback")
            raise
        self.execute("commit")

    def _timed(self, sql: str, step: Callable[[], Any]) -> Any:  # noqa: ANN401 - the connector has no types here
        from snowflake.connector.errors import DatabaseError, Error, OperationalError

        started = time.perf_counter()
        try:
            return step()
        except OperationalError as error:
            raise _unavailable(error) from error
        except DatabaseError as error:
            missing = error.errno in MISSING
            raise DpipeError(
                f"Snowflake refuses `{_beginning(sql)}`: {_said(error)}",
                hint="are the account's objects there? `dpipe warehouse init` prints and makes them"
                if missing
                else "Snowflake's query history has the whole statement, tagged `dpipe`",
            ) from error
        except Error as error:
            raise _unavailable(error) from error
        finally:
            self.seconds += time.perf_counter() - started


def settings_of(project: Project) -> SnowflakeSettings:
    """The project's account. Raises `ConfigError` when it says nothing of one."""
    found = project.settings.snowflake
    if found is None:
        raise ConfigError(
            "the project says nothing of a Snowflake account",
            hint="add `snowflake:` with `account` and `user` to `configs/dpipe.yaml` (docs/snowflake.md)",
        )
    return found


def names_of(project: Project) -> Names:
    """What the project's objects in its account are called."""
    return Names(settings_of(project).prefix)


@contextmanager
def connected(project: Project, *, role: str | None = None) -> Iterator[Session]:
    """A session for a block, by default in the role that loads and builds.

    Raises `ConfigError` without the extra `snowflake` or a way to sign in, `UnavailableError` when there is no answer.
    """
    settings = settings_of(project)
    names = Names(settings.prefix)
    options = {
        "account": settings.account,
        "user": settings.user,
        "role": role or names.role,
        "warehouse": names.warehouse,
        "protocol": settings.protocol,
        "port": settings.port,
        "host": settings.host,
        **_login(project, settings),
    }
    with _connection({name: value for name, value in options.items() if value is not None}) as session:
        yield session


@contextmanager
def connected_as(name: str) -> Iterator[Session]:
    """A session for a block by an entry of the connector's own `connections.toml`.

    Raises `ConfigError` when there is no such entry or the login is refused, `UnavailableError`.
    """
    with _connection({"connection_name": name}) as session:
        yield session


@contextmanager
def _connection(options: dict[str, Any]) -> Iterator[Session]:
    try:
        import snowflake.connector
        from snowflake.connector.errors import Error
    except ImportError as error:
        raise ConfigError(
            "Snowflake needs a library that isn't installed", hint="pip install 'dpipe[snowflake]'"
        ) from error
    try:
        connection = snowflake.connector.connect(
            **options,
            application="dpipe",
            paramstyle="qmark",
            login_timeout=LOGIN_SECONDS,
            network_timeout=NETWORK_SECONDS,
            client_session_keep_alive=True,
            session_parameters={"TIMEZONE": "UTC", "QUERY_TAG": "dpipe"},
        )
    except Error as error:
        if str(error.errno).startswith(REFUSED_LOGIN):
            raise ConfigError(
                f"Snowflake refuses the login: {_said(error)}",
                hint="check `account`, `user` and the key or token; "
                "`dpipe warehouse init` prints the statement that gives the user the key",
            ) from error
        raise _unavailable(error) from error
    try:
        yield Session(connection)
    finally:
        connection.close()


def _login(project: Project, settings: SnowflakeSettings) -> dict[str, Any]:
    if settings.private_key_file is not None:
        path = project.root / settings.private_key_file
        if not path.is_file():
            raise ConfigError(
                f"the private key `{path}` is not there",
                hint="mend `snowflake.private_key_file` in `configs/dpipe.yaml`",
            )
        secret = settings.private_key_passphrase
        return {
            "authenticator": "SNOWFLAKE_JWT",
            "private_key_file": str(path),
            "private_key_file_pwd": secret.get_secret_value() if secret else None,
        }
    if settings.token is not None:
        return {"authenticator": "oauth", "token": settings.token.get_secret_value()}
    raise ConfigError(
        "there is no way to sign in to Snowflake",
        hint="name a key in `snowflake.private_key_file`, or give `DPIPE_SNOWFLAKE__TOKEN`",
    )


def _unavailable(error: Exception) -> UnavailableError:
    return UnavailableError(
        f"Snowflake did not answer: {_said(error)}",
        hint="check `snowflake.account` and the network, then run it again; nothing was lost",
    )


def _said(error: Exception) -> str:
    return " ".join(str(getattr(error, "msg", None) or error).split())


def _beginning(sql: str) -> str:
    line = " ".join(sql.split())
    return line if len(line) <= MOST_SHOWN else f"{line[:MOST_SHOWN]}…"
