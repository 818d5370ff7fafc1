"""From Great Expectations' verdicts to results, and from results to rows of the state."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from dpipe.contract.quality import quoted
from dpipe.quality.model import ROWS_SHOWN, UNEXPECTED_ROWS, Check, CheckResult, Status, Suite
from dpipe.state.quality import QualityResult

if TYPE_CHECKING:
    import duckdb

COMPOUND_UNIQUE = "expect_compound_columns_to_be_unique"
LENGTHS = "expect_column_value_lengths_to_be_between"


def from_validation(suite: Suite, check: Check, verdict: Any, rows: int) -> CheckResult:  # noqa: ANN401
    """One verdict as a result; `rows` is the relation's count.

    A raised exception is `error`: the check could not run, which says nothing about the data.
    """
    message = _exception(verdict.exception_info)
    found = verdict.result or {}
    status: Status = "error" if message else "passed" if verdict.success else "failed"
    unexpected, observed = found.get("unexpected_count"), found.get("observed_value")
    if check.type == UNEXPECTED_ROWS:
        unexpected, observed = observed, None
    return CheckResult(
        layer=suite.layer,
        relation=suite.relation,
        rule=check.rule,
        column=check.column,
        severity=check.severity,
        status=status,
        description=check.description,
        unexpected_count=unexpected,
        total_count=rows if check.of_rows and unexpected is not None else None,
        observed=None if observed is None else str(observed),
        sql=check.arguments.get("sql") if status == "error" else None,
        message=message,
    )


def rows_sql(suite: Suite, check: Check) -> str | None:
    """Our own query for the failing rows of a check; None where Great Expectations has one that runs.

    Of `unexpected_rows` it would keep 200, for compound keys it finds none on DuckDB, and its query for lengths has
    its limits left out.
    """
    if check.type == UNEXPECTED_ROWS:
        return str(check.arguments["sql"])
    if check.type == COMPOUND_UNIQUE:
        key = [quoted(name) for name in check.arguments["column_list"]]
        repeated = f"select {', '.join(key)} from {suite.table} group by all having count(*) > 1"  # noqa: S608
        condition = f"({', '.join(key)}) in ({repeated})"
    elif check.type == LENGTHS:
        key = [quoted(check.arguments["column"])]
        condition = _wrong_length(key[0], check.arguments)
    else:
        return None
    columns = dict.fromkeys([*map(quoted, suite.ids), *key])
    return f"select {', '.join(columns)} from {suite.table} where {condition}"  # noqa: S608 - names are quoted


def _wrong_length(column: str, arguments: dict[str, Any]) -> str:
    tests = []
    for limit, strict, comparison in (("min_value", "strict_min", "<"), ("max_value", "strict_max", ">")):
        if limit in arguments:
            equal = "=" if arguments.get(strict) else ""
            tests.append(f"length({column}) {comparison}{equal} {arguments[limit]}")
    return " or ".join(tests)


def read_rows(
    connection: duckdb.DuckDBPyConnection, result: CheckResult, sql: str, limit: int
) -> CheckResult:
    """A failed result with the rows that our own query finds, `limit` at most."""
    cursor = connection.execute(f"select * from (\n{sql}\n) limit {limit}")  # noqa: S608
    names = [column[0] for column in cursor.description or []]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return replace(result, failing=_plain(rows), sql=sql)


def with_rows(result: CheckResult, complete: Any) -> CheckResult:  # noqa: ANN401 - a verdict
    """A failed result with the rows of the same check's verdict in Great Expectations' format COMPLETE."""
    found = complete.result or {}
    sql = " ".join(str(found.get("unexpected_index_query") or "").split()).removesuffix(";")
    return replace(result, failing=_plain(found.get("unexpected_index_list") or []), sql=sql or None)


def to_state(result: CheckResult) -> QualityResult:
    """The row for the history; `detail` says what must hold, and for broken rules the first rows and the SQL."""
    detail = [result.description] if result.description else []
    if result.failing:
        rows = [words(row) for row in result.failing[:ROWS_SHOWN]]
        detail.append(f"failing rows: {'; '.join(rows)}{' …' if len(result.failing) > ROWS_SHOWN else ''}")
    if result.sql:
        detail.append(f"sql: {result.sql}")
    return QualityResult(
        layer=result.layer,
        relation=result.relation,
        rule=result.rule,
        success=result.status == "passed",
        severity=result.severity,
        column_name=result.column,
        unexpected_count=result.unexpected_count,
        total_count=result.total_count,
        observed=result.count,
        detail=" · ".join(detail) or None,
    )


def words(row: dict[str, Any]) -> str:
    """A failing row as `name=value, …`."""
    return ", ".join(f"{name}={value}" for name, value in row.items())


def _exception(info: Any) -> str | None:  # noqa: ANN401 - one exception or one a metric
    """The first line of what was raised, if anything was."""
    if not info:
        return None
    raised = [info] if "raised_exception" in info else list(info.values())
    for one in raised:
        if one.get("raised_exception"):
            return str(one.get("exception_message") or "unknown").strip().splitlines()[0]
    return None


def _plain(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Rows with values that JSON has."""
    return tuple({str(name): _plain_value(value) for name, value in row.items()} for row in rows)


def _plain_value(value: object) -> Any:  # noqa: ANN401 - what JSON has
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and isfinite(value)):
        return value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return str(value)
