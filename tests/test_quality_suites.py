"""Hand-written suites: what a file may say, and what is said when it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest
from dpipe.errors import ConfigError
from dpipe.quality.model import LAYERS
from dpipe.quality.suite_files import load_suites, read_suite
from dpipe.quality.vocabulary import EXPECTATIONS
from dpipe.settings import load_project
from support import make_project

FLIGHTS_PROJECT = Path(__file__).parents[1]

GOOD = """\
relation: marts.orders
ids: [order_id]
expectations:
  - type: expect_column_values_to_not_be_null
    column: order_id
    description: the key
  - type: expect_column_values_to_be_between
    column: amount
    min_value: 0
    severity: warning
    description: nobody pays us to buy
  - type: unexpected_rows
    name: no_orphans
    description: every order has a customer
    sql: |
      select order_id from marts.orders anti join marts.customers using (customer_id);
"""


def _suite_file(folder: Path, text: str) -> Path:
    path = folder / "orders.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_suite_is_read_with_its_severities_and_columns(tmp_path: Path) -> None:
    suite, findings = read_suite(_suite_file(tmp_path, GOOD), "marts")
    assert findings == []
    assert suite is not None
    assert (suite.relation, suite.table, suite.ids) == ("marts.orders", "marts.orders", ("order_id",))
    assert [(check.rule, check.column, check.severity) for check in suite.checks] == [
        ("expect_column_values_to_not_be_null", "order_id", "error"),
        ("expect_column_values_to_be_between", "amount", "warning"),
        ("no_orphans", None, "error"),
    ]
    assert not suite.checks[2].arguments["sql"].endswith(";")


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("relation: marts.orders", "relation: marts.order", "1:11: error: the suite of `marts.orders`"),
        ("ids: [order_id]", "ids: order_id", "2:6: error: `ids` should be a list of columns"),
        ("expectations:", "expectation:", "3:1: error: `expectation` means nothing here"),
        (
            "type: expect_column_values_to_be_between",
            "type: expect_column_values_to_be_in_between",
            "7:11: error: there is no expectation `expect_column_values_to_be_in_between`\n"
            "  hint: did you mean `expect_column_values_to_be_between`?",
        ),
        ("min_value: 0", "min_values: 0", "did you mean `min_value`?"),
        ("min_value: 0", "min_value: zero", "9:16: error: `min_value` should be a number"),
        ("    min_value: 0\n", "", "`expect_column_values_to_be_between` has no limit"),
        ("column: order_id", "column: [order_id]", "5:5: error: `column` should be a column's name"),
        ("    column: order_id\n", "", "`expect_column_values_to_not_be_null` needs `column`"),
        ("severity: warning", "severity: warn", "there is no severity `warn`"),
        ("    description: the key\n", "", "`description` should be text"),
        ("    name: no_orphans\n", "", "`name` should be text"),
        ("type: unexpected_rows", "typ: unexpected_rows", "there is no expectation `None`"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_the_fix(
    tmp_path: Path, wrong: str, right: str, message: str
) -> None:
    assert wrong in GOOD
    suite, findings = read_suite(_suite_file(tmp_path, GOOD.replace(wrong, right)), "marts")
    assert suite is None
    assert any(message in str(finding) for finding in findings), findings


def test_the_same_rule_twice_on_a_column_asks_for_names(tmp_path: Path) -> None:
    twice = GOOD + GOOD[GOOD.index("  - type: expect_column_values_to_be_b") : GOOD.index("  - type: unexp")]
    _, findings = read_suite(_suite_file(tmp_path, twice), "marts")
    assert ["is there twice" in finding.message for finding in findings] == [True]


def test_an_empty_suite_is_no_suite(tmp_path: Path) -> None:
    _, findings = read_suite(
        _suite_file(tmp_path, "relation: marts.orders\nids: [a]\nexpectations: []\n"), "marts"
    )
    assert ["`expectations` should be a list" in finding.message for finding in findings] == [True]


def test_every_mistake_of_every_file_is_in_the_error(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (project.checks / "marts").mkdir(parents=True)
    for name in ("one", "two"):
        (project.checks / "marts" / f"{name}.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_suites(project, "marts")
    assert "one.yaml:1:11" in raised.value.message
    assert "two.yaml:1:11" in raised.value.message


def test_the_suites_of_the_flights_project_are_in_order() -> None:
    project = load_project(FLIGHTS_PROJECT)
    suites = {layer: load_suites(project, layer) for layer in LAYERS}
    models = {
        layer: {path.stem for path in (project.transform / "models" / layer).glob("*.sql")}
        for layer in LAYERS
    }
    for layer in ("staging", "marts"):
        assert {suite.relation.partition(".")[2] for suite in suites[layer]} == models[layer]


def test_the_suite_in_the_documentation_is_a_suite(tmp_path: Path) -> None:
    text = (FLIGHTS_PROJECT / "docs" / "quality.md").read_text(encoding="utf-8")
    example = tmp_path / "fct_flights.yaml"
    example.write_text(text.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    assert read_suite(example, "marts")[1] == []


def test_the_documentation_lists_the_whole_vocabulary() -> None:
    text = (FLIGHTS_PROJECT / "docs" / "quality.md").read_text(encoding="utf-8")
    listed = text[text.index("in which it fails:") : text.index("## Where")]
    assert set(listed.replace("`", " ").replace(",", " ").replace(".", " ").split()) >= set(EXPECTATIONS)
