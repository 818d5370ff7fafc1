"""A contract as a suite: nothing that the contract asks for is left unchecked."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest
from contract_texts import contract as contract_text
from dpipe.contract import Column, Contract, Rule, contract_for
from dpipe.contract.plan import Kind, RuleName
from dpipe.quality.from_contract import contract_suite, duckdb_type, rule_check
from dpipe.quality.model import UNEXPECTED_ROWS
from dpipe.quality.vocabulary import EXPECTATIONS
from dpipe.settings import load_project

PROJECT = load_project(Path(__file__).parents[1])
VALUES: dict[str, float | int | Decimal | str | tuple[str, ...]] = {
    "multipleOf": Decimal("0.5"),
    "format": "email",
    "minLength": 1,
    "maxLength": 2,
    "pattern": "^[A-Z]{2}$",
    "enum": ("1", "2"),
}


@pytest.fixture(params=PROJECT.datasets())
def contract(request: pytest.FixtureRequest) -> Contract:
    return contract_for(PROJECT, request.param)


def test_every_rule_of_a_contract_is_exactly_one_check(contract: Contract) -> None:
    suite = contract_suite(contract, "contract")
    checks = Counter((check.rule, check.column) for check in suite.checks)
    expected: Counter[tuple[str, str | None]] = Counter()
    for column in contract.plan.columns:
        expected[("exists", column.name)] += 1
        expected[("type", column.name)] += 1
        expected[("required", column.name)] += column.required
        for rule in column.rules:
            expected[(rule.rule, column.name)] += 1
    for comparison in contract.plan.comparisons:
        expected[(comparison.name, f"{comparison.left}, {comparison.right}")] += 1
    for quality in contract.quality:
        expected[(quality.name, quality.column)] += 1
    for name in ("_dpipe_batch_id", "_dpipe_record_no", "_dpipe_contract"):
        expected[("provenance", name)] += 1
    expected[("provenance_unique", "_dpipe_batch_id, _dpipe_record_no")] += 1
    expected[("key", ", ".join(contract.plan.key))] += 1
    for name in contract.plan.unique:
        expected[("unique", name)] += 1
    assert checks == expected


def test_a_unique_column_is_a_check() -> None:
    text = contract_text("- {name: a, logicalType: string, unique: true}\n- {name: b, logicalType: string}")
    suite = contract_suite(Contract.from_text(text), "contract")
    (check,) = (check for check in suite.checks if check.rule == "unique")
    assert (check.type, check.arguments) == ("expect_column_values_to_be_unique", {"column": "a"})


def test_a_contract_uses_only_expectations_that_are_proven_on_duckdb(contract: Contract) -> None:
    for check in contract_suite(contract, "contract").checks:
        assert set(EXPECTATIONS[check.type].required) <= set(check.arguments)
        assert set(check.arguments) <= set(EXPECTATIONS[check.type].arguments)


@pytest.mark.parametrize("name", get_args(RuleName))
def test_every_kind_of_rule_has_a_check(name: RuleName) -> None:
    numeric = name not in VALUES or name == "multipleOf"
    kind: Kind = "list" if name.endswith("Items") else "int32" if numeric else "string"
    column = Column("code", kind)
    check = rule_check(column, Rule(name, VALUES.get(name, 1.0)), "lake.raw.t")
    assert check.rule == name
    assert check.type in EXPECTATIONS


def test_every_kind_of_column_has_a_duckdb_type() -> None:
    part = Column("b", "decimal", precision=4, scale=2)
    assert all(duckdb_type(Column("a", kind, fields=(part,))) for kind in get_args(Kind))
    assert duckdb_type(Column("a", "struct", fields=(part,))) == 'STRUCT("b" DECIMAL(4,2))'


def test_an_exclusive_limit_is_strict() -> None:
    column = Column("amount", "float64")
    low = rule_check(column, Rule("exclusiveMinimum", 0.0), "lake.raw.t")
    high = rule_check(column, Rule("exclusiveMaximum", 1.5), "lake.raw.t")
    assert low.arguments == {"column": "amount", "min_value": 0, "strict_min": True}
    assert high.arguments == {"column": "amount", "max_value": 1.5, "strict_max": True}


def test_an_enumeration_of_integers_compares_integers() -> None:
    check = rule_check(Column("size", "int64"), Rule("enum", ("1", "2")), "lake.raw.t")
    assert check.arguments["value_set"] == [1, 2]


def test_a_pattern_is_sql_with_its_quotes_doubled() -> None:
    check = rule_check(Column('odd"name', "string"), Rule("pattern", "^it's$"), "lake.raw.t")
    assert check.type == UNEXPECTED_ROWS
    assert "regexp_matches(\"odd\"\"name\", '^it''s$')" in check.arguments["sql"]
