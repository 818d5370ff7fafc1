"""pyiceberg's row filters by column name; its classes take names, but their types don't say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyiceberg import expressions

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression


def equals(column: str, value: str) -> BooleanExpression:
    """Rows whose column has the value."""
    return _build(expressions.EqualTo, column, value)


def starts_with(column: str, prefix: str) -> BooleanExpression:
    """Rows whose text begins so."""
    return _build(expressions.StartsWith, column, prefix)


def everything() -> BooleanExpression:
    """All rows."""
    return _build(expressions.AlwaysTrue)


def _build(kind: Any, *arguments: str) -> BooleanExpression:  # noqa: ANN401
    built: BooleanExpression = kind(*arguments)
    return built
