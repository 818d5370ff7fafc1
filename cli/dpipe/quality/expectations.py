"""Suites run by Great Expectations over an open DuckDB connection.

Great Expectations takes seconds to import, so that happens inside the functions. It prints to stdout, warns
and logs on its own: all of that is kept off the answer.
"""

from __future__ import annotations

import io
import logging
import os
import time
import warnings
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb

from dpipe.errors import UsageError
from dpipe.quality.model import UNEXPECTED_ROWS, Check, CheckResult, Suite
from dpipe.quality.results import COMPOUND_UNIQUE, from_validation, read_rows, rows_sql, with_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The rows that a report holds for one check; its count is of all of them.
ROWS_KEPT = 100_000
_SEVERITIES = {"error": "critical", "warning": "warning"}


def load() -> float:
    """Import Great Expectations, with its analytics off; returns the seconds that took.

    Raises `UsageError` when it isn't installed.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    started = time.perf_counter()
    try:
        with _kept_quiet():
            import duckdb_engine  # noqa: F401
            import great_expectations.expectations.core  # noqa: F401
    except ModuleNotFoundError as error:
        hint = "install dpipe with its extra: pip install 'dpipe[quality]'"
        raise UsageError(f"`validate` needs the package `{error.name}`", hint=hint) from error
    return time.perf_counter() - started


def run_suites(connection: duckdb.DuckDBPyConnection, suites: Sequence[Suite]) -> list[CheckResult]:
    """The results of every check, in the order of the suites.

    A check that can't run is a result with status `error`, never an exception. `connection` stays open.
    """
    load()
    with _kept_quiet(), connection.cursor() as cursor:
        batches = _Batches(cursor)
        return [result for suite in suites for result in _run(batches, suite)]


class _Batches:
    """Great Expectations' view of one connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        import great_expectations
        from great_expectations.data_context.types.base import ProgressBarsConfig

        from dpipe.quality.duckdb_dialect import URL, engine_arguments

        self.connection = connection
        # Ephemeral: the file context would write the connection to disk.
        context = great_expectations.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
        sources: Any = context.data_sources
        self._source = sources.add_sql("duckdb", connection_string=URL, kwargs=engine_arguments(connection))

    def of(self, suite: Suite) -> Any:  # noqa: ANN401 - Great Expectations' Batch
        """The whole relation as a batch."""
        schema, _, table = suite.table.rpartition(".")
        asset = self._source.add_table_asset(suite.source, table_name=table.strip('"'), schema_name=schema)
        return asset.add_batch_definition_whole_table("whole").get_batch()


def _run(batches: _Batches, suite: Suite) -> list[CheckResult]:
    try:
        rows = _row_count(batches.connection, suite)
    except duckdb.Error as error:
        message = f"`{suite.relation}` can't be read: {str(error).splitlines()[0]}"
        return [CheckResult(suite.layer, suite.relation, "relation", None, "error", "error", message=message)]
    batch = batches.of(suite)
    suite = replace(suite, checks=tuple(_lighter(suite, check) for check in suite.checks))
    # First only the counts of every check, then the rows of those that failed.
    verdicts = _validate(batch, suite.checks, {"result_format": "BASIC", "partial_unexpected_count": 0})
    results = [
        from_validation(suite, check, verdict, rows)
        for check, verdict in zip(suite.checks, verdicts, strict=True)
    ]
    return _with_failing_rows(batches, batch, suite, results)


def _lighter(suite: Suite, check: Check) -> Check:
    """The same question in SQL of our own, where Great Expectations' takes a gigabyte for millions of rows.

    Of compound keys it joins every row with its group.
    """
    sql = (
        rows_sql(suite, check) if check.type == COMPOUND_UNIQUE and "mostly" not in check.arguments else None
    )
    return replace(check, type=UNEXPECTED_ROWS, arguments={"sql": sql}) if sql else check


def _with_failing_rows(
    batches: _Batches,
    batch: Any,  # noqa: ANN401 - Great Expectations' Batch
    suite: Suite,
    results: list[CheckResult],
) -> list[CheckResult]:
    """The results, those that failed with the rows that broke the rule."""
    again: dict[int, Check] = {}
    for index, (check, result) in enumerate(zip(suite.checks, results, strict=True)):
        if result.status != "failed" or not result.unexpected_count:
            continue
        sql = rows_sql(suite, check)
        if sql is None:
            again[index] = check
        else:
            results[index] = read_rows(batches.connection, result, sql, ROWS_KEPT)
    if again:
        complete = {
            "result_format": "COMPLETE",
            "unexpected_index_column_names": list(suite.ids),
            "partial_unexpected_count": min(max(results[i].unexpected_count or 0 for i in again), ROWS_KEPT),
        }
        for index, verdict in zip(again, _validate(batch, list(again.values()), complete), strict=True):
            results[index] = with_rows(results[index], verdict)
    return results


def _validate(batch: Any, checks: Sequence[Check], result_format: dict[str, Any]) -> list[Any]:  # noqa: ANN401
    """One verdict a check, in their order; Great Expectations returns them in an order of its own."""
    from great_expectations import ExpectationSuite

    suite = ExpectationSuite(name="checks")
    suite.expectations = [_expectation(check, index) for index, check in enumerate(checks)]
    verdicts = batch.validate(suite, result_format=result_format).results
    return sorted(verdicts, key=lambda verdict: int(verdict.expectation_config.meta["check"]))


def _expectation(check: Check, index: int) -> Any:  # noqa: ANN401 - an Expectation
    from great_expectations.expectations.registry import get_expectation_impl

    arguments, kind = check.arguments, check.type
    if kind == UNEXPECTED_ROWS:
        # Great Expectations fills in what stands in braces; in our SQL they mean themselves. It also puts
        # the query in brackets on one line, which a comment at its end would swallow.
        query = _wrapped(arguments["sql"]).replace("{", "{{").replace("}", "}}")
        arguments, kind = {"unexpected_rows_query": query}, "unexpected_rows_expectation"
    expectation: Any = get_expectation_impl(kind)
    return expectation(**arguments, meta={"check": index}, severity=_SEVERITIES[check.severity])


def _wrapped(sql: str) -> str:
    return f"select * from (\n{sql}\n)"  # noqa: S608 - the project's own query


def _row_count(connection: duckdb.DuckDBPyConnection, suite: Suite) -> int:
    counted = connection.execute(f"select count(*) from {suite.table}").fetchone()  # noqa: S608
    return int(counted[0]) if counted else 0


@contextmanager
def _kept_quiet() -> Iterator[None]:
    """Nothing that Great Expectations says reaches stdout, the log or the warnings."""
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
