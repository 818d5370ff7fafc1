"""Rules over two columns of one record: `quality` of the type `custom` whose engine is `dpipe`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from dpipe.contract.findings import did_you_mean
from dpipe.contract.plan import MAX_PRECISION, Comparison
from dpipe.contract.quality import OPERATORS, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from open_data_contract_standard.model import DataQuality

    from dpipe.contract.columns import Compiled
    from dpipe.contract.findings import Report
    from dpipe.contract.plan import Column, Operator
    from dpipe.contract.source import DocumentPath

ENGINE = "dpipe"
_RULE = re.compile(r"\s*([A-Za-z_]\w*)\s*(=|!=|<=|>=|<|>)\s*([A-Za-z_]\w*)\s*", re.ASCII)
_FORM = "`column OP column`, with one of = != < <= > >="
_UNREAD = ("rule", "metric", "query", "arguments", "unit", *OPERATORS)
_OTHER_TYPES = {
    frozenset(
        {"decimal", "float64"}
    ): "make both decimals or both floating-point: few decimals are exactly one",
    frozenset({"timestamp", "timestamp_ntz"}): "give both a zone, or neither (`timezone`, `defaultTimezone`)",
}
_INTEGER_DIGITS = {"int32": 10, "int64": 19}
_TURNED: dict[Operator, Operator] = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
# Beyond all integers of 64 bits, on either side.
_BEYOND = "1e19"


def compile_comparison(
    report: Report, columns: dict[str, Compiled], rule: DataQuality, at: DocumentPath, on: Compiled | None
) -> Comparison | None:
    """One rule of the schema object; None, with findings, when it can't be carried out, as it can't on a column."""
    if on is not None:
        report.error(
            at, "a rule over two columns on one of them", "move it to `quality` of the schema object"
        )
        return None
    for key in _UNREAD:
        if getattr(rule, key) is not None:
            said = f"nothing reads `{key}` of a rule over two columns"
            report.error((*at, key), said, "say it in `implementation`, or leave it out", key=True)
    if rule.severity not in {None, "error"}:
        said = f"severity `{rule.severity}` of a rule whose breach rejects the record"
        report.error((*at, "severity"), said, "leave it out")
    compiled = _parsed(report, rule, at)
    if compiled is None or not _is_comparable(report, columns, compiled, (*at, "implementation")):
        return None
    return compiled


def condition(rule: Comparison, columns: Mapping[str, Column], quote: Callable[[str], str] = quoted) -> str:
    """The rule as an SQL condition on a row of the columns, false only where the rule is broken.

    `quote` makes SQL of a column's name. To compare a 64-bit integer with a floating-point number, SQL engines make one
    of it, which isn't exact: instead the number's floor and ceiling are compared with it as decimals.
    """
    left, right = quote(rule.left), quote(rule.right)
    kinds = columns[rule.left].kind, columns[rule.right].kind
    if set(kinds) != {"int64", "float64"}:
        return f"{left} {'<>' if rule.operator == '!=' else rule.operator} {right}"
    integer, number, operator = left, right, rule.operator
    if kinds[0] == "float64":
        integer, number, operator = right, left, _TURNED[rule.operator]
    within = f"greatest(least({number}, {_BEYOND}), -{_BEYOND})"
    floor, ceiling = (f"cast({name}({within}) as decimal({MAX_PRECISION}, 0))" for name in ("floor", "ceil"))
    compared = {
        "<": f"{integer} < {ceiling}",
        "<=": f"{integer} <= {floor}",
        ">": f"{integer} > {floor}",
        ">=": f"{integer} >= {ceiling}",
        "=": f"({integer} = {floor} and {integer} = {ceiling})",
        "!=": f"({integer} <> {floor} or {integer} <> {ceiling})",
    }[operator]
    # Of a null and a number DuckDB's `least` is the number.
    return f"{number} is null or {compared}"


def _parsed(report: Report, rule: DataQuality, at: DocumentPath) -> Comparison | None:
    text = rule.implementation
    if text is None:
        report.error(at, "a rule without an `implementation`", f"add `implementation:` with {_FORM}")
        return None
    found = _RULE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        report.error((*at, "implementation"), "`implementation` compares no two columns", f"write {_FORM}")
        return None
    left, operator, right = found.groups()
    description = " ".join((rule.description or "").split())
    return Comparison(left, cast("Operator", operator), right, rule.name or rule.id or "", description)


def _is_comparable(report: Report, columns: dict[str, Compiled], rule: Comparison, at: DocumentPath) -> bool:
    unknown = [name for name in (rule.left, rule.right) if name not in columns]
    for name in unknown:
        report.error(at, f"no column `{name}`", did_you_mean(name, columns))
    if unknown:
        return False
    if rule.left == rule.right:
        report.error(at, f"`{rule.left}` is compared with itself", "name another column")
        return False
    why_not = _why_not(columns[rule.left].column, columns[rule.right].column, rule.operator)
    if why_not is not None:
        report.error(at, *why_not)
    return why_not is None


def _why_not(left: Column, right: Column, operator: Operator) -> tuple[str, str] | None:
    """What is wrong with the types, and what to do about it; None when their values can be compared."""
    nested = [column.name for column in (left, right) if column.fields]
    if nested:
        return f"`{nested[0]}` is nested", "compare columns of a single value"
    kinds = {left.kind, right.kind}
    if kinds == {"boolean"} and operator not in {"=", "!="}:
        return f"booleans have no order for `{operator}`", "compare them by `=` or `!=`"
    if kinds <= {"int32", "int64", "decimal"}:
        digits = max(_whole_digits(left), _whole_digits(right)) + max(left.scale, right.scale)
        said = f"`{left.type_name}` and `{right.type_name}` take {digits} digits to be compared"
        hint = f"declare fewer: {MAX_PRECISION} at most, with the most before and the most after the point"
        return (said, hint) if digits > MAX_PRECISION else None
    if len(kinds) == 1 or kinds <= {"int32", "int64", "float64"}:
        return None
    said = f"`{left.name}` of type {left.type_name} is not comparable with `{right.name}` of type {right.type_name}"
    return said, _OTHER_TYPES.get(frozenset(kinds), "compare columns of one type")


def _whole_digits(column: Column) -> int:
    """Digits before the point that a column's values may have."""
    return _INTEGER_DIGITS.get(column.kind, column.precision - column.scale)
