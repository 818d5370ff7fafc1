"""Records that are kept out of the tables, as answers show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class BrokenRule:
    """A rule that a record broke, and the JSON pointer of the value; the empty one is the whole record."""

    column: str | None
    pointer: str
    rule: str
    message: str


@dataclass(frozen=True)
class KeptRecord:
    """A record that is no row: `rejected` or a `duplicate` (`identical` or `conflicting`) of a winner.

    `record_no` and `line` count from 1; `raw` are its bytes as text, others than UTF-8 as `\\xff`.
    """

    record_no: int
    disposition: str
    duplicate_kind: str | None
    line: int | None
    byte_offset: int | None
    violations: tuple[BrokenRule, ...]
    winner_batch_id: str | None
    winner_record_no: int | None
    raw: str


def kept(row: Mapping[str, Any]) -> KeptRecord:
    """A row of a quarantine table."""
    return KeptRecord(
        record_no=row["_dpipe_record_no"],
        raw=row["raw"].decode("utf-8", "backslashreplace"),
        violations=tuple(
            BrokenRule(one["column"], _pointer(one["column"]), one["rule"], one["message"])
            for one in row["violations"]
        ),
        **{
            name: row[name]
            for name in (
                "disposition",
                "duplicate_kind",
                "line",
                "byte_offset",
                "winner_batch_id",
                "winner_record_no",
            )
        },
    )


def _pointer(column: str | None) -> str:
    """RFC 6901, as far as the path names one value: `items[].price` is of some item, and the message says which."""
    if column is None:
        return ""
    return "/" + column.partition("[]")[0].replace(".", "/")
