"""Whole-batch rules: their SQL counts what ODCS says, and thresholds compare as ODCS says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest
from contract_texts import contract, write
from dpipe.contract import QualityRule, load_contract
from dpipe.contract.quality import quoted
from dpipe.stages.gate import judge
from dpipe.stages.kernel import BatchCounts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def rows() -> Iterator[duckdb.DuckDBPyConnection]:
    """Ten rows: `a` has three nulls, an empty text and `x` three times; `we"ird` numbers."""
    with duckdb.connect() as connection:
        connection.execute(
            """create table batch_rows as select * from (values
            ('x', 1), ('x', 1), ('x', 2), ('y', 3), ('', 4), ('it''s', 5), ('z', null), (null, 6), (null, 6), (null, 7)
            ) as t (a, "we""ird")"""
        )
        yield connection


def rule(metric: str, **more: object) -> QualityRule:
    defaults: dict[str, object] = {"name": "r", "operator": "mustBe", "thresholds": (0.0,), "columns": ("a",)}
    return QualityRule(metric=metric, **(defaults | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counted", "value"),
    [
        (rule("rowCount", columns=()), 10),
        (rule("nullValues"), 3),
        (rule("nullValues", unit="percent"), 30.0),
        (rule("nullValues", columns=('we"ird',)), 1),
        (rule("missingValues", values=(None, "")), 4),
        (rule("missingValues", values=("",)), 1),
        (rule("missingValues", values=(None,)), 3),
        (rule("invalidValues", values=("x", "it's")), 3),
        (rule("invalidValues", values=("x",), unit="percent"), 40.0),
        (rule("invalidValues", columns=('we"ird',), values=(1, 6)), 5),
        (rule("invalidValues", pattern="^[a-z']*$"), 0),
        (rule("invalidValues", pattern="^.$"), 2),
        (rule("duplicateValues"), 2),
        (rule("duplicateValues", unit="percent"), 20.0),
        (rule("duplicateValues", columns=("a", 'we"ird')), 1),
    ],
    ids=lambda item: item.describe() if isinstance(item, QualityRule) else "",
)
def test_a_metric_counts_rows(rows: duckdb.DuckDBPyConnection, counted: QualityRule, value: float) -> None:
    assert rows.execute(counted.sql("batch_rows")).fetchone() == (value,)


@pytest.mark.parametrize("metric", ["nullValues", "duplicateValues"])
@pytest.mark.parametrize("unit", ["rows", "percent"])
def test_no_rows_count_as_none(rows: duckdb.DuckDBPyConnection, metric: str, unit: str) -> None:
    assert rows.execute(rule(metric, unit=unit).sql("(from batch_rows limit 0)")).fetchone() == (0,)


@pytest.mark.parametrize(
    ("operator", "thresholds", "holding", "failing"),
    [
        ("mustBe", (5.0,), [5], [4, 6]),
        ("mustNotBe", (5.0,), [4, 6], [5]),
        ("mustBeGreaterThan", (5.0,), [6], [4, 5]),
        ("mustBeGreaterOrEqualTo", (5.0,), [5, 6], [4]),
        ("mustBeLessThan", (5.0,), [4], [5, 6]),
        ("mustBeLessOrEqualTo", (5.0,), [4, 5], [6]),
        ("mustBeBetween", (4.0, 6.0), [5], [4, 6, 7]),
        ("mustNotBeBetween", (4.0, 6.0), [4, 6, 7], [5]),
    ],
)
def test_an_operator_compares_as_odcs_says(
    operator: str, thresholds: tuple[float, ...], holding: list[int], failing: list[int]
) -> None:
    compared = rule("nullValues", operator=operator, thresholds=thresholds)
    assert all(compared.holds(value) for value in holding)
    assert not any(compared.holds(value) for value in failing)


def test_a_rule_describes_itself() -> None:
    share = rule("nullValues", operator="mustBeLessThan", thresholds=(5.0,), unit="percent")
    assert share.describe() == "null values of a < 5 percent"
    between = rule("rowCount", columns=(), operator="mustBeBetween", thresholds=(1.0, 1e6))
    assert between.describe() == "row count between 1 and 1,000,000"


def test_identifiers_are_quoted() -> None:
    assert quoted('a"b') == '"a""b"'


def test_a_rules_parts_come_from_the_contract(tmp_path: Path) -> None:
    text = (
        "- name: a\n  logicalType: string\n  quality:\n"
        "    - {name: few nulls, metric: nullValues, mustBeLessThan: 5, unit: percent, severity: warning,\n"
        "       dimension: completeness, description: Nulls are rare}"
    )
    assert load_contract(write(tmp_path, contract(text))).quality == (
        QualityRule(
            name="few nulls",
            metric="nullValues",
            operator="mustBeLessThan",
            thresholds=(5.0,),
            columns=("a",),
            unit="percent",
            severity="warning",
            dimension="completeness",
            description="Nulls are rare",
        ),
    )


def test_a_rule_without_a_name_is_called_after_its_column_and_metric(tmp_path: Path) -> None:
    text = "- {name: a, logicalType: string, quality: [{metric: nullValues, mustBe: 3}]}"
    (only,) = load_contract(write(tmp_path, contract(text))).quality
    assert (only.name, only.column, only.unit, only.severity) == ("a_nullValues", "a", "rows", "error")


def test_a_columns_severity_wins_over_the_datasets(tmp_path: Path) -> None:
    own = "customProperties: [{property: dpipe.severity, value: error}]"
    quality = "quality: [{metric: nullValues, mustBe: 3}]"
    text = contract(
        f"- {{name: a, logicalType: string, {own}, {quality}}}\n- {{name: b, logicalType: string, {quality}}}",
        dataset="customProperties: [{property: dpipe.severity, value: warning}]",
    )
    assert [item.severity for item in load_contract(write(tmp_path, text)).quality] == ["error", "warning"]


def test_duplicates_over_several_columns_name_them(tmp_path: Path) -> None:
    text = contract(
        "- {name: a, logicalType: string}\n- {name: b, logicalType: string}",
        dataset="quality: [{metric: duplicateValues, arguments: {properties: [a, b]}, mustBe: 0}]",
    )
    (only,) = load_contract(write(tmp_path, text)).quality
    assert only.columns == ("a", "b")
    assert only.column is None


def test_a_batch_of_nothing_but_duplicates_is_not_empty_to_the_gate(tmp_path: Path) -> None:
    text = contract(dataset="quality: [{name: has_rows, metric: rowCount, mustBeGreaterThan: 0}]")
    loaded = load_contract(write(tmp_path, text))
    repeated = BatchCounts("file-a", 3, 0, 0, 3, [], {}, {})
    empty = BatchCounts("file-b", 0, 0, 0, 0, [], {}, {})
    assert [verdict.refused for verdict in judge(loaded, [repeated, empty], [], 1.0)] == [False, True]
