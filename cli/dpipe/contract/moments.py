"""Limits of dates and times: ISO 8601 text, in the form that the column's values have by default."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

from dpipe.contract.plan import LIMITS, Rule

if TYPE_CHECKING:
    from dpipe.contract.findings import Report
    from dpipe.contract.plan import Kind, RuleName
    from dpipe.contract.source import DocumentPath
    from dpipe.contract.types import Type

Moment = date | datetime | time

_TIME = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
# Python reads more spellings of ISO 8601 than the kernel does.
_SPELLED: dict[Kind, tuple[re.Pattern[str], str]] = {
    "date": (re.compile(_DATE), "2024-01-31"),
    "time": (re.compile(_TIME), "08:30:00"),
    "timestamp_ntz": (re.compile(f"{_DATE}[T ]{_TIME}"), "2024-01-31T08:30:00"),
    "timestamp": (re.compile(f"{_DATE}[T ]{_TIME}(Z|[-+][0-9]{{2}}:[0-9]{{2}})"), "2024-01-31T08:30:00Z"),
}


def limits(report: Report, typed: Type, options: dict[str, Any], at: DocumentPath) -> list[Rule]:
    """Lower and upper limits of one column."""
    given: dict[RuleName, Moment] = {}
    for name in LIMITS:
        text = options.get(name)
        if text is None:
            continue
        moment = _read(typed.kind, text)
        if moment is None:
            example = _SPELLED[typed.kind][1]
            report.error((*at, name), f"`{name}` is no {typed.name}", f"write it like `'{example}'`")
        else:
            given[name] = moment
    if _is_empty(given):
        name = next(name for name in reversed(LIMITS) if name in given)
        report.error((*at, name), "no value keeps these limits", "put the earlier one first")
    return [Rule(name, moment.isoformat()) for name, moment in given.items()]


def _read(kind: Kind, text: object) -> Moment | None:
    pattern, _ = _SPELLED[kind]
    if not isinstance(text, str) or not pattern.fullmatch(text):
        return None
    try:
        if kind == "date":
            return date.fromisoformat(text)
        if kind == "time":
            return time.fromisoformat(text)
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if kind == "timestamp" else moment
    except (ValueError, OverflowError):
        return None


def _is_empty(given: dict[RuleName, Any]) -> bool:
    lows = [limit for name, limit in given.items() if name in {"minimum", "exclusiveMinimum"}]
    highs = [limit for name, limit in given.items() if name in {"maximum", "exclusiveMaximum"}]
    if not lows or not highs:
        return False
    low, high = max(lows), min(highs)
    closed = given.get("exclusiveMinimum") != low and given.get("exclusiveMaximum") != high
    return bool(low > high or (low == high and not closed))
