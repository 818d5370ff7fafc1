"""pyiceberg's row filters by column name; its classes take names, but their types don't say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyiceberg import expressions

from dpipe.iceberg.schema import BATCH_ID, RECORD_NO

if TYPE_CHECKING:
    from collections.abc import Collection

    from pyiceberg.expressions import BooleanExpression


def equals(column: str, value: str) -> BooleanExpression:
    """Rows whose column has the value."""
    return _build(expressions.EqualTo, column, value)


def one_of(column: str, values: Collection[str]) -> BooleanExpression:
    """Rows whose column has one of the values."""
    return _build(expressions.In, column, tuple(values))


def all_of(one: BooleanExpression, other: BooleanExpression) -> BooleanExpression:
    """Rows that pass both."""
    return _build(expressions.And, one, other)


def is_record(batch_id: str, record_no: int) -> BooleanExpression:
    """The rows that stand for one record of a batch."""
    return all_of(equals(BATCH_ID, batch_id), _build(expressions.EqualTo, RECORD_NO, record_no))


def greater(column: str, value: int) -> BooleanExpression:
    """Rows whose column is greater."""
    return _build(expressions.GreaterThan, column, value)


def starts_with(column: str, prefix: str) -> BooleanExpression:
    """Rows whose text begins so."""
    return _build(expressions.StartsWith, column, prefix)


def everything() -> BooleanExpression:
    """All rows."""
    return _build(expressions.AlwaysTrue)


def _build(kind: Any, *arguments: object) -> BooleanExpression:  # noqa: ANN401
    built: BooleanExpression = kind(*arguments)
    return built
