"""pydantic: a `TypedDict` with constraints made from the plan, `validate_json` for each line.

What it does otherwise than the kernel: it takes a text of seconds since 1970 as a timestamp, and of a column it
reports the first rule only, so a plan with rules that a value can break together is left out. Of an array it tells the
number of items or what is wrong with them, so records that it refuses are validated again without limits on numbers of
items, which are counted then.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

from dpipe.bench.baselines import row_by_row
from dpipe.bench.work import parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pydantic import TypeAdapter, ValidationError

    from dpipe.bench.baselines.row_by_row import Checked
    from dpipe.bench.flights import Format
    from dpipe.bench.work import Breach, Job, Outcome
    from dpipe.contract import Column, Plan, Rule

TITLE = "pydantic"
PACKAGES = ("pydantic", "pyarrow")
KEEPS_BYTES: frozenset[Format] = frozenset({"ndjson", "csv"})
PARALLEL = False
DISTINCT_OFF = 0.1

INT32, INT64 = 1 << 31, 1 << 63
# Pydantic's kinds of errors by the rule of ours that they stand for; any other is a wrong type.
RULES = {
    "greater_than_equal": "minimum",
    "less_than_equal": "maximum",
    "greater_than": "exclusiveMinimum",
    "less_than": "exclusiveMaximum",
    "string_too_short": "minLength",
    "string_too_long": "maxLength",
    "string_pattern_mismatch": "pattern",
    "literal_error": "enum",
    "too_short": "minItems",
    "too_long": "maxItems",
}
LIMITS = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
    "pattern": "pattern",
}


def unable(plan: Plan, form: Format) -> str | None:
    """See the module."""
    del form
    for path, column in parts(plan.columns):
        if _can_break_together(column.rules):
            rules = " and ".join(f"`{rule.rule}`" for rule in column.rules)
            return f"it reports the first broken rule of a column only, `{path}` has {rules}"
    return None


def _can_break_together(rules: tuple[Rule, ...]) -> bool:
    """Whether there are more rules than one bound below and one above."""
    return (
        len(rules) > 1
        and not (
            len(rules) == 2  # noqa: PLR2004 - a pair
            and {rule.rule.removeprefix("exclusive").lower()[:3] for rule in rules} == {"min", "max"}
        )
    )


def partly(form: Format) -> str | None:
    """It does all of it."""
    del form
    return None


def prepare() -> None:
    """Import what the run needs."""
    import pydantic  # noqa: F401

    row_by_row.prepare()


def run(job: Job) -> Outcome:
    """Validate record by record."""
    adapter = _adapter(job.plan.columns)
    names = [column.name for column in job.plan.columns]
    if job.form == "ndjson":
        validate = adapter.validator.validate_json
        check = _checker(job.plan, names, validate)
        if any(column.kind == "list" for _, column in parts(job.plan.columns)):
            check = _checker(job.plan, names, validate, _item_checker(job.plan))
        return row_by_row.process(job, row_by_row.lines(job), check)
    if job.form == "parquet":
        python = adapter.validator.validate_python
        return row_by_row.process(job, row_by_row.rows(job), _checker(job.plan, names, python))
    records = row_by_row.csv_records(job)
    header = next(records)[1] if job.plan.csv.header else names
    check = _checker(job.plan, names, adapter.validator.validate_strings)
    nulls = set(job.plan.csv.null_tokens)
    width = len(header)

    def check_fields(fields: list[str]) -> Checked:
        if len(fields) != width:
            return [], [(None, "field_count")]
        pairs = zip(header, fields, strict=True)
        return check({name: text for name, text in pairs if text not in nulls})

    return row_by_row.process(job, records, check_fields)


def _adapter(columns: Sequence[Column]) -> TypeAdapter[dict[str, Any]]:
    """The columns as a type; strict, so that nothing is coerced."""
    from pydantic import TypeAdapter

    return TypeAdapter(_record(columns))


def _record(columns: Sequence[Column]) -> Any:  # noqa: ANN401 - a type
    from pydantic import ConfigDict, with_config
    from typing_extensions import TypedDict

    fields = {column.name: _annotation(column) for column in columns}
    make: Any = TypedDict  # its fields are known at run time only
    record = make("record", fields, total=False)
    return with_config(ConfigDict(strict=True, extra="ignore"))(record)


def _annotation(column: Column) -> Any:  # noqa: ANN401 - a type
    from typing import Required

    constrained = _value(column)
    return Required[constrained] if column.required else Optional[constrained]  # noqa: UP045 - made at run time


def _value(column: Column) -> Any:  # noqa: ANN401 - a type
    """What a value is that is there."""
    from pydantic import AwareDatetime, Field, NaiveDatetime

    if column.kind == "struct":
        return _record(column.fields)
    if column.kind == "list":
        item = _value(column.fields[0])
        items: Any = list[item if column.fields[0].required else Optional[item]]  # type: ignore[misc]  # noqa: UP045
        limits: dict[str, Any] = {LIMITS[rule.rule]: rule.value for rule in column.rules}
        return Annotated[items, Field(**limits)] if limits else items

    bounds: dict[str, Any] = {}
    kind: Any = {
        "int32": int,
        "int64": int,
        "float64": float,
        "boolean": bool,
        "string": str,
        "date": date,
        "timestamp": AwareDatetime,
        "timestamp_ntz": NaiveDatetime,
    }[column.kind]
    for rule in column.rules:
        if isinstance(rule.value, tuple):
            kind = Literal[tuple(int(text) if kind is int else text for text in rule.value)]
        elif isinstance(rule.value, float) and kind is int:
            bounds[LIMITS[rule.rule]] = int(rule.value)
        else:
            bounds[LIMITS[rule.rule]] = rule.value
    if column.kind in {"int32", "int64"} and isinstance(kind, type):
        limit = INT32 if column.kind == "int32" else INT64
        bounds.setdefault("ge", -limit) if "gt" not in bounds else None
        bounds.setdefault("le", limit - 1) if "lt" not in bounds else None
    if column.kind == "float64":
        bounds["allow_inf_nan"] = False
    return Annotated[kind, Field(**bounds)] if bounds else kind


def _checker(
    plan: Plan,
    names: list[str],
    validate: Callable[[Any], dict[str, Any]],
    look_again: Callable[[Any], list[Breach]] | None = None,
) -> Callable[[Any], Checked]:
    """What checks a record; `look_again` tells what a record breaks that `validate` refuses."""
    from pydantic import ValidationError

    rules = _rules(plan)

    def check(record: Any) -> Checked:  # noqa: ANN401 - a line, a row or texts
        try:
            values = validate(record)
        except ValidationError as error:
            return [], _breaches(error, rules) if look_again is None else look_again(record)
        get = values.get
        return [get(name) for name in names], []

    return check


def _rules(plan: Plan) -> dict[str, set[Any]]:
    return {path: {rule.rule for rule in column.rules} for path, column in parts(plan.columns)}


def _item_checker(plan: Plan) -> Callable[[bytes], list[Breach]]:
    """What tells all that is wrong with a line of JSON: without limits on numbers of items, then those limits."""
    from pydantic import ValidationError

    validate = _adapter([_without_limits(column) for column in plan.columns]).validator.validate_json
    rules = _rules(plan)

    def look_again(line: bytes) -> list[Breach]:
        found: list[Breach] = []
        try:
            validate(line)
        except ValidationError as error:
            found = _breaches(error, rules)
            if any(rule == "malformed" for _, rule in found):
                return found
        record = json.loads(line)
        return found + [
            breach
            for column in plan.columns
            for breach in _counted(column, column.name, record.get(column.name))
        ]

    return look_again


def _without_limits(column: Column) -> Column:
    rules = () if column.kind == "list" else column.rules
    return replace(column, rules=rules, fields=tuple(_without_limits(part) for part in column.fields))


def _counted(column: Column, path: str, value: Any) -> Iterator[Breach]:  # noqa: ANN401 - whatever JSON holds
    """The limits on numbers of items that a value breaks."""
    if column.kind == "struct" and type(value) is dict:
        for part in column.fields:
            yield from _counted(part, f"{path}.{part.name}", value.get(part.name))
    if column.kind == "list" and type(value) is list:
        for rule in column.rules:
            limit: Any = rule.value
            if len(value) < limit if rule.rule == "minItems" else len(value) > limit:
                yield path, rule.rule
        for item in value:
            yield from _counted(column.fields[0], f"{path}[]", item)


def _breaches(error: ValidationError, rules: dict[str, set[Any]]) -> list[Breach]:
    found: list[Breach] = []
    for one in error.errors(include_url=False, include_context=False):
        column = _path(one["loc"])
        rule = RULES.get(one["type"], "type")
        if column is None:
            rule = "malformed"
        elif one["type"] == "missing" or one["input"] is None:
            rule = "required"
        elif rule not in rules[column]:
            rule = "type"
        found.append((column, rule))
    return found


def _path(places: tuple[int | str, ...]) -> str | None:
    """Where an error is, as violations name it; None for the record as a whole."""
    if not places:
        return None
    return "".join("[]" if isinstance(place, int) else f".{place}" for place in places).removeprefix(".")
