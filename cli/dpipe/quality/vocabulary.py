"""The expectations that a suite in `checks/` may use: those that are proven to work on DuckDB."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dpipe.quality.model import UNEXPECTED_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class ArgumentKind:
    """What an argument's value must be."""

    words: str
    fits: Callable[[Any], bool]


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, list) and bool(value)


NAME = ArgumentKind("a column's name", _is_name)
NAMES = ArgumentKind("a list of columns' names", lambda value: _is_list(value) and all(map(_is_name, value)))
NUMBER = ArgumentKind("a number", _is_number)
FLAG = ArgumentKind("`true` or `false`", lambda value: isinstance(value, bool))
SHARE = ArgumentKind("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
VALUES = ArgumentKind(
    "a list of texts or numbers",
    lambda value: _is_list(value) and all(isinstance(item, str) or _is_number(item) for item in value),
)
SQL = ArgumentKind("a SQL query", _is_name)


@dataclass(frozen=True)
class Expectation:
    """Its arguments; of `some_of`, one at least must be there."""

    required: Mapping[str, ArgumentKind]
    optional: Mapping[str, ArgumentKind] = field(default_factory=dict)
    some_of: tuple[str, ...] = ()

    @property
    def arguments(self) -> dict[str, ArgumentKind]:
        """All that may be given."""
        return {**self.required, **self.optional}


_COLUMN = {"column": NAME}
_MOSTLY = {"mostly": SHARE}
_RANGE = {"min_value": NUMBER, "max_value": NUMBER, "strict_min": FLAG, "strict_max": FLAG}
_LIMITS = ("min_value", "max_value")
_IN_RANGE = Expectation(_COLUMN, _RANGE, some_of=_LIMITS)
_COUNTED = Expectation(_COLUMN, {"min_value": NUMBER, "max_value": NUMBER}, some_of=_LIMITS)

EXPECTATIONS: dict[str, Expectation] = {
    "expect_column_to_exist": Expectation(_COLUMN),
    "expect_column_values_to_not_be_null": Expectation(_COLUMN, _MOSTLY),
    "expect_column_values_to_be_null": Expectation(_COLUMN, _MOSTLY),
    "expect_column_values_to_be_unique": Expectation(_COLUMN, _MOSTLY),
    "expect_column_values_to_be_between": Expectation(_COLUMN, {**_RANGE, **_MOSTLY}, some_of=_LIMITS),
    "expect_column_values_to_be_in_set": Expectation({**_COLUMN, "value_set": VALUES}, _MOSTLY),
    "expect_column_values_to_not_be_in_set": Expectation({**_COLUMN, "value_set": VALUES}, _MOSTLY),
    "expect_column_value_lengths_to_be_between": Expectation(_COLUMN, {**_RANGE, **_MOSTLY}, some_of=_LIMITS),
    "expect_column_pair_values_a_to_be_greater_than_b": Expectation(
        {"column_A": NAME, "column_B": NAME}, {"or_equal": FLAG, **_MOSTLY}
    ),
    "expect_column_pair_values_to_be_equal": Expectation({"column_A": NAME, "column_B": NAME}, _MOSTLY),
    "expect_compound_columns_to_be_unique": Expectation({"column_list": NAMES}, _MOSTLY),
    "expect_column_min_to_be_between": _IN_RANGE,
    "expect_column_max_to_be_between": _IN_RANGE,
    "expect_column_mean_to_be_between": _IN_RANGE,
    "expect_column_sum_to_be_between": _IN_RANGE,
    "expect_column_unique_value_count_to_be_between": _COUNTED,
    "expect_column_proportion_of_non_null_values_to_be_between": _IN_RANGE,
    "expect_table_row_count_to_be_between": Expectation(
        {}, {"min_value": NUMBER, "max_value": NUMBER}, some_of=_LIMITS
    ),
    "expect_table_columns_to_match_set": Expectation({"column_set": NAMES}, {"exact_match": FLAG}),
    UNEXPECTED_ROWS: Expectation({"sql": SQL}),
}
