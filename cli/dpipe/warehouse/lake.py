"""The lake seen from DuckDB: views over the Iceberg tables as they stand at one moment."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import duckdb

from dpipe import s3
from dpipe.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dpipe.settings import Project

# Iceberg needs the other two, so they are loaded before it.
EXTENSIONS = ("avro", "httpfs", "iceberg")
LAKE = "lake"


def connect(
    project: Project, database: Path | str = ":memory:", *, read_only: bool = False
) -> duckdb.DuckDBPyConnection:
    """Open `database` with the project's lake attached as `lake`.

    There are views `lake.raw.<dataset>`, `lake.quarantine.<dataset>` and `lake.dpipe.batches`, each over the
    table's current metadata file. They see one moment: open a new connection to see later commits. A table
    that does not exist yet has no view. `read_only` is about `database`; the lake is never written.

    Raises `UnavailableError` when the file is locked by a writer or a table can't be read.
    """
    from dpipe.iceberg.catalog import metadata_locations

    locations = metadata_locations(project)
    try:
        connection = duckdb.connect(str(database), read_only=read_only)
    except duckdb.IOException as error:
        raise UnavailableError(
            f"`{database}` can't be opened: {_first_line(error)}",
            hint="wait for its writer to end, then try again",
        ) from error
    try:
        attach_lake(connection, locations)
    except BaseException:
        connection.close()
        raise
    return connection


def attach_lake(connection: duckdb.DuckDBPyConnection, locations: Mapping[str, str]) -> None:
    """Attach the lake to an open connection: `locations` maps `<namespace>.<table>` to its metadata file."""
    load_extensions(connection)
    # Nothing is fetched from the network on the quiet, and a clock time means the same on every machine. Set
    # here and not at `duckdb.connect`, which refuses a file that the process has open with other settings.
    connection.execute("set global autoinstall_known_extensions = false")
    connection.execute("set global TimeZone = 'UTC'")
    # Connections of one process to one file share what is attached, so it may be there already.
    if any(location.startswith(s3.SCHEME) for location in locations.values()):
        reach_storage(connection)
    connection.execute(f"attach if not exists ':memory:' as {LAKE} (read_write)")
    for namespace in sorted({name.split(".", 1)[0] for name in locations}):
        connection.execute(f"create schema if not exists {LAKE}.{_quoted(namespace)}")
    for name, location in sorted(locations.items()):
        namespace, table = name.split(".", 1)
        path = _text(location.removeprefix("file://"))
        view = f"{LAKE}.{_quoted(namespace)}.{_quoted(table)}"
        scan = f"select * from iceberg_scan({path})"  # noqa: S608 - quoted above
        try:
            connection.execute(f"create or replace view {view} as {scan}")
        except duckdb.Error as error:
            raise UnavailableError(
                f"Iceberg table `{name}` can't be read: {_first_line(error)}",
                hint=f"is its metadata file there? {path}",
            ) from error


def reach_storage(connection: duckdb.DuckDBPyConnection) -> None:
    """Let the connection read what is in S3, with what AWS's chain gives; the secret is in its memory only."""
    found = s3.access()
    endpoint = urlsplit(found.endpoint) if found.endpoint else None
    options = {
        "key_id": found.access_key_id,
        "secret": found.secret_access_key,
        "session_token": found.session_token,
        "region": found.region,
        "endpoint": endpoint.netloc if endpoint else None,
        "url_style": "path" if endpoint else None,
        "use_ssl": "false" if endpoint and endpoint.scheme == "http" else None,
    }
    said = ", ".join(f"{name} {_text(value)}" for name, value in options.items() if value is not None)
    connection.execute(f"create or replace temporary secret dpipe_lake (type s3, {said})")


def load_extensions(connection: duckdb.DuckDBPyConnection) -> None:
    """Load DuckDB's Iceberg extension and those it needs from their wheels.

    Raises `ConfigError` when the wheels don't belong to the installed DuckDB.
    """
    for name in EXTENSIONS:
        path = extension_path(name)
        if not path.is_file():
            raise ConfigError(
                f"DuckDB {duckdb.__version__} has no extension `{name}` at `{path}`",
                hint=f"install `duckdb-extension-{name}=={duckdb.__version__}`",
            )
        connection.execute(f"load {_text(str(path))}")


def extension_path(name: str) -> Path:
    """Where the wheel `duckdb-extension-<name>` keeps the file for the installed DuckDB."""
    spec = find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"DuckDB's extension `{name}` is not installed",
            hint=f"install `duckdb-extension-{name}=={duckdb.__version__}`",
        )
    folder = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}"
    return folder / f"{name}.duckdb_extension"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
