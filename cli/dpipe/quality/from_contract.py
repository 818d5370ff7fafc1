"""A contract as a suite over `raw.<dataset>`: one check a rule, none left out.

The kernel has judged every record, and the gate every batch, by the same rules already. Validating the table
is the independent proof, by another engine, and also sees what other writers put there. What only text has
(null tokens, timestamp spellings, unknown fields) is the kernel's alone; the partition is a property of the
Iceberg table.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dpipe.contract.comparisons import condition
from dpipe.contract.plan import MAX_PRECISION, PROVENANCE
from dpipe.contract.quality import quoted
from dpipe.contract.types import DATED
from dpipe.quality import text_formats
from dpipe.quality.model import UNEXPECTED_ROWS, Check, Suite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpipe.contract import Column, Contract, QualityRule, Rule
    from dpipe.contract.plan import Comparison, Kind, Plan

# Where a row came from: unique in the table, and so the ids of its failing rows.
ROW_IDS = PROVENANCE[:2]

_DUCKDB_TYPES: dict[Kind, str] = {
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "boolean": "BOOLEAN",
    "string": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "timestamp_ntz": "TIMESTAMP",
    "time": "TIME",
}

_NOT_NULL = "expect_column_values_to_not_be_null"
_IN_SET = "expect_column_values_to_be_in_set"
_BETWEEN = "expect_column_values_to_be_between"
_LENGTHS = "expect_column_value_lengths_to_be_between"
# Rules with one limit: the expectation, the argument that takes the limit, and the others.
_LIMITS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "minimum": (_BETWEEN, "min_value", {}),
    "maximum": (_BETWEEN, "max_value", {}),
    "exclusiveMinimum": (_BETWEEN, "min_value", {"strict_min": True}),
    "exclusiveMaximum": (_BETWEEN, "max_value", {"strict_max": True}),
    "minLength": (_LENGTHS, "min_value", {}),
    "maxLength": (_LENGTHS, "max_value", {}),
}
_OPERATORS = {"minimum": ">=", "maximum": "<=", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
_COMPARISONS = {
    "mustBe": "= {0!r}",
    "mustNotBe": "<> {0!r}",
    "mustBeGreaterThan": "> {0!r}",
    "mustBeGreaterOrEqualTo": ">= {0!r}",
    "mustBeLessThan": "< {0!r}",
    "mustBeLessOrEqualTo": "<= {0!r}",
    "mustBeBetween": "> {0!r} and value < {1!r}",
    "mustNotBeBetween": "<= {0!r} or value >= {1!r}",
}


def duckdb_type(column: Column) -> str:
    """The type that a column has in DuckDB."""
    if column.kind == "list":
        return f"{duckdb_type(column.fields[0])}[]"
    if column.kind == "struct":
        fields = ", ".join(f"{quoted(part.name)} {duckdb_type(part)}" for part in column.fields)
        return f"STRUCT({fields})"
    if column.kind == "decimal":
        return f"DECIMAL({column.precision},{column.scale})"
    return _DUCKDB_TYPES[column.kind]


def contract_suite(contract: Contract, source: str) -> Suite:
    """The checks of a contract; `source` is its file."""
    plan = contract.plan
    table = f"lake.raw.{quoted(plan.dataset)}"
    checks = [check for column in plan.columns for check in _column_checks(column, table)]
    checks += [_not_null("provenance", name, "says where the row came from") for name in PROVENANCE]
    checks.append(_provenance_unique(table))
    if plan.key:
        checks.append(_unique("key", plan.key, "no two rows have one key"))
    checks += [_unique("unique", (name,), "no two rows have one value") for name in plan.unique]
    checks += [comparison_check(plan, rule, table) for rule in plan.comparisons]
    checks += [batch_check(rule, table) for rule in contract.quality]
    return Suite("raw", f"raw.{plan.dataset}", table, ROW_IDS, tuple(_told_apart(checks)), source)


def _column_checks(column: Column, table: str) -> Iterator[Check]:
    name = column.name
    yield Check("exists", "expect_column_to_exist", {"column": name}, name, description="is there")
    yield _type_check(column, table)
    if column.required:
        yield _not_null("required", name, "has a value")
    for rule in column.rules:
        yield rule_check(column, rule, table)


def rule_check(column: Column, rule: Rule, table: str) -> Check:
    """The one check that says what a rule on a column's values says; nulls pass, as in the kernel."""
    if rule.rule == "pattern":
        return _pattern_check(column, str(rule.value), table)
    if column.kind == "list":
        return _sql_check(column, rule, table, _items(column, rule))
    if rule.rule == "format":
        return _sql_check(column, rule, table, text_formats.condition(quoted(column.name), str(rule.value)))
    if rule.rule == "multipleOf":
        return _sql_check(column, rule, table, _is_multiple(column, Decimal(str(rule.value))))
    if column.kind == "decimal" or column.kind in DATED:
        return _sql_check(column, rule, table, _comparison(column, rule))
    arguments: dict[str, Any] = {"column": column.name}
    if isinstance(rule.value, tuple):
        expectation = _IN_SET
        arguments["value_set"] = _values(column.kind, rule.value)
    else:
        expectation, limit, others = _LIMITS[rule.rule]
        arguments |= {limit: _number(float(rule.value)), **others}
    return Check(rule.rule, expectation, arguments, column.name, description=rule.describe())


def comparison_check(plan: Plan, rule: Comparison, table: str) -> Check:
    """A rule over two columns of a record, in SQL that compares as exactly as the kernel; nulls pass."""
    columns = {column.name: column for column in plan.columns}
    shown = ", ".join(quoted(name) for name in (*ROW_IDS, rule.left, rule.right))
    sql = f"select {shown} from {table} where not ({condition(rule, columns)})"  # noqa: S608
    named = f"{rule.left}, {rule.right}"
    description = rule.description or rule.describe()
    return Check(rule.name, UNEXPECTED_ROWS, {"sql": sql}, named, description=description)


def batch_check(rule: QualityRule, table: str) -> Check:
    """A whole-batch rule, for each batch that has rows in the table; a failing row is a batch and its value."""
    batch = f"(select * from {table} where _dpipe_batch_id = batches._dpipe_batch_id)"  # noqa: S608
    sql = (
        f"select * from (select _dpipe_batch_id, ({rule.sql(batch)}) as value "  # noqa: S608
        f"from (select distinct _dpipe_batch_id from {table}) as batches) "
        f"where not (value {_COMPARISONS[rule.operator].format(*map(_number, rule.thresholds))})"
    )
    description = rule.description or rule.describe()
    return Check(
        rule.name, UNEXPECTED_ROWS, {"sql": sql}, rule.column, rule.severity, description, of_rows=False
    )


def _values(kind: Kind, texts: tuple[str, ...]) -> list[Any]:
    """An enumeration's values; only strings and integers have one."""
    return list(texts) if kind == "string" else [int(text) for text in texts]


def _number(value: float) -> float | int:
    """The number as an integer where it is one: 64-bit integers must not be compared as floats."""
    return int(value) if value.is_integer() else value


def _type_check(column: Column, table: str) -> Check:
    """The exact type as DuckDB names it; Great Expectations can't tell timestamps with and without a zone."""
    # DuckDB quotes the names of fields in its own way.
    nested = f"typeof(cast(null as {duckdb_type(column)}))"
    expected = nested if column.fields else _literal(duckdb_type(column))
    sql = (
        f"select column_name, column_type, {expected} as expected_type from (describe {table}) "  # noqa: S608
        f"where column_name = {_literal(column.name)} and column_type <> {expected}"
    )
    description = f"is of type {column.type_name}"
    return Check("type", UNEXPECTED_ROWS, {"sql": sql}, column.name, "error", description, of_rows=False)


def _sql_check(column: Column, rule: Rule, table: str, condition: str) -> Check:
    """A condition in SQL, for what Great Expectations can't compare exactly; a null passes."""
    name, ids = quoted(column.name), ", ".join(quoted(name) for name in ROW_IDS)
    sql = f"select {ids}, {name} from {table} where not ({condition})"  # noqa: S608
    return Check(rule.rule, UNEXPECTED_ROWS, {"sql": sql}, column.name, description=rule.describe())


def _comparison(column: Column, rule: Rule) -> str:
    """A limit or an enumeration of exact or dated values."""
    name = quoted(column.name)
    if isinstance(rule.value, tuple):
        return f"{name} in ({', '.join(_decimal(Decimal(text)) for text in rule.value)})"
    if column.kind == "decimal":
        return f"{name} {_OPERATORS[rule.rule]} {_decimal(Decimal(rule.value))}"
    return f"{name} {_OPERATORS[rule.rule]} cast({_literal(str(rule.value))} as {duckdb_type(column)})"


def _items(column: Column, rule: Rule) -> str:
    """A rule on an array's items; nulls among them are items too."""
    name = quoted(column.name)
    if rule.rule == "uniqueItems":
        nulls = f"len({name}) - list_count({name})"
        return f"len(list_distinct({name})) = list_count({name}) and {nulls} <= 1"
    return f"len({name}) {'>=' if rule.rule == 'minItems' else '<='} {rule.value}"


def _is_multiple(column: Column, step: Decimal) -> str:
    """Whether a number is a multiple; a floating-point one by its shortest spelling, where a decimal holds that."""
    name = quoted(column.name)
    if column.kind == "float64":
        name = f"try_cast(cast({name} as varchar) as decimal({MAX_PRECISION},18))"
    return f"{name} % {_decimal(step)} = 0"


def _decimal(value: Decimal) -> str:
    """An exact literal; a bare `0.5` or a long one might be read as a floating-point number."""
    digits, exponent = value.as_tuple().digits, int(value.as_tuple().exponent)
    scale = max(-exponent, 0)
    precision = min(max(len(digits) + max(exponent, 0), scale + 1), MAX_PRECISION)
    return f"cast('{value:f}' as decimal({precision},{min(scale, precision)}))"


def _pattern_check(column: Column, pattern: str, table: str) -> Check:
    """A regular expression, searched, in SQL: Great Expectations has none for DuckDB."""
    name, ids = quoted(column.name), ", ".join(quoted(name) for name in ROW_IDS)
    sql = (
        f"select {ids}, {name} from {table} "  # noqa: S608
        f"where {name} is not null and not regexp_matches({name}, {_literal(pattern)})"
    )
    return Check("pattern", UNEXPECTED_ROWS, {"sql": sql}, column.name, description=f"matches {pattern}")


def _not_null(rule: str, column: str, description: str) -> Check:
    return Check(rule, _NOT_NULL, {"column": column}, column, description=description)


def _provenance_unique(table: str) -> Check:
    """Record numbers are 1, 2, 3 …: marked in words of 64 bits they take memory for each word, not for each record."""
    batch, number = (quoted(name) for name in ROW_IDS)
    sql = (
        f"select {batch}, {number} from {table} "  # noqa: S608
        f"semi join (select {batch}, {number} // 64 as word from {table} group by all "
        f"having count(*) > bit_count(bit_or(1::ubigint << (abs({number}) % 64)::ubigint))) as doubtful "
        f"on {table}.{batch} = doubtful.{batch} and {number} // 64 = doubtful.word "
        f"qualify count(*) over (partition by {batch}, {number}) > 1"
    )
    description = "a record is in the table once"
    return Check(
        "provenance_unique", UNEXPECTED_ROWS, {"sql": sql}, ", ".join(ROW_IDS), description=description
    )


def _unique(rule: str, columns: tuple[str, ...], description: str) -> Check:
    named = ", ".join(columns)
    if len(columns) == 1:
        single = {"column": named}
        return Check(rule, "expect_column_values_to_be_unique", single, named, description=description)
    several = {"column_list": list(columns)}
    return Check(rule, "expect_compound_columns_to_be_unique", several, named, description=description)


def _told_apart(checks: list[Check]) -> Iterator[Check]:
    """The checks, with a number behind the rule of each that a column has more than once (two patterns)."""
    seen: Counter[tuple[str, str | None]] = Counter()
    for check in checks:
        seen[check.rule, check.column] += 1
        number = seen[check.rule, check.column]
        yield check if number == 1 else replace(check, rule=f"{check.rule}_{number}")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
