"""pyiceberg's row filters by column name; its classes take names, but their types don't say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyiceberg import expressions

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression


def equals(column: str, value: Any) -> BooleanExpression:  # noqa: ANN401 - a value of any column type
    """Rows whose column has the value; null is `is_null`."""
    return _build(expressions.EqualTo, column, value)


def at_least(column: str, value: Any) -> BooleanExpression:  # noqa: ANN401
    """Rows whose column is at or after the value."""
    return _build(expressions.GreaterThanOrEqual, column, value)


def below(column: str, value: Any) -> BooleanExpression:  # noqa: ANN401
    """Rows whose column is before the value."""
    return _build(expressions.LessThan, column, value)


def starts_with(column: str, prefix: str) -> BooleanExpression:
    """Rows whose text begins so."""
    return _build(expressions.StartsWith, column, prefix)


def is_null(column: str) -> BooleanExpression:
    """Rows without a value in the column."""
    return _build(expressions.IsNull, column)


def all_of(*conditions: BooleanExpression) -> BooleanExpression:
    """Rows that meet every condition; all rows when there is none."""
    whole: BooleanExpression = expressions.AlwaysTrue()
    for condition in conditions:
        whole = expressions.And(whole, condition)
    return whole


def _build(kind: Any, *arguments: Any) -> BooleanExpression:  # noqa: ANN401
    built: BooleanExpression = kind(*arguments)
    return built
