"""Pure Python: `json` or `csv`, the plan's rules as closures, pyarrow only to read and write Parquet.

What it does otherwise than the kernel: of a field that is there twice in a JSON record the last value counts, `csv`
takes quotes that are out of place, and can't tell a quoted null token from a bare one.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from dpipe.bench.baselines import row_by_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dpipe.bench.baselines.row_by_row import Checked
    from dpipe.bench.flights import Format
    from dpipe.bench.work import Breach, Job, Outcome
    from dpipe.contract import Column, Plan, Rule
    from dpipe.contract.plan import Kind

TITLE = "pure Python"
PACKAGES = ("pyarrow",)
KEEPS_BYTES: frozenset[Format] = frozenset({"ndjson", "csv"})
PARALLEL = False
DISTINCT_OFF = 0.1

INT32, INT64 = 1 << 31, 1 << 63
MALFORMED: Checked = ([], [(None, "malformed")])
FIELD_COUNT: Checked = ([], [(None, "field_count")])


def unable(plan: Plan, form: Format) -> str | None:
    """It does whatever baselines do."""
    del plan, form
    return None


def partly(form: Format) -> str | None:
    """It does all of it."""
    del form
    return None


def prepare() -> None:
    """Import what the run needs."""
    row_by_row.prepare()


def run(job: Job) -> Outcome:
    """Check record by record."""
    plan = job.plan
    if job.form == "csv":
        records = row_by_row.csv_records(job)
        names = next(records)[1] if plan.csv.header else [column.name for column in plan.columns]
        return row_by_row.process(job, records, _fields_checker(plan, names))
    check = _record_checker(plan)
    if job.form == "parquet":
        return row_by_row.process(job, row_by_row.rows(job), check)

    def check_line(line: bytes) -> Checked:
        try:
            record = json.loads(line)
        except ValueError:
            return MALFORMED
        return check(record) if type(record) is dict else MALFORMED

    return row_by_row.process(job, row_by_row.lines(job), check_line)


def _record_checker(plan: Plan) -> Callable[[dict[str, Any]], Checked]:
    """A function that checks a record by the plan, with one call for each value of a record that is fine."""
    columns = [
        (column.name, _reader(column, _from_value(column.kind), nulls=None)) for column in plan.columns
    ]

    def check(record: dict[str, Any]) -> Checked:
        get = record.get
        try:
            return [read(get(name)) for name, read in columns], []
        except (TypeError, ValueError):
            return [], _breaches(plan.columns, record, _from_value)

    return check


def _fields_checker(plan: Plan, names: list[str]) -> Callable[[list[str]], Checked]:
    """The same for fields of CSV, of which `names` is the header."""
    nulls = frozenset(plan.csv.null_tokens)
    width = len(names)
    columns = [
        (
            names.index(column.name) if column.name in names else width,
            _reader(column, _from_text(column.kind), nulls=nulls),
        )
        for column in plan.columns
    ]

    def check(fields: list[str]) -> Checked:
        if len(fields) != width:
            return FIELD_COUNT
        # What the file has no column for is null.
        padded = [*fields, None]
        try:
            return [read(padded[position]) for position, read in columns], []
        except (TypeError, ValueError):
            pairs = zip(names, fields, strict=True)
            record = {name: None if text in nulls else text for name, text in pairs}
            return [], _breaches(plan.columns, record, _from_text)

    return check


def _reader(
    column: Column, convert: Callable[[Any], Any], *, nulls: frozenset[str] | None
) -> Callable[[Any], Any]:
    """What gives a column's value, or raises TypeError or ValueError when it breaks anything.

    `nulls` are the null tokens where values are texts.
    """
    if column.fields:
        return _nested_reader(column)
    is_within = all(rule.rule in {"minimum", "maximum"} for rule in column.rules)
    if column.kind in {"int32", "int64"} and is_within:
        return _integer_reader(column, nulls)
    if nulls is None and column.kind == "float64" and is_within:
        return _float_reader(column)
    if nulls is None and column.kind == "string" and len(column.rules) == 1:
        return _text_reader(column)
    broken = [_breaks(column, rule) for rule in column.rules]
    required, tokens = column.required, nulls or frozenset()

    def read(value: Any) -> Any:  # noqa: ANN401 - whatever the format has
        if value is None or value in tokens:
            if required:
                raise ValueError
            return None
        value = convert(value)
        for breaks in broken:
            if breaks(value):
                raise ValueError
        return value

    return read


def _integer_reader(column: Column, nulls: frozenset[str] | None) -> Callable[[Any], int | None]:
    """The same for integers within limits, as most columns are, without further calls."""
    limit = INT32 if column.kind == "int32" else INT64
    low: Any = max([-limit, *(rule.value for rule in column.rules if rule.rule == "minimum")])
    high: Any = min([limit - 1, *(rule.value for rule in column.rules if rule.rule == "maximum")])
    required = column.required

    def read(value: Any) -> int | None:  # noqa: ANN401
        if type(value) is int and low <= value <= high:
            return value
        if value is None and not required:
            return None
        raise ValueError

    def read_text(value: Any) -> int | None:  # noqa: ANN401
        if value is None or value in tokens:
            if required:
                raise ValueError
            return None
        number = int(value)
        if low <= number <= high:
            return number
        raise ValueError

    tokens = nulls or frozenset()
    return read if nulls is None else read_text


def _float_reader(column: Column) -> Callable[[Any], float | None]:
    """The same for numbers of JSON within limits."""
    low: Any = max([-sys.float_info.max, *(rule.value for rule in column.rules if rule.rule == "minimum")])
    high: Any = min([sys.float_info.max, *(rule.value for rule in column.rules if rule.rule == "maximum")])
    required = column.required

    def read(value: Any) -> float | None:  # noqa: ANN401
        if type(value) is float and low <= value <= high:
            return value
        if value is None and not required:
            return None
        if type(value) is int and low <= value <= high:
            return float(value)
        raise ValueError

    return read


def _text_reader(column: Column) -> Callable[[Any], str | None]:
    """The same for texts of JSON with one rule."""
    breaks, required = _breaks(column, column.rules[0]), column.required

    def read(value: Any) -> str | None:  # noqa: ANN401
        if type(value) is str and not breaks(value):
            return value
        if value is None and not required:
            return None
        raise ValueError

    return read


def _nested_reader(column: Column) -> Callable[[Any], Any]:
    """The same for objects and arrays of JSON, with one call for each value in them."""
    broken = [_breaks(column, rule) for rule in column.rules]
    readers = [(part.name, _reader(part, _from_value(part.kind), nulls=None)) for part in column.fields]
    read_item, required = readers[0][1], column.required

    def read_object(value: Any) -> dict[str, Any] | None:  # noqa: ANN401
        if type(value) is dict:
            get = value.get
            return {name: read(get(name)) for name, read in readers}
        if value is None and not required:
            return None
        raise ValueError

    def read_array(value: Any) -> list[Any] | None:  # noqa: ANN401
        if type(value) is list:
            for breaks in broken:
                if breaks(value):
                    raise ValueError
            return [read_item(item) for item in value]
        if value is None and not required:
            return None
        raise ValueError

    return read_object if column.kind == "struct" else read_array


def _breaches(
    columns: Sequence[Column],
    record: dict[str, Any],
    conversion: Callable[[Kind], Callable[[Any], Any]],
    within: str = "",
) -> list[Breach]:
    """Everything that is wrong with a record, or with an object at the path `within`."""
    return [
        breach
        for column in columns
        for breach in _of_value(column, within + column.name, record.get(column.name), conversion)
    ]


def _of_value(
    column: Column,
    path: str,
    value: Any,  # noqa: ANN401 - whatever the format has
    conversion: Callable[[Kind], Callable[[Any], Any]],
) -> list[Breach]:
    if value is None:
        return [(path, "required")] if column.required else []
    try:
        value = conversion(column.kind)(value)
    except (TypeError, ValueError):
        return [(path, "type")]
    found: list[Breach] = [(path, rule.rule) for rule in column.rules if _breaks(column, rule)(value)]
    if column.kind == "struct":
        found += _breaches(column.fields, value, conversion, f"{path}.")
    if column.kind == "list":
        found += [
            breach for item in value for breach in _of_value(column.fields[0], f"{path}[]", item, conversion)
        ]
    return found


def _from_value(kind: Kind) -> Callable[[Any], Any]:
    """What gives the column's value for one of JSON or Parquet; it raises ValueError or TypeError."""

    def integer(limit: int) -> Callable[[Any], int]:
        def convert(value: Any) -> int:  # noqa: ANN401 - whatever JSON holds
            if type(value) is not int or not -limit <= value < limit:
                raise TypeError
            return value

        return convert

    def number(value: Any) -> float:  # noqa: ANN401
        if type(value) not in {int, float} or value - value != 0:
            raise TypeError
        return float(value)

    def exactly(wanted: type) -> Callable[[Any], Any]:
        def convert(value: Any) -> Any:  # noqa: ANN401
            if type(value) is not wanted:
                raise TypeError
            return value

        return convert

    return {
        "int32": integer(INT32),
        "int64": integer(INT64),
        "float64": number,
        "boolean": exactly(bool),
        "string": exactly(str),
        "date": _day,
        "timestamp": _instant,
        "timestamp_ntz": _wall_clock,
        "struct": exactly(dict),
        "list": exactly(list),
    }[kind]


def _from_text(kind: Kind) -> Callable[[Any], Any]:
    """What gives the column's value for a field of CSV; it raises ValueError or TypeError."""

    def integer(limit: int) -> Callable[[str], int]:
        def convert(text: str) -> int:
            value = int(text)
            if not -limit <= value < limit:
                raise ValueError
            return value

        return convert

    def number(text: str) -> float:
        value = float(text)
        if value - value != 0:
            raise ValueError
        return value

    def boolean(text: str) -> bool:
        if text not in {"true", "false"}:
            raise ValueError
        return text == "true"

    return {
        "int32": integer(INT32),
        "int64": integer(INT64),
        "float64": number,
        "boolean": boolean,
        "string": lambda text: text,
        "date": _day,
        "timestamp": _instant,
        "timestamp_ntz": _wall_clock,
    }[kind]


def _day(value: Any) -> date:  # noqa: ANN401 - a text, or what Parquet has
    return value if type(value) is date else date.fromisoformat(value)


def _instant(value: Any) -> datetime:  # noqa: ANN401
    moment = value if type(value) is datetime else datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError
    return moment


def _wall_clock(value: Any) -> datetime:  # noqa: ANN401
    moment = value if type(value) is datetime else datetime.fromisoformat(value)
    if moment.tzinfo is not None:
        raise ValueError
    return moment


def _breaks(column: Column, rule: Rule) -> Callable[[Any], bool]:  # noqa: PLR0911 - one a rule
    """Whether a value breaks the rule."""
    limit: Any = rule.value
    match rule.rule:
        case "minimum":
            return lambda value: value < limit
        case "maximum":
            return lambda value: value > limit
        case "exclusiveMinimum":
            return lambda value: value <= limit
        case "exclusiveMaximum":
            return lambda value: value >= limit
        case "minLength" | "minItems":
            return lambda value: len(value) < limit
        case "maxLength" | "maxItems":
            return lambda value: len(value) > limit
        case "pattern":
            search = re.compile(limit).search
            return lambda value: search(value) is None
        case "enum":
            allowed = set(limit) if column.kind == "string" else {int(text) for text in limit}
            return lambda value: value not in allowed
        case other:
            raise ValueError(f"no baseline has the rule `{other}`")
