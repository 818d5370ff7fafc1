"""fakesnow, an emulator of Snowflake on DuckDB, as a server, with what it lacks for dpipe's statements.

It proves that SQL, connector and dbt's adapter go together; not what Snowflake does with roles, transactions of several
sessions, clones, swaps or time. What is mended here says for what.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib
import json
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import jwt
import pyarrow as pa
import snowflake.connector.errors
import sqlglot
import uvicorn
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from fakesnow import arrow, copy_into
from fakesnow.cursor import SQL_SUCCESS, FakeSnowflakeCursor
from fakesnow.transforms import stage
from sqlglot import exp
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

# The package has a function of this name, too.
server = importlib.import_module("fakesnow.server")

# Statements about what an emulator in one process hasn't: accepted, and without effect.
OF_THE_ACCOUNT = re.compile(
    r"(create|alter|grant|revoke)\s+(or\s+replace\s+)?"
    r"(role|user|warehouse|resource\s+monitor|network\s+policy|catalog\s+integration|usage|select|ownership|role\s+\w+"
    r"|alter\s+session)\b|grant\s|revoke\s|alter\s+session\b|use\s+(role|warehouse)\b",
    re.IGNORECASE,
)
KEY_OF_USER = re.compile(r"alter\s+user\s+\"?(\w+)\"?\s+set\s+rsa_public_key\s*=\s*'([^']+)'", re.IGNORECASE)
SWAP = re.compile(r"alter\s+database\s+(\w+)\s+swap\s+with\s+(\w+)", re.IGNORECASE)
CLONE = re.compile(r"create\s+or\s+replace\s+schema\s+(\w+)\.(\S+)\s+clone\s+(\w+)\.(\S+)", re.IGNORECASE)
REMOVE = re.compile(r"remove\s+@(\w+)\.(\w+)\.(\w+)/(\S*)", re.IGNORECASE)
RETENTION = re.compile(
    r"\s(data_retention_time_in_days\s*=\s*\d+|comment\s*=\s*'(?:[^']|'')*')", re.IGNORECASE
)
# Of columns, as dbt persists docs; DuckDB has no place for them there.
COMMENT = re.compile(r"\s+comment\s*=?\s*\$\$.*?\$\$", re.IGNORECASE | re.DOTALL)
COMMENTS_ONLY = re.compile(
    r"\s*(comment\s+(if\s+exists\s+)?on\b|alter\s+(table|view)\s+\S+\s+alter\s.*\bcomment\b)",
    re.IGNORECASE | re.DOTALL,
)
# A temporary object with a full name, which DuckDB has in a catalog of its own; here it is an ordinary one.
TEMPORARY = re.compile(
    r"(create\s+(?:or\s+replace\s+)?)temporary\s+(?=(?:table|view)\s+\S+\.\S+\.)", re.IGNORECASE
)
OWN_SCHEMAS = ("information_schema", "_fs_information_schema", "main", "pg_catalog")

public_keys: dict[str, str] = {}
_execute = FakeSnowflakeCursor.execute
_transform = FakeSnowflakeCursor._transform
_explode = FakeSnowflakeCursor._transform_explode
_execute_one = FakeSnowflakeCursor._execute
_source_urls = copy_into._source_urls
_strip_json_extract = copy_into._strip_json_extract
_login = server.login_request
_session = server.session
_timestamps = arrow.timestamp_to_sf_struct


def execute(self: FakeSnowflakeCursor, command: str, *args: Any, **kwargs: Any) -> Any:
    """Run a statement, or what stands for it; a fault of DuckDB's is an error like Snowflake's, not of the server."""
    if found := KEY_OF_USER.match(command):
        public_keys[found[1].upper()] = found[2]
    if found := SWAP.match(command):
        _swap(self._duck_conn, found[1].upper(), found[2].upper())
    elif found := CLONE.match(command):
        _clone(self._duck_conn, *(part.strip('"').upper() for part in found.groups()))
    elif found := REMOVE.match(command):
        folder = stage.internal_dir(".".join(found[index].upper() for index in (1, 2, 3)), found[4])
        shutil.rmtree(folder, ignore_errors=True)
    elif not OF_THE_ACCOUNT.match(command) and not COMMENTS_ONLY.match(command):
        try:
            if command.lower().startswith("create database"):
                command = RETENTION.sub("", command)
            if "$$" in command:
                command = COMMENT.sub("", command)
            command = TEMPORARY.sub(r"\1", command)
            return _execute(self, command, *args, **kwargs)
        except snowflake.connector.errors.Error:
            raise
        except Exception as error:
            # The server would answer 500, and the connector ask again for minutes.
            raise snowflake.connector.errors.ProgrammingError(
                msg=str(error), errno=100132, sqlstate="P0000"
            ) from error
    return _execute(self, SQL_SUCCESS, **{name: kwargs[name] for name in kwargs if name == "server"})


def explode(self: FakeSnowflakeCursor, expression: exp.Expression) -> list[exp.Expression]:
    """MERGE is DuckDB's own; fakesnow makes several statements of it, which aliases break."""
    return [expression] if isinstance(expression, exp.Merge) else _explode(self, expression)


def execute_one(self: FakeSnowflakeCursor, transformed: exp.Expression, params: Any = None) -> None:
    """What a MERGE answers is a count, which the server describes as a query's."""
    if not isinstance(transformed, exp.Merge):
        _execute_one(self, transformed, params)
        return
    counted = self._duck_conn.execute(transformed.sql(dialect="duckdb"), params).fetchall()
    answer = f"select {int(counted[0][0])} as 'number of rows inserted'"
    _execute_one(self, sqlglot.parse_one(answer, read="duckdb"))


def transform(self: FakeSnowflakeCursor, expression: exp.Expression, params: Any) -> exp.Expression:
    """`metadata$filename` of a COPY is DuckDB's own column; a stage's encryption is nothing here."""
    if isinstance(expression, exp.Copy):
        for column in list(expression.find_all(exp.Column)):
            if column.name.lower() == "metadata$filename":
                column.replace(exp.column("filename"))
    return _transform(self, expression, params)


def timestamps(column: pa.ChunkedArray) -> pa.Array:
    """A time that is null stays null; fakesnow makes 1970 of it."""
    found = _timestamps(column)
    nulls = column.is_null()
    mask = nulls.combine_chunks() if isinstance(nulls, pa.ChunkedArray) else nulls
    parts = [found.field(index).fill_null(0) for index in range(found.type.num_fields)]
    return pa.StructArray.from_arrays(parts, fields=list(found.type), mask=mask)


def strip_json_extract(select: exp.Select) -> exp.Select:
    """`$1:"name"` of a COPY is a column that may have any name."""
    found = _strip_json_extract(select)
    for column in found.find_all(exp.Identifier):
        column.set("quoted", True)
    return found


def source_urls(source: str, files: list[str]) -> list[str]:
    """`files = (…)` of an internal stage, which is a folder without a scheme."""
    if stage.is_internal(source):
        return [f"{source.rstrip('/')}/{file}" for file in files] or [source]
    return _source_urls(source, files)


async def login_request(request: Request) -> JSONResponse:
    """A login with a key is held against the key that `alter user … set rsa_public_key` gave, as Snowflake does."""
    import gzip

    body = await request.body()
    if request.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    data = json.loads(body)["data"]
    if data.get("AUTHENTICATOR") == "SNOWFLAKE_JWT":
        refusal = _refusal(data["TOKEN"], data["LOGIN_NAME"].upper())
        if refusal:
            return JSONResponse({"success": False, "code": "390144", "message": refusal, "data": {}})
    answer = json.loads((await _login(request)).body)
    # Without one, the connector takes the session for closed and doesn't end it.
    answer["data"]["masterToken"] = answer["data"]["token"]
    return JSONResponse(answer)


async def session(request: Request) -> JSONResponse:
    """A session that ends gives up its transaction, as one does whose client is gone."""
    if request.query_params.get("delete"):
        with suppress(duckdb.TransactionException):  # there is none
            server.to_conn(server.to_token(request))._duck_conn.rollback()
    return await _session(request)


def _refusal(token: str, user: str) -> str | None:
    held = public_keys.get(user)
    if held is None:
        return None
    key = load_der_public_key(base64.b64decode(held))
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    try:
        claims = jwt.decode(token, key, algorithms=["RS256"])
    except jwt.InvalidTokenError as error:
        return f"JWT token is invalid. {error}"
    fingerprint = f"SHA256:{base64.b64encode(digest).decode()}"
    return None if claims["iss"].endswith(fingerprint) else "JWT token is invalid."


def _swap(connection: duckdb.DuckDBPyConnection, first: str, second: str) -> None:
    """Each database gets the other's schemas with their tables: two steps here, one there."""
    holds = {name: _content(connection, name) for name in (first, second)}
    for name, other in ((first, second), (second, first)):
        for schema in holds[name]:
            connection.execute(f'drop schema {name}."{schema}" cascade')
        for schema, tables in holds[other].items():
            connection.execute(f'create schema {name}."{schema}"')
            for table, rows in tables.items():
                connection.register("_rows", rows)
                connection.execute(f'create table {name}."{schema}"."{table}" as select * from _rows')
                connection.unregister("_rows")


def _clone(connection: duckdb.DuckDBPyConnection, to: str, new: str, of: str, schema: str) -> None:
    connection.execute(f'drop schema if exists {to}."{new}" cascade')
    connection.execute(f'create schema {to}."{new}"')
    for table in _tables(connection, of, schema):
        # Not `create table … as`, which would forget which columns may be null.
        connection.execute(f'create table {to}."{new}"."{table}" as select * from {of}."{schema}"."{table}"')


def _content(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, dict[str, Any]]:
    schemas = connection.execute(
        "select schema_name from duckdb_schemas() where upper(database_name) = ? and not internal", [database]
    ).fetchall()
    return {
        schema: {
            table: connection.execute(f'select * from {database}."{schema}"."{table}"').to_arrow_table()
            for table in _tables(connection, database, schema)
        }
        for (schema,) in schemas
        if schema.lower() not in OWN_SCHEMAS
    }


def _tables(connection: duckdb.DuckDBPyConnection, database: str, schema: str) -> list[str]:
    found = connection.execute(
        "select table_name from duckdb_tables() where upper(database_name) = ? and upper(schema_name) = ?",
        [database, schema],
    )
    return [name for (name,) in found.fetchall()]


def main() -> None:
    """Serve on a port of the loopback interface."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    FakeSnowflakeCursor.execute = execute
    FakeSnowflakeCursor._transform = transform
    FakeSnowflakeCursor._transform_explode = explode
    FakeSnowflakeCursor._execute = execute_one
    copy_into._source_urls = source_urls
    copy_into._strip_json_extract = strip_json_extract
    arrow.timestamp_to_sf_struct = timestamps
    server.app.router.routes[:2] = [
        Route("/session/v1/login-request", login_request, methods=["POST"]),
        Route("/session", session, methods=["POST"]),
    ]
    Path(stage.LOCAL_BUCKET_PATH).mkdir(parents=True, exist_ok=True)
    uvicorn.run(server.app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
