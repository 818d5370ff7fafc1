"""How Great Expectations speaks to DuckDB: `duckdb_engine` with reflection that works.

`duckdb_engine` 0.17 reflects columns through PostgreSQL catalogs that DuckDB lacks (`pg_collation`). Great
Expectations then falls back to a query that forgets the schema, and its expectations can't run (its issue
11579 is of this kind). With this dialect none of its internals has to be patched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import duckdb_engine
import sqlalchemy
from sqlalchemy.dialects import registry

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import ReflectedColumn, ReflectedPrimaryKeyConstraint

URL = "duckdb+lake:///:memory:"


def _reserved_words() -> set[str]:
    """Words that can't name a column everywhere unless they are quoted."""
    with duckdb.connect() as connection:
        words = connection.execute(
            "select keyword_name from duckdb_keywords() where keyword_category <> 'unreserved'"
        ).fetchall()
    return {word for (word,) in words}


class LakePreparer(duckdb_engine.DuckDBIdentifierPreparer):
    """Quotes the words that DuckDB keeps to itself: PostgreSQL's list lacks `at`, `pivot` and others."""

    reserved_words = duckdb_engine.DuckDBIdentifierPreparer.reserved_words | _reserved_words()


class LakeDialect(duckdb_engine.Dialect):
    """DuckDB with reflection by `describe`, read without transactions."""

    preparer = LakePreparer
    supports_statement_cache = False

    def get_columns(
        self,
        connection: sqlalchemy.Connection,
        table_name: str,
        schema: str | None = None,
        **_: Any,  # noqa: ANN401 - the signature is SQLAlchemy's
    ) -> list[ReflectedColumn]:
        """Names of the columns; types are checked in SQL, where their exact names are at hand."""
        table = f"{schema}.{table_name}" if schema else table_name
        unknown = sqlalchemy.types.NullType()
        return [
            {"name": row[0], "type": unknown, "nullable": True, "default": None}
            for row in connection.exec_driver_sql(f"describe {table}")
        ]

    def get_pk_constraint(
        self,
        connection: sqlalchemy.Connection,  # noqa: ARG002 - the signature is SQLAlchemy's
        table_name: str,  # noqa: ARG002
        schema: str | None = None,  # noqa: ARG002
        **_: Any,  # noqa: ANN401
    ) -> ReflectedPrimaryKeyConstraint:
        """Views have no key."""
        return {"constrained_columns": [], "name": None}

    def do_begin(self, connection: object) -> None:
        """Nothing is written, and one failing query must not spoil those after it."""

    def do_commit(self, connection: object) -> None:
        """Nothing was begun."""

    def do_rollback(self, connection: object) -> None:
        """Nothing was begun."""


def engine_arguments(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Arguments of `create_engine` with which `URL` means this open connection."""
    registry.register("duckdb.lake", __name__, LakeDialect.__name__)
    wrapped = duckdb_engine.ConnectionWrapper(connection)
    return {"creator": lambda: wrapped, "poolclass": sqlalchemy.StaticPool}
