"""What every engine of the bench is given, and what it must give back."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from dpipe.contract.plan import LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from dpipe.bench.flights import Compression, Format
    from dpipe.bench.profile import ColumnProfile
    from dpipe.contract import Column, Plan

BATCH_ID = "file-" + "0" * 32
# The column's or the part's path, None for the record as a whole, and the rule that is broken.
Breach = tuple[str | None, str]


@dataclass(frozen=True)
class Job:
    """One run: the source, the plan that it is held to, and the folder that takes the result.

    `threads` 0 means one a core; `profile` asks for one of the accepted values.
    """

    plan: Plan
    source: Path
    form: Format
    compression: Compression
    threads: int
    out: Path
    profile: bool = True

    @property
    def data(self) -> Path:
        """Where Parquet files of accepted rows go: the plan's columns, then batch id, record number and contract."""
        return self.out / "data"

    @property
    def quarantine(self) -> Path:
        """Where Parquet files of the other records go.

        Columns: `_dpipe_batch_id`, `_dpipe_record_no`, `raw`, `disposition` and `violations`, a list of
        structs of `column` and `rule`.
        """
        return self.out / "quarantine"

    @property
    def workers(self) -> int:
        """Threads as a number above 0."""
        return self.threads or os.cpu_count() or 1


@dataclass(frozen=True)
class Outcome:
    """The counts that an engine came to; `violations` are records by what they broke, `profile` is one a column.

    A record that breaks a rule in several items counts once for it.
    """

    records_in: int
    accepted: int
    rejected: int
    duplicate: int
    violations: dict[Breach, int]
    profile: dict[str, ColumnProfile] = field(default_factory=dict)


TEMPORAL = ("date", "timestamp", "timestamp_ntz")
# What every baseline knows of a contract.
KINDS = frozenset(
    (
        "int32",
        "int64",
        "float64",
        "boolean",
        "string",
        "date",
        "timestamp",
        "timestamp_ntz",
        "struct",
        "list",
    ),
)
RULES = frozenset((*LIMITS, "minLength", "maxLength", "pattern", "enum", "minItems", "maxItems"))


def nested(plan: Plan) -> list[Column]:
    """The columns that are objects or arrays."""
    return [column for column in plan.columns if column.fields]


def parts(columns: Iterable[Column], within: str = "") -> Iterator[tuple[str, Column]]:
    """The columns and all that is in them by their paths, as violations name them: `items[].price`."""
    for column in columns:
        path = within + column.name
        yield path, column
        yield from _inside(column, path)


def _inside(column: Column, path: str) -> Iterator[tuple[str, Column]]:
    if column.kind == "struct":
        yield from parts(column.fields, f"{path}.")
    elif column.kind == "list":
        yield f"{path}[]", column.fields[0]
        yield from _inside(column.fields[0], f"{path}[]")


def beyond_baselines(plan: Plan, form: Format) -> str | None:
    """What of the plan no baseline does on this format; None when there is nothing."""
    of_dataset = {
        "no baseline looks for fields that the contract doesn't know": plan.unknown_fields == "reject",
        "no baseline is told of the contract's escape or comment character": plan.csv.escape
        or plan.csv.comment,
        "no baseline keeps columns unique beside the key": plan.unique,
        "no baseline compares columns with each other": plan.comparisons,
    }
    for said, is_so in of_dataset.items():
        if is_so:
            return said
    if form != "ndjson" and nested(plan):
        return f"baselines read objects and arrays out of NDJSON only, `{nested(plan)[0].name}` is nested"
    for path, column in parts(plan.columns):
        if column.formats:
            return f"baselines read ISO 8601 only, `{path}` is spelt otherwise"
        if column.kind not in KINDS or column.default_offset:
            return f"no baseline has the type of `{path}`"
        for rule in column.rules:
            if rule.rule not in RULES or (rule.rule in LIMITS and not isinstance(rule.value, int | float)):
                return f"no baseline has the rule `{rule.rule}` of `{path}`"
    return None


class Engine(Protocol):
    """A module that does a job: the kernel or a baseline.

    `TITLE` is its name for people, `PACKAGES` are the distributions whose versions matter, and `KEEPS_BYTES` the
    formats whose rejected and duplicate records it keeps as the bytes that they came in. One that isn't `PARALLEL` runs
    on one core, whatever threads it is given. `DISTINCT_OFF` is the share by which its number of distinct values may
    differ from the kernel's where neither counts them exactly.
    """

    TITLE: str
    PACKAGES: tuple[str, ...]
    KEEPS_BYTES: frozenset[Format]
    PARALLEL: bool
    DISTINCT_OFF: float

    @staticmethod
    def unable(plan: Plan, form: Format) -> str | None:
        """Why the engine can't do the plan's work on this format; None when it can."""

    @staticmethod
    def partly(form: Format) -> str | None:
        """What of the work it leaves out or does otherwise on this format, in a few words."""

    @staticmethod
    def prepare() -> None:
        """Import what the run needs: start-up is timed apart from the work."""

    @staticmethod
    def run(job: Job) -> Outcome:
        """Do the job."""
