"""Suites on DuckDB: verdicts, counts and failing rows are what the data says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from dpipe.contract import Column, QualityRule, Rule
from dpipe.output import to_json
from dpipe.quality import Check, CheckResult, Severity, Suite, ValidationReport
from dpipe.quality.expectations import run_suites
from dpipe.quality.from_contract import batch_check, rule_check
from dpipe.quality.model import UNEXPECTED_ROWS, Status
from dpipe.quality.results import to_state
from dpipe.quality.text import lines
from dpipe.quality.vocabulary import EXPECTATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

# Twelve rows: `id` counts them, `code` is null once, `amount` is -1 once, `twin` repeats a value.
TABLE = """
create schema marts;
create table marts.orders as
select
    id,
    case when id = 3 then null else chr(64 + id::int) || 'X' end as code,
    case when id = 5 then -1 else id end as amount,
    least(id, 11) as twin,
    id + 1 as later,
    '2013-01-01'::date as day
from range(1, 13) as numbers (id);
"""

# Expectation → arguments that hold, arguments that don't, and how many rows break the latter (None: not counted).
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], int | None]] = {
    "expect_column_to_exist": ({"column": "id"}, {"column": "gone"}, None),
    "expect_column_values_to_not_be_null": ({"column": "id"}, {"column": "code"}, 1),
    "expect_column_values_to_be_null": ({"column": "code", "mostly": 0.01}, {"column": "code"}, 11),
    "expect_column_values_to_be_unique": ({"column": "id"}, {"column": "twin"}, 2),
    "expect_column_values_to_be_between": (
        {"column": "amount", "min_value": -1, "max_value": 12},
        {"column": "amount", "min_value": -1, "strict_min": True},
        1,
    ),
    "expect_column_values_to_be_in_set": (
        {"column": "amount", "value_set": [-1, *range(1, 13)]},
        {"column": "code", "value_set": ["AX", "BX"]},
        9,
    ),
    "expect_column_values_to_not_be_in_set": (
        {"column": "code", "value_set": ["ZZ"]},
        {"column": "code", "value_set": ["AX"]},
        1,
    ),
    "expect_column_value_lengths_to_be_between": (
        {"column": "code", "min_value": 2, "max_value": 2},
        {"column": "code", "max_value": 1},
        11,
    ),
    "expect_column_pair_values_a_to_be_greater_than_b": (
        {"column_A": "later", "column_B": "id"},
        {"column_A": "amount", "column_B": "id", "or_equal": True},
        1,
    ),
    "expect_column_pair_values_to_be_equal": (
        {"column_A": "id", "column_B": "id"},
        {"column_A": "id", "column_B": "amount"},
        1,
    ),
    "expect_compound_columns_to_be_unique": (
        {"column_list": ["day", "id"]},
        {"column_list": ["day", "twin"]},
        2,
    ),
    "expect_column_min_to_be_between": (
        {"column": "id", "min_value": 1},
        {"column": "amount", "min_value": 0},
        None,
    ),
    "expect_column_max_to_be_between": (
        {"column": "id", "max_value": 12},
        {"column": "id", "max_value": 11},
        None,
    ),
    "expect_column_mean_to_be_between": (
        {"column": "id", "min_value": 6, "max_value": 7},
        {"column": "id", "max_value": 6},
        None,
    ),
    "expect_column_sum_to_be_between": (
        {"column": "id", "min_value": 78, "max_value": 78},
        {"column": "id", "min_value": 79},
        None,
    ),
    "expect_column_unique_value_count_to_be_between": (
        {"column": "twin", "min_value": 11, "max_value": 11},
        {"column": "twin", "min_value": 12},
        None,
    ),
    "expect_column_proportion_of_non_null_values_to_be_between": (
        {"column": "code", "min_value": 0.9},
        {"column": "code", "min_value": 1},
        None,
    ),
    "expect_table_row_count_to_be_between": ({"min_value": 12, "max_value": 12}, {"max_value": 11}, None),
    "expect_table_columns_to_match_set": (
        {"column_set": ["id", "code"], "exact_match": False},
        {"column_set": ["id", "gone"], "exact_match": False},
        None,
    ),
    UNEXPECTED_ROWS: (
        {"sql": "select id from marts.orders where not regexp_matches(code, '^[A-Z]{2}$')"},
        {"sql": "select id, code from marts.orders where regexp_matches(code, '^[AB]{1}X$') -- two"},
        2,
    ),
}


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute(TABLE)
        yield opened


def _suite(*checks: Check, table: str = "marts.orders", ids: tuple[str, ...] = ("id",)) -> Suite:
    return Suite("marts", "marts.orders", table, ids, checks, "orders.yaml")


def _check(kind: str, arguments: dict[str, Any], **others: Any) -> Check:
    return Check(kind, kind, arguments, of_rows=kind != UNEXPECTED_ROWS, **others)


def _run(connection: duckdb.DuckDBPyConnection, *checks: Check) -> list[CheckResult]:
    return run_suites(connection, [_suite(*checks)])


def test_the_cases_are_the_whole_vocabulary() -> None:
    assert set(CASES) == set(EXPECTATIONS)


@pytest.mark.parametrize("kind", CASES)
def test_an_expectation_tells_good_from_bad(connection: duckdb.DuckDBPyConnection, kind: str) -> None:
    good, bad, count = CASES[kind]
    passed, failed = _run(connection, _check(kind, good), _check(kind, bad))
    assert passed.status == "passed", passed
    assert (failed.status, failed.unexpected_count) == ("failed", count)
    assert len(failed.failing) == (count or 0)


@pytest.mark.parametrize(
    ("rule", "failing"),
    [
        (Rule("minimum", 1.0), [5]),
        (Rule("maximum", 11.0), [12]),
        (Rule("exclusiveMinimum", 1.0), [1, 5]),
        (Rule("exclusiveMaximum", 11.0), [11, 12]),
        (Rule("enum", tuple(str(number) for number in range(-1, 10))), [10, 11, 12]),
    ],
)
def test_a_rule_on_numbers_finds_the_rows_that_break_it(
    connection: duckdb.DuckDBPyConnection, rule: Rule, failing: list[int]
) -> None:
    (result,) = _run(connection, rule_check(Column("amount", "int64"), rule, "marts.orders"))
    assert sorted(row["id"] for row in result.failing) == failing


@pytest.mark.parametrize(
    ("rule", "failing"),
    [
        (Rule("minLength", 3), "ABDEFGHIJKL"),
        (Rule("maxLength", 1), "ABDEFGHIJKL"),
        (Rule("pattern", "^[A-K]X"), "L"),
        (Rule("pattern", "^[A-Z]{2}$"), ""),
        (Rule("enum", ("AX", "BX", "DX", "it's")), "EFGHIJKL"),
    ],
)
def test_a_rule_on_text_passes_nulls_and_finds_the_rest(
    connection: duckdb.DuckDBPyConnection, rule: Rule, failing: str
) -> None:
    connection.execute("alter table marts.orders add column _dpipe_batch_id varchar")
    connection.execute("alter table marts.orders add column _dpipe_record_no bigint")
    (result,) = _run(connection, rule_check(Column("code", "string"), rule, "marts.orders"))
    assert sorted(row["code"][0] for row in result.failing) == list(failing)


@pytest.mark.parametrize(
    ("rule", "batches"),
    [
        (QualityRule("rows", "rowCount", "mustBeGreaterThan", (4.0,)), ["b"]),
        (QualityRule("rows", "rowCount", "mustBe", (4.0,)), ["a"]),
        (QualityRule("rows", "rowCount", "mustBeBetween", (3.0, 9.0)), []),
        (QualityRule("rows", "rowCount", "mustNotBeBetween", (3.0, 5.0)), ["b"]),
        (QualityRule("nulls", "nullValues", "mustBeLessThan", (10.0,), ("code",), "percent"), ["a"]),
        (QualityRule("twins", "duplicateValues", "mustBe", (0.0,), ("twin",)), ["b"]),
        (
            QualityRule(
                "known", "invalidValues", "mustBeLessOrEqualTo", (2.5,), ("amount",), values=(1, 2, 3)
            ),
            ["a"],
        ),
    ],
)
def test_a_whole_batch_rule_is_checked_for_every_batch(
    connection: duckdb.DuckDBPyConnection, rule: QualityRule, batches: list[str]
) -> None:
    connection.execute(
        "create table marts.received as select *, if(id <= 8, 'a', 'b') as _dpipe_batch_id from marts.orders"
    )
    connection.execute("delete from marts.received where amount < 0 or id = 8 or id = 9")
    connection.execute("create view marts.raw_rows as select * from marts.received")
    check = batch_check(rule, "marts.raw_rows")
    (result,) = _run(connection, check)
    held = {
        batch: rule.holds(
            _number(connection, rule.sql(f"(from marts.raw_rows where _dpipe_batch_id = '{batch}')"))
        )
        for batch in ("a", "b")
    }
    assert [row["_dpipe_batch_id"] for row in result.failing] == [
        name for name, holds in held.items() if not holds
    ]


def _number(connection: duckdb.DuckDBPyConnection, sql: str) -> float:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return float(row[0])


def test_every_failing_row_is_kept_beyond_what_great_expectations_keeps(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    connection.execute(
        "create table marts.many as select id, null as gap, id % 10 as digit from range(1000) as t (id)"
    )
    results = run_suites(
        connection,
        [
            _suite(
                _check("expect_column_values_to_not_be_null", {"column": "gap"}),
                _check("expect_column_values_to_be_between", {"column": "digit", "max_value": 4}),
                _check(UNEXPECTED_ROWS, {"sql": "select id from marts.many where id >= 500"}),
                table="marts.many",
            )
        ],
    )
    assert [len(result.failing) for result in results] == [1000, 500, 500]
    assert sorted(row["id"] for row in results[0].failing) == list(range(1000))


@pytest.mark.parametrize("kind", [kind for kind, case in CASES.items() if case[2]])
def test_the_sql_of_a_result_finds_its_rows_again(connection: duckdb.DuckDBPyConnection, kind: str) -> None:
    (result,) = _run(connection, _check(kind, CASES[kind][1]))
    assert result.sql is not None
    found = connection.execute(result.sql).fetchall()
    assert sorted(row[0] for row in found) == sorted(row["id"] for row in result.failing)
    assert len(found) == CASES[kind][2]


def test_a_check_that_cannot_run_is_an_error_and_spoils_no_other(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    results = _run(
        connection,
        _check("expect_column_values_to_not_be_null", {"column": "gone"}),
        replace(
            _check(UNEXPECTED_ROWS, {"sql": "select cast(code as integer) as c from marts.orders"}),
            rule="cast",
        ),
        replace(_check(UNEXPECTED_ROWS, {"sql": "not a query"}), rule="syntax"),
        _check("expect_column_values_to_be_unique", {"column": "id"}),
    )
    assert [result.status for result in results] == ["error", "error", "error", "passed"]
    assert "gone" in str(results[0].message)
    assert "Conversion Error" in str(results[1].message)


def test_a_compound_key_is_judged_as_great_expectations_judges_it(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """By a query of ours, but for `mostly`; a null in a key makes it nobody's."""
    connection.execute("""
        create table marts.keyed as select * from (
            values (1, 1, 'a'), (2, 1, 'a'), (3, 1, 'b'), (4, 1, null), (5, 1, null), (6, null, null), (7, null, null)
        ) as rows (id, a, b)
    """)
    kind = "expect_compound_columns_to_be_unique"
    arguments: dict[str, dict[str, Any]] = {"ours": {}, "theirs": {"mostly": 1.0}}
    checks = (
        replace(_check(kind, {"column_list": ["a", "b"], **more}), rule=name)
        for name, more in arguments.items()
    )
    ours, theirs = run_suites(connection, [_suite(*checks, table="marts.keyed")])
    assert ours.failing == theirs.failing == ({"id": 1, "a": 1, "b": "a"}, {"id": 2, "a": 1, "b": "a"})
    assert (ours.status, ours.unexpected_count) == (theirs.status, theirs.unexpected_count) == ("failed", 2)


def test_a_relation_that_is_not_there_is_one_error(connection: duckdb.DuckDBPyConnection) -> None:
    suite = _suite(_check("expect_column_to_exist", {"column": "id"}), table="marts.gone")
    (result,) = run_suites(connection, [suite])
    assert (result.rule, result.status) == ("relation", "error")
    assert "gone" in str(result.message)


def test_great_expectations_prints_nothing(
    connection: duckdb.DuckDBPyConnection, capfd: pytest.CaptureFixture[str]
) -> None:
    _run(connection, *(_check(kind, arguments[1]) for kind, arguments in CASES.items()))
    assert capfd.readouterr() == ("", "")


def test_results_have_a_json_form(connection: duckdb.DuckDBPyConnection) -> None:
    sql = "select id, day, 0.5::decimal(3, 1) as share, 'nan'::double as odd from marts.orders where id = 1"
    results = _run(connection, _check(UNEXPECTED_ROWS, {"sql": sql}))
    report = ValidationReport(("marts",), None, tuple(results), (), 1.0, 0.5)
    document = json.loads(to_json(report))
    assert document["failed"] == 1
    assert document["results"][0]["failing"] == [{"id": 1, "day": "2013-01-01", "share": "0.5", "odd": "nan"}]


def _report(*results: CheckResult) -> ValidationReport:
    return ValidationReport(("marts",), None, results, (), 1.0, 0.5)


def _result(status: Status, severity: Severity = "error", count: int | None = 3) -> CheckResult:
    failing = tuple({"id": number} for number in range(count or 0)) if status == "failed" else ()
    return CheckResult(
        "marts",
        "marts.orders",
        "between",
        "amount",
        severity,
        status,
        "is paid",
        count,
        1000,
        None,
        failing,
    )


def test_a_warning_is_no_problem() -> None:
    report = _report(_result("passed", count=0), _result("failed", "warning"))
    assert (report.passed, report.warnings, report.ok, report.problem()) == (1, 1, True, None)


def test_a_broken_rule_is_a_data_error_that_says_which_and_how_many() -> None:
    problem = _report(_result("failed"), _result("failed")).problem()
    assert problem is not None
    assert problem.exit_code == 1
    assert problem.message == "check marts.orders `amount` between failed: 3 of 1,000 rows (and 1 more)"


def test_a_check_that_could_not_run_comes_before_broken_rules() -> None:
    problem = _report(
        _result("failed"), replace(_result("error", count=None), message="no such column")
    ).problem()
    assert problem is not None
    assert problem.exit_code == 2
    assert "no such column" in problem.message


def test_the_text_shows_twenty_failing_rows_and_counts_all() -> None:
    shown = list(lines(_report(_result("failed", count=50))))
    assert shown[0] == "marts.orders  0 of 1 checks passed"
    assert shown[1] == "  failed: marts.orders `amount` between (is paid): 50 of 1,000 rows"
    assert shown[2:22] == [f"    id={number}" for number in range(20)]
    assert shown[22] == "    … and 30 more"


def test_the_history_holds_the_first_rows_and_the_sql() -> None:
    row = to_state(replace(_result("failed", count=30), sql="select 1"))
    assert (row.success, row.observed, row.unexpected_count) == (False, "30 of 1,000 rows", 30)
    assert row.detail is not None
    assert row.detail.startswith("is paid · failing rows: id=0; id=1;")
    assert row.detail.endswith("id=19 … · sql: select 1")
