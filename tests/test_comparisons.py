"""Rules over two columns of a record: kernel, checks and dbt's tests judge every record alike, and exactly."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, get_args

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from contract_texts import COLUMN, contract, findings, marked, write
from dpipe.bench.work import beyond_baselines
from dpipe.contract import Column, Comparison, Contract, Plan, load_contract
from dpipe.contract.arrow import arrow_type
from dpipe.contract.comparisons import condition
from dpipe.contract.diff import diff
from dpipe.contract.json_schema import json_schema
from dpipe.contract.plan import Operator
from dpipe.quality.expectations import run_suites
from dpipe.quality.from_contract import comparison_check, contract_suite
from dpipe.quality.model import Suite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_runs import Refused, run_bytes
from reference import compares
from support import ORDERS, ingest, make_project, rows_of, run_dpipe

if TYPE_CHECKING:
    from pathlib import Path

OPERATORS: tuple[Operator, ...] = get_args(Operator)
COLUMNS = """\
- {name: i, logicalType: integer}
- {name: n, logicalType: number}
- {name: d, logicalType: number, physicalType: "decimal(10,2)"}
- {name: e, logicalType: number, physicalType: "decimal(38,30)"}
- {name: t, logicalType: string}
- {name: u, logicalType: string}
- {name: b, logicalType: boolean}
- {name: c, logicalType: boolean}
- {name: z, logicalType: timestamp, logicalTypeOptions: {timezone: true}}
- {name: w, logicalType: timestamp}
- {name: l, logicalType: array, items: {logicalType: integer}}
- {name: o, logicalType: object, properties: [{name: p, logicalType: integer}]}"""


def rules(*items: str) -> str:
    return contract(COLUMNS, dataset="quality:\n" + "\n".join(f"  - {{{item}}}" for item in items))


def rule(implementation: str, more: str = "") -> str:
    return f"type: custom, engine: dpipe, implementation: {implementation}{more}"


@pytest.mark.parametrize(
    ("item", "message", "hint"),
    [
        (rule("‸i < nn"), "no column `nn`", "did you mean `n`?"),
        (rule("‸i < i"), "`i` is compared with itself", "name another column"),
        (rule("‸t < n"), "`t` of type string is not comparable with `n` of type float64", "one type"),
        (rule("‸d <= n"), "`d` of type decimal(10,2) is not comparable with `n`", "make both decimals"),
        (rule("‸i <= e"), "`int64` and `decimal(38,30)` take 49 digits", "38 at most"),
        (rule("‸z > w"), "not comparable", "give both a zone, or neither"),
        (rule("‸b < c"), "booleans have no order for `<`", "by `=` or `!=`"),
        (rule("‸i < l"), "`l` is nested", "columns of a single value"),
        (rule("‸o = i"), "`o` is nested", "columns of a single value"),
        (rule("‸o.p = i"), "`implementation` compares no two columns", "`column OP column`"),
        (rule("‸i < n + 1"), "`implementation` compares no two columns", "one of = != < <= > >="),
        (rule("‸i < 5"), "`implementation` compares no two columns", "`column OP column`"),
        (rule("‸i == n"), "`implementation` compares no two columns", "`column OP column`"),
        (
            "type: custom, engine: dpipe, ‸implementation: {left: i}",
            "`implementation` compares no two columns",
            "`column OP column`",
        ),
        (rule("i < n", ", ‸metric: rowCount"), "nothing reads `metric`", "leave it out"),
        (rule("i < n", ", ‸mustBe: 0"), "nothing reads `mustBe`", "leave it out"),
        (rule("i < n", ", severity: ‸warning"), "severity `warning`", "leave it out"),
        ("‸type: custom, engine: dpipe", "a rule without an `implementation`", "add `implementation:`"),
        (
            "type: ‸custom, engine: soda, implementation: x",
            "nothing enforces a `custom` rule",
            "`engine: dpipe`",
        ),
        ("type: ‸custom, implementation: i < n", "nothing enforces a `custom` rule", "`engine: dpipe`"),
    ],
)
def test_lint_names_what_cannot_be_compared(tmp_path: Path, item: str, message: str, hint: str) -> None:
    text = rules(item)
    (found,) = findings(tmp_path, text)
    assert (found.severity, message in found.message, hint in found.hint) == ("error", True, True), found
    line, column = marked(text)
    assert (found.line, found.column) == (line, column - item.startswith("‸"))


def test_a_rule_on_a_column_and_rules_twice_are_findings(tmp_path: Path) -> None:
    on_column = contract(
        f"- name: a\n  logicalType: string\n  quality: [{{{rule('a < b')}}}]\n" + COLUMN.replace("a,", "b,")
    )
    (found,) = findings(tmp_path, on_column)
    assert "move it to `quality` of the schema object" in found.hint
    (found,) = findings(tmp_path, rules(rule("i < n"), rule("n > i", ", name: x")))
    assert found.message == "`n > i` is there twice"
    (found,) = findings(
        tmp_path, rules("name: x, metric: rowCount, mustBeGreaterThan: 0", rule("i < n", ", name: x"))
    )
    assert found.message == "two rules are called `x`"


def test_a_rule_is_in_the_plan_and_in_the_hash(tmp_path: Path) -> None:
    plain = load_contract(write(tmp_path, contract(COLUMNS)))
    ruled = Contract.from_text(
        rules(rule("' i<=n '"), rule("t != u", ", name: other, description: They differ"))
    )
    assert ruled.plan.comparisons == (
        Comparison("i", "<=", "n", "i_at_most_n"),
        Comparison("t", "!=", "u", "other", "They differ"),
    )
    assert json.loads(ruled.plan.to_json())["compare"] == [
        {"left": "i", "operator": "<=", "right": "n"},
        {"left": "t", "operator": "!=", "right": "u"},
    ]
    # A plan without such rules is what it was before there were any.
    assert "compare" not in json.loads(plain.plan.to_json())
    assert ruled.hash != plain.hash
    assert beyond_baselines(Plan("d", "c", ()), "ndjson") is None
    with_rules = Plan("d", "c", (), comparisons=ruled.plan.comparisons)
    assert "compares columns" in str(beyond_baselines(with_rules, "ndjson"))


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ((), ("i < n",), [("breaking", "records are held to: i < n")]),
        (("i < n",), (), [("widening", "records are no longer held to: i < n")]),
        (
            ("i < n",),
            ("i <= n",),
            [
                ("breaking", "records are held to: i <= n"),
                ("widening", "records are no longer held to: i < n"),
            ],
        ),
        (("i < n",), ("n > i",), [("documentation", "its words changed, nothing that is enforced")]),
    ],
)
def test_a_changed_rule_is_a_difference(
    before: tuple[str, ...], now: tuple[str, ...], said: list[tuple[str, str]]
) -> None:
    old, new = (
        Contract.from_text(rules(*map(rule, texts)) if texts else contract(COLUMNS))
        for texts in (before, now)
    )
    assert [(one.effect, one.text) for one in diff(old, new)] == said


def test_a_renamed_column_is_compared_as_before() -> None:
    old = Contract.from_text(rules(rule("i < n")))
    renamed = rules(rule("number > i")).replace(
        "{name: n,", "{name: number, customProperties: [{property: dpipe.renamedFrom, value: n}],"
    )
    assert [one.text for one in diff(old, Contract.from_text(renamed))] == ["column `n` is called `number`"]


# One verdict for each record.

EDGES = [0, 1, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)]
FLOATS = [*map(float, EDGES), -0.0, 0.5, -0.5, 1e300, -1e300, 5e-324, 2.0**63 - 1024]
INT64 = st.sampled_from(EDGES) | st.integers(-(2**63), 2**63 - 1)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int32": st.integers(-3, 3) | st.integers(-(2**31), 2**31 - 1),
    "int64": INT64,
    "float64": st.sampled_from(FLOATS) | INT64.map(float) | st.floats(allow_nan=False, allow_infinity=False),
    "string": st.text("aZ\uffff\U0001f600é", max_size=3),
    "boolean": st.booleans(),
    "date": st.integers(-2, 2).map(lambda days: date(2024, 2, 29) + timedelta(days)),
    "time": st.integers(0, 2).map(lambda micros: time(12, 0, 0, micros)),
    "timestamp": st.integers(-2, 2).map(lambda days: datetime(2024, 2, 29, tzinfo=UTC) + timedelta(days)),
    "timestamp_ntz": st.integers(-2, 2).map(
        lambda days: datetime.fromisoformat("2024-02-29") + timedelta(days)
    ),
    "decimal": st.integers(-200, 200) | st.integers(-(10**9), 10**9),
}
NUMBERS = ["int32", "int64", "float64"]
EXACT = ["int32", "int64", "decimal"]
PAIRS = [
    *((one, other) for family in (NUMBERS, EXACT) for one in family for other in family),
    *((kind, kind) for kind in VALUES if kind not in {*NUMBERS, *EXACT}),
]


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Plan, list[tuple[Any, Any]]]:
    """A plan with one rule, and values of its two columns."""
    kinds = draw(st.sampled_from(PAIRS))
    operator = draw(st.sampled_from(("=", "!=") if kinds[0] == "boolean" else OPERATORS))
    # Scales that keep sums of digits within 38.
    scales = draw(st.tuples(st.integers(0, 9), st.integers(0, 9)))
    columns = tuple(
        Column(name, kind, precision=19, scale=scale) if kind == "decimal" else Column(name, kind)  # type: ignore[arg-type]
        for name, kind, scale in zip("ab", kinds, scales, strict=True)
    )

    def values(column: Column) -> st.SearchStrategy[Any]:
        drawn = VALUES[column.kind]
        return (
            drawn.map(lambda units: Decimal(units).scaleb(-column.scale))
            if column.kind == "decimal"
            else drawn
        )

    left, right = (st.none() | values(column) for column in columns)
    rows = draw(st.lists(st.tuples(left, right), min_size=1, max_size=8))
    plan = Plan("rows", "0" * 64, columns, comparisons=(Comparison("a", operator, "b"),))
    return plan, rows


def spelled(value: Any) -> str:
    """The value in JSON."""
    if isinstance(value, Decimal | int | float) and not isinstance(value, bool):
        return f"{value:f}" if isinstance(value, Decimal) else repr(value)
    return json.dumps(value.isoformat() if isinstance(value, date | time) else value)


def by_kernel(plan: Plan, rows: list[tuple[Any, Any]], form: str, threads: int = 1) -> list[bool]:
    if form == "parquet":
        schema = pa.schema([(column.name, arrow_type(column)) for column in plan.columns])
        sink = io.BytesIO()
        pq.write_table(
            pa.Table.from_pylist([dict(zip("ab", row, strict=True)) for row in rows], schema=schema), sink
        )
        content = sink.getvalue()
    else:
        content = "".join(f'{{"a": {spelled(a)}, "b": {spelled(b)}}}\n' for a, b in rows).encode()
    run = run_bytes(plan, content, form, threads=threads)
    for record in run.of_batch():
        assert not isinstance(record, Refused) or record.violations == (("a", "compare"),)
    return [not isinstance(record, Refused) for record in run.of_batch()]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pairs())
def test_kernel_sql_and_python_give_one_verdict(drawn: tuple[Plan, list[tuple[Any, Any]]]) -> None:
    plan, rows = drawn
    (comparison,) = plan.comparisons
    expected = [a is None or b is None or compares(comparison.operator, a, b) for a, b in rows]

    assert by_kernel(plan, rows, "ndjson") == expected
    assert by_kernel(plan, rows, "parquet") == expected
    schema = pa.schema([("row", pa.int64()), *((column.name, arrow_type(column)) for column in plan.columns)])
    table = pa.Table.from_pylist(
        [{"row": at, "a": a, "b": b} for at, (a, b) in enumerate(rows)], schema=schema
    )
    with duckdb.connect() as connection:
        connection.register("records", table)
        asked = condition(comparison, {column.name: column for column in plan.columns})
        broken = connection.execute(f"select row from records where not ({asked})").fetchall()
    assert [at not in {row for (row,) in broken} for at in range(len(rows))] == expected


def test_a_check_finds_the_rows_that_another_writer_put_there() -> None:
    columns = (Column("i", "int64"), Column("n", "float64"))
    plan = Plan("rows", "0" * 64, columns, comparisons=(Comparison("i", ">", "n", "more"),))
    check = comparison_check(plan, plan.comparisons[0], "main.rows")
    with duckdb.connect() as connection:
        connection.execute(
            "create table rows as select * from (values (9007199254740993, 9007199254740992.0::double), (1, 1.0), "
            "(null, 1.0), (1, null), (0, 0.5)) as t (i, n)"
        )
        connection.execute("alter table rows add column _dpipe_batch_id varchar default 'b'")
        connection.execute("alter table rows add column _dpipe_record_no bigint default 1")
        (result,) = run_suites(
            connection, [Suite("raw", "main.rows", "main.rows", ("i",), (check,), "contract")]
        )
    assert (result.rule, result.column, result.status, result.unexpected_count) == (
        "more",
        "i, n",
        "failed",
        2,
    )
    assert sorted(row["i"] for row in result.failing) == [0, 1]


def test_a_contracts_rule_is_one_check() -> None:
    suite = contract_suite(Contract.from_text(rules(rule("i < n", ", name: less"))), "contract")
    (check,) = (check for check in suite.checks if check.rule == "less")
    assert (check.column, check.description) == ("i, n", "i < n")


def test_the_json_schema_tells_the_rule_in_words() -> None:
    schema = json_schema(Contract.from_text(rules(rule("i < n"), rule("t != u"))))
    assert schema["description"] == "Also held to: i < n; t != u."
    # Examples of two columns may break what must hold between them.
    assert "examples" not in schema


def test_a_broken_record_goes_into_quarantine_with_all_that_it_broke(tmp_path: Path) -> None:
    text = ORDERS.replace(
        "    properties:\n", f"    quality: [{{{rule('amount >= least')}}}]\n    properties:\n"
    )
    project = make_project(tmp_path, {"orders": text + "      - {name: least, logicalType: integer}\n"})
    good = [f"{number},2013-01-01,5,5" for number in range(30)]
    ingest(
        project,
        "\n".join(["order_id,day,amount,least", *good, "30,2013-01-01,5,6", "31,2013-01-01,-1,0", ""]),
    )
    assert sorted(row["order_id"] for row in rows_of(project, "raw", "orders")) == [*range(30)]
    listed = json.loads(run_dpipe(project, "quarantine", "list", "orders", "--json").stdout)
    assert "compare" in json.dumps(listed)
    shown = run_dpipe(project, "quarantine", "show", "orders").stdout
    assert "amount: compare: `5` of `amount` is not >= `6` of `least`" in shown
    assert (
        "record: amount_at_least_least: amount >= least"
        in run_dpipe(project, "contract", "show", "orders").stdout
    )
