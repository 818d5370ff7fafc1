"""Two contracts: what distinguishes them, whom it breaks, and how the new one judges data that is there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from contract_texts import contract
from dpipe import landing
from dpipe.contract import Contract
from dpipe.contract.diff import asked_version, diff, is_enough
from dpipe.errors import UsageError
from dpipe.stages.compare import against_files, against_landed, against_quarantine, last_committed
from dpipe.stages.process import process
from dpipe.state import runs
from hypothesis import given
from hypothesis import strategies as st
from reference import holds
from support import ORDERS, make_project, run_dpipe

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project

A = "- {name: a, logicalType: string}"


UPSERT = "customProperties:\n  - {property: dpipe.writeMode, value: upsert}"
VERSIONED = f"{UPSERT}\n  - {{property: dpipe.versionColumn, value: v}}"


def keyed(version: str) -> str:
    key = "- {name: a, logicalType: string, primaryKey: true, required: true}"
    return f"{key}\n- {{name: {version}, logicalType: integer, required: true}}"


def loaded(columns: str, top: str = "", version: str = "1.0.0") -> Contract:
    text = contract(columns, dataset=top).replace("version: 1.0.0", f"version: {version}")
    return Contract.from_text(text)


def column(rest: str) -> str:
    return f"- {{name: a, {rest}}}"


def test_another_version_column_breaks_and_a_renamed_one_does_not() -> None:
    (found,) = diff(loaded(keyed("v"), UPSERT), loaded(keyed("v"), VERSIONED))
    assert (found.effect, found.text) == (
        "breaking",
        "of two records with one key the one with the larger `v` wins, and the later one did",
    )
    renamed = keyed("w").removesuffix("}") + ", customProperties: [{property: dpipe.renamedFrom, value: v}]}"
    found_texts = [
        one.text
        for one in diff(
            loaded(keyed("v"), VERSIONED), loaded(renamed, VERSIONED.replace("value: v", "value: w"))
        )
    ]
    assert not [text for text in found_texts if "one key" in text]


def test_a_unique_column_that_is_renamed_or_becomes_the_key_is_not_told_of_as_unique() -> None:
    unique = column("logicalType: string, unique: true")
    custom = "customProperties: [{property: dpipe.renamedFrom, value: a}]"
    renamed = f"- {{name: b, logicalType: string, unique: true, {custom}}}"
    as_key = column("logicalType: string, required: true, primaryKey: true")
    for old, new in ((unique, renamed), (unique, as_key), (as_key, unique)):
        assert not [one.text for one in diff(loaded(old), loaded(new)) if "may have one" in one.text]


@pytest.mark.parametrize(
    ("old", "new", "effect", "said"),
    [
        (A, A + "\n- {name: b, logicalType: string}", "widening", "column `b` of type string is new"),
        (A, A + "\n- {name: b, logicalType: string, required: true}", "breaking", "is new and required"),
        (A + "\n- {name: b, logicalType: string}", A, "breaking", "column `b` is gone"),
        (
            A + "\n- {name: b, logicalType: string}",
            A
            + "\n- {name: c, logicalType: string, customProperties: [{property: dpipe.renamedFrom, value: b}]}",
            "breaking",
            "column `b` is called `c`",
        ),
        (A, column("logicalType: string, required: true"), "breaking", "`a` is required"),
        (column("logicalType: string, required: true"), A, "widening", "`a` may be null"),
        (A, column("logicalType: integer"), "breaking", "`a` is int64, and was string"),
        (
            column("logicalType: integer, physicalType: int32"),
            column("logicalType: integer, physicalType: int64"),
            "widening",
            "`a` is int64, and was int32",
        ),
        (
            column("logicalType: number, physicalType: 'decimal(5,2)'"),
            column("logicalType: number, physicalType: 'decimal(7,2)'"),
            "widening",
            "decimal(7,2)",
        ),
        (
            column("logicalType: number, physicalType: 'decimal(5,2)'"),
            column("logicalType: number, physicalType: 'decimal(7,3)'"),
            "breaking",
            "decimal(7,3)",
        ),
        (
            A,
            column("logicalType: string, logicalTypeOptions: {pattern: x}"),
            "breaking",
            "held to: matches x",
        ),
        (column("logicalType: string, logicalTypeOptions: {pattern: x}"), A, "widening", "no longer held to"),
        (
            column("logicalType: string, logicalTypeOptions: {pattern: x}"),
            column("logicalType: string, logicalTypeOptions: {pattern: y}"),
            "breaking",
            "it was: matches x",
        ),
        (
            column("logicalType: date, logicalTypeOptions: {minimum: '2013-01-01'}"),
            column("logicalType: date, logicalTypeOptions: {minimum: '2012-01-01'}"),
            "widening",
            "minimum 2012-01-01",
        ),
        (A, column("logicalType: string, unique: true"), "breaking", "no two rows may have one `a`"),
        (column("logicalType: string, unique: true"), A, "widening", "two rows may have one `a`"),
        (A, column("logicalType: string, description: x"), "documentation", "described otherwise"),
        (A, column("logicalType: string, tags: [x]"), "documentation", "its words changed"),
        (
            column("logicalType: object, properties: [{name: b, logicalType: string}]"),
            column("logicalType: object, properties: [{name: b, logicalType: string, required: true}]"),
            "breaking",
            "`a.b` is required",
        ),
        (
            column("logicalType: array, items: {logicalType: integer, physicalType: int32}"),
            column("logicalType: array, items: {logicalType: integer, physicalType: int64}"),
            "widening",
            "`a[]` is int64",
        ),
    ],
)
def test_each_change_has_its_effect(old: str, new: str, effect: str, said: str) -> None:
    found = diff(loaded(old), loaded(new))
    assert [(one.effect, said in one.text) for one in found] == [(effect, True)]


@pytest.mark.parametrize(
    ("old", "new", "effect", "said"),
    [
        ("", "customProperties: [{property: dpipe.unknownFields, value: reject}]", "breaking", "reject"),
        ("customProperties: [{property: dpipe.unknownFields, value: reject}]", "", "widening", "ignore"),
        (
            "",
            "customProperties: [{property: dpipe.csv.delimiter, value: ';'}]",
            "breaking",
            "CSV reads otherwise",
        ),
        (
            "",
            "quality: [{name: n, metric: rowCount, mustBeGreaterThan: 1}]",
            "breaking",
            "error: row count > 1",
        ),
        ("quality: [{name: n, metric: rowCount, mustBeGreaterThan: 1}]", "", "widening", "no longer held to"),
        (
            "quality: [{name: n, metric: rowCount, mustBeGreaterThan: 1}]",
            "quality: [{name: n, metric: rowCount, mustBeGreaterThan: 1, severity: warning}]",
            "widening",
            "warning: row count > 1; it was: error",
        ),
        (
            "",
            "quality: [{name: n, metric: rowCount, mustBeGreaterThan: 1, severity: warning}]",
            "documentation",
            "warning: row count",
        ),
    ],
)
def test_each_change_of_the_dataset_has_its_effect(old: str, new: str, effect: str, said: str) -> None:
    found = diff(loaded(A, old), loaded(A, new))
    assert [(one.effect, said in one.text) for one in found] == [(effect, True)]


def test_without_a_header_the_order_of_columns_is_what_csv_means() -> None:
    plain = "customProperties: [{property: dpipe.csv.header, value: false}]"
    one, other = A + "\n- {name: b, logicalType: string}", "- {name: b, logicalType: string}\n" + A
    assert [found.effect for found in diff(loaded(one, plain), loaded(other, plain))] == ["breaking"]
    assert [found.effect for found in diff(loaded(one), loaded(other))] == ["documentation"]


def test_the_same_contract_in_another_layout_is_no_difference() -> None:
    assert diff(loaded(A), loaded("- name: a # the name\n  logicalType: 'string'")) == []


LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


@given(
    limit=st.sampled_from(LIMITS),
    old=st.integers(-3, 3) | st.none(),
    new=st.integers(-3, 3) | st.none(),
)
def test_what_only_widens_lets_every_value_pass_that_passed(
    limit: str, old: int | None, new: int | None
) -> None:
    def made(bound: int | None) -> Contract:
        options = "" if bound is None else f", logicalTypeOptions: {{{limit}: {bound}}}"
        return loaded(column(f"logicalType: integer{options}"))

    before, after = made(old), made(new)
    effects = {one.effect for one in diff(before, after)}
    passing = [
        {value for value in range(-9, 9) if all(holds(rule, value) for rule in one.plan.columns[0].rules)}
        for one in (before, after)
    ]
    expected = set() if old == new else {"widening"} if passing[0] <= passing[1] else {"breaking"}
    assert effects == expected


@pytest.mark.parametrize(
    ("before", "new", "asked"),
    [
        ("1.2.3", A, "1.2.4"),
        ("1.2.3", A + "\n- {name: b, logicalType: string}", "1.3.0"),
        ("1.2.3", "- {name: b, logicalType: string}", "2.0.0"),
        ("draft", "- {name: b, logicalType: string}", None),
    ],
)
def test_the_version_asked_for_follows_the_effect(before: str, new: str, asked: str | None) -> None:
    old = loaded(A, version=before)
    after = loaded(new, version="9.9.9" if new != A else before + "-x")
    assert asked_version(old, diff(old, after)) == asked


@pytest.mark.parametrize(
    ("version", "asked", "enough"),
    [
        ("1.3.0", "1.3.0", True),
        ("2.0.0", "1.3.0", True),
        ("1.2.9", "1.3.0", False),
        ("next", "1.3.0", False),
        ("1.10.0", "1.9.0", True),
    ],
)
def test_a_version_is_enough_from_the_asked_one_on(version: str, asked: str, enough: bool) -> None:
    assert is_enough(version, asked) is enough


CONTENT = "order_id,day,amount\n1,2013-01-01,5\n2,2013-01-01,-1\n3,2013-01-02,70\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = make_project(tmp_path / "a project", {"orders": ORDERS}, {"max_rejected_share": 1.0})
    path = project.root / "a.csv"
    path.write_text(CONTENT)
    landing.land_file(project, "orders", path)
    with runs.recorded(project, "process") as run:
        process(project, run=run)
    return project


def test_data_is_judged_by_both_contracts(project: Project) -> None:
    old = last_committed(project, "orders")
    new = Contract.from_text(ORDERS.replace("minimum: 0", "minimum: -5, maximum: 50"))
    for verdicts in (against_landed(project, old, new), against_files([project.root / "a.csv"], old, new)):
        assert (verdicts.records, verdicts.rescued, verdicts.newly_rejected) == (3, 1, 1)
        assert verdicts.breaks == [{"column": "amount", "rule": "maximum", "records": 1}]
        assert [example["raw"] for example in verdicts.examples] == [b"3,2013-01-02,70"]
    of_quarantine = against_quarantine(project, new)
    assert (of_quarantine.records, of_quarantine.rescued) == (1, 1)


def test_a_dataset_without_a_batch_has_no_earlier_contract(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no earlier contract"):
        last_committed(make_project(tmp_path / "a project"), "orders")


def test_the_command_compares_what_was_used_with_what_is_there(project: Project) -> None:
    same = run_dpipe(project, "contract", "diff", "orders")
    assert (same.returncode, same.stdout) == (0, "the contracts are the same\n")
    path = project.contracts / "orders.odcs.yaml"
    path.write_text(ORDERS.replace("minimum: 0", "minimum: 3"))
    told = run_dpipe(
        project, "contract", "diff", "orders", "--against", "landed", "--against", "quarantine", "--json"
    )
    assert told.returncode == 1
    document: dict[str, Any] = json.loads(told.stdout)
    assert [one["effect"] for one in document["differences"]] == ["breaking"]
    assert document["versions"] == {"old": "1.0.0", "new": "1.0.0", "asked": "2.0.0", "enough": False}
    assert document["against"]["landed"]["newly_rejected"] == 0
    assert "call it 2.0.0" in told.stderr
    path.write_text(path.read_text().replace("version: 1.0.0", "version: 2.0.0"))
    said = run_dpipe(project, "contract", "diff", "orders", "--against", str(project.root / "a.csv"))
    assert said.returncode == 0
    assert "0 would be rejected that weren't" in said.stdout


def test_the_command_compares_files(project: Project, tmp_path: Path) -> None:
    other = tmp_path / "new.odcs.yaml"
    other.write_text(ORDERS.replace("name: amount", "name: total"))
    said = run_dpipe(project, "contract", "diff", "orders", str(other))
    assert said.returncode == 1
    assert "column `amount` is gone" in said.stdout
    assert run_dpipe(project, "contract", "diff", "orders", str(tmp_path / "none.yaml")).returncode == 2
    assert (
        run_dpipe(project, "contract", "diff", "orders", "--against", str(tmp_path / "none.csv")).returncode
        == 2
    )
