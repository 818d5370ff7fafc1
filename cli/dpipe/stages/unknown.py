"""Fields that the contract doesn't know and that are to become columns: which type every value of a field has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dpipe import output
from dpipe.contract import Column
from dpipe.contract.columns import NAME
from dpipe.iceberg import evolved
from dpipe.landing import payload_file
from dpipe.stages.judge import judge_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyiceberg.table import Table

    from dpipe.contract.plan import Kind
    from dpipe.landing import Manifest
    from dpipe.stages.kernel import BatchCounts
    from dpipe.stages.work import Work

# What a field is tried as, in this order.
KINDS: tuple[Kind, ...] = ("boolean", "int64", "float64", "date", "timestamp", "timestamp_ntz", "string")
# Text may look like something and not be it: a number (`007`), or the day of most records only.
ONLY: dict[str, tuple[Kind, ...]] = {
    "csv": ("string",),
    "json": ("boolean", "int64", "float64", "string"),
    "ndjson": ("boolean", "int64", "float64", "string"),
}
MOST_COLUMNS = 500
NAMED = 10


def grow(work: Work, table: Table, group: Sequence[Manifest], counts: Sequence[BatchCounts]) -> bool:
    """Add a column for each new field of the group's batches; whether there is any.

    A field stays out, which is said once a run, that has values of no one type, no name that a column can have, or that
    comes when the table has 500 columns. One without a value waits for its first.
    """
    carriers: dict[str, list[Manifest]] = {}
    for manifest, batch in zip(group, counts, strict=True):
        for name in batch.unknown_fields.keys() - work.left_out:
            carriers.setdefault(name, []).append(manifest)
    room = MOST_COLUMNS - len(table.schema().fields)
    named = sorted(name for name in carriers if NAME.fullmatch(name))
    usable = named[: max(0, room)]
    kinds = _kinds(work, {name: carriers[name] for name in usable})
    _leave_out(work, "a contract can't name such a column", carriers.keys() - set(named))
    _leave_out(work, f"the table has {MOST_COLUMNS} columns", set(named) - set(usable))
    _leave_out(
        work, "their values are of no one type", {name for name, kind in kinds.items() if kind is None}
    )
    columns = {
        Column(name, kind): carriers[name][0].batch_id for name, kind in kinds.items() if kind is not None
    }
    if columns:
        evolved.add(work.catalog, work.dataset, columns)
    for column, batch_id in columns.items():
        output.warn(
            f"`raw.{work.dataset}` has a new column `{column.name}` of type {column.kind}: "
            f"batch `{batch_id}` brought it"
        )
    return bool(columns)


def _leave_out(work: Work, reason: str, names: set[str]) -> None:
    work.left_out |= names
    if names:
        said = ", ".join(f"`{name}`" for name in sorted(names)[:NAMED])
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        output.warn(f"fields of `{work.dataset}` are left out and counted, since {reason}: {said}{more}")


def _kinds(work: Work, carriers: dict[str, list[Manifest]]) -> dict[str, Kind | None]:
    """The first kind that all values of each field have, None when there is none; without fields that have no value."""
    fitting: dict[str, set[Kind]] = {}
    for manifest in {one.batch_id: one for of_name in carriers.values() for one in of_name}.values():
        names = [name for name, of_name in carriers.items() if manifest in of_name]
        for name, kinds in _fitting(work, names, manifest).items():
            fitting[name] = fitting.get(name, kinds) & kinds
    return {name: next((kind for kind in KINDS if kind in kinds), None) for name, kinds in fitting.items()}


def _fitting(work: Work, names: list[str], manifest: Manifest) -> dict[str, set[Kind]]:
    """The kinds that every value of each field in a batch has; without fields that have no value there."""
    fitting: dict[str, set[Kind]] = {}
    with payload_file(work.project, manifest) as path:
        for kind in KINDS:
            columns = tuple(Column(name, kind) for name in names)
            answer, _, _ = judge_by(
                replace(work.contract.plan, columns=columns, comparisons=()),
                path,
                batch_id=manifest.batch_id,
                form=manifest.format,
                compression=manifest.compression,
                threads=work.project.settings.threads,
                profile=kind == KINDS[0],
                keep=False,
            )
            (counts,) = answer["batches"]
            broken = {violation["column"] for violation in counts["violations"]}
            if kind == KINDS[0]:
                empty = {
                    column["column"]
                    for column in answer["profile"]
                    if column["summary"]["nulls"] == column["summary"]["rows"]
                }
                fitting = {name: set() for name in names if name in broken or name not in empty}
            if kind in ONLY.get(counts["format"], KINDS):
                for name in fitting.keys() - broken:
                    fitting[name].add(kind)
    return fitting
