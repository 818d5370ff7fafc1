"""Values that stand for a column in a JSON Schema's `examples`, each judged by the kernel itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dpipe.contract.plan import LIMITS, Plan
from dpipe.contract.types import DATED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dpipe.contract.plan import Column, RuleName

# A longer text or list is no help to a reader.
MOST = 100
_MOMENT = datetime(2024, 1, 31, 8, 30, tzinfo=UTC)
_ISO = {
    "date": ["2024-01-31"],
    "time": ["08:30:00"],
    "timestamp": ["2024-01-31T08:30:00Z", "2024-01-31T08:30:00"],
    "timestamp_ntz": ["2024-01-31T08:30:00"],
}
_TEXTS = {
    "byte": "ZHBpcGU=",
    "date": "2024-01-31",
    "date-time": "2024-01-31T08:30:00Z",
    "email": "name@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "08:30:00",
    "uri": "https://example.org/",
    "uuid": "01890a5d-ac96-774b-bcce-b302099a8057",
}


def accepted(column: Column, values: Iterable[Any]) -> list[Any]:
    """Those of the values that the kernel takes for the column's in JSON, nulls left out."""
    return [value for value in values if value is not None and _is_accepted(column, value)]


def made(column: Column) -> list[Any]:
    """A list of one value that the kernel accepts, or an empty one when none is easily made."""
    return next(([value] for value in _candidates(column) if accepted(column, [value])), [])


def _is_accepted(column: Column, value: object) -> bool:
    from dpipe import _kernel

    record = json.dumps({column.name: value}).encode() + b"\n"
    plan = Plan("examples", "0" * 64, (column,)).to_json()
    answer, _, _ = _kernel.process_in_memory(
        plan, record, batch_id="examples", format="ndjson", threads=1, profile=False, keep=False
    )
    return bool(answer["batches"][0]["accepted"] == 1)


def _candidates(column: Column) -> Iterator[Any]:
    listed = [text for rule in column.rules if isinstance(rule.value, tuple) for text in rule.value]
    limits = [rule.value for rule in column.rules if rule.rule in LIMITS]
    if column.kind == "boolean":
        yield True
    elif column.kind == "string":
        formats = [_TEXTS[str(rule.value)] for rule in column.rules if rule.rule == "format"]
        yield from [*listed, *formats]
        yield from (letter * count for count in _counts(column, "minLength") for letter in "aA0")
    elif column.kind in DATED:
        yield from map(_spelled, column.formats)
        yield from [*_ISO[column.kind], *limits]
    elif column.kind == "struct":
        yield from _objects(column)
    elif column.kind == "list":
        yield from (made(column.fields[0]) * count for count in _counts(column, "minItems"))
    else:
        yield from _numbers(column, [*listed, *limits])


def _numbers(column: Column, named: list[Any]) -> Iterator[int | float]:
    """1, 0, and what the rules name, with its neighbours."""
    form = float if column.kind == "float64" or column.scale else int
    yield from (form(1), form(0))
    for value in named:
        yield from (form(value), form(value) + 1, form(value) - 1)
    for rule in column.rules:
        if rule.rule == "multipleOf":
            yield form(float(str(rule.value)))


def _counts(column: Column, name: RuleName) -> list[int]:
    """How long a text or list may be at least, as far as it makes an example, and none."""
    least = max((int(str(rule.value)) for rule in column.rules if rule.rule == name), default=1)
    return [min(max(least, 1), MOST), 0]


def _objects(column: Column) -> Iterator[dict[str, Any]]:
    parts = {part.name: made(part) for part in column.fields}
    yield {name: values[0] for name, values in parts.items() if values}


def _spelled(form: str) -> str:
    """A moment in a spelling of the contract; `%.f` may be empty, and `%#z` reads what `%z` does."""
    return _MOMENT.strftime(form.replace("%.f", "").replace("%#z", "%z"))
