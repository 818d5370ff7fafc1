"""Primary key, unique columns, version and partition of a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dpipe.contract import custom
from dpipe.contract.findings import did_you_mean
from dpipe.contract.plan import PartitionField

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from open_data_contract_standard.model import SchemaProperty

    from dpipe.contract.columns import Compiled
    from dpipe.contract.findings import Report
    from dpipe.contract.plan import Kind, Transform

_DATED: dict[Kind, frozenset[Transform]] = {
    "date": frozenset({"identity", "year", "month", "day"}),
    "timestamp": frozenset({"identity", "year", "month", "day", "hour"}),
    "timestamp_ntz": frozenset({"identity", "year", "month", "day", "hour"}),
}
_PLAIN: frozenset[Transform] = frozenset({"identity"})
_VERSIONS: frozenset[Kind] = frozenset({"int32", "int64", "date", "timestamp", "timestamp_ntz", "time"})
_NEVER: frozenset[Kind] = frozenset({"float64", "decimal", "time", "struct", "list"})


def primary_key(report: Report, columns: Sequence[Compiled]) -> tuple[str, ...]:
    """The key's columns in the order of their positions; duplicates are told by them."""
    ordered = _ordered(
        report,
        columns,
        "primaryKey",
        "primaryKeyPosition",
        lambda item: (item.primaryKey, item.primaryKeyPosition),
    )
    for item in ordered:
        if not item.column.required:
            report.error(
                (*item.at, "primaryKey"),
                f"key column `{item.column.name}` may be null",
                "add `required: true`",
                key=True,
            )
        if item.column.fields:
            report.error(
                (*item.at, "primaryKey"),
                f"key column `{item.column.name}` is nested",
                "use a column of a single value",
                key=True,
            )
        if item.column.kind == "float64":
            report.error(
                (*item.at, "primaryKey"),
                f"key column `{item.column.name}` is a floating-point number, which has no exact equality",
                "use an integer or a string",
                key=True,
            )
    return tuple(item.column.name for item in ordered)


def unique(
    report: Report, columns: Sequence[Compiled], key: tuple[str, ...], extra: dict[str, Any]
) -> tuple[str, ...]:
    """The columns that are unique on their own; of a key's only column the key says so already."""
    chosen = [item for item in columns if item.definition.unique and key != (item.column.name,)]
    for item in chosen:
        if item.column.fields:
            report.error(
                (*item.at, "unique"),
                f"unique column `{item.column.name}` is nested",
                "use a column of a single value",
                key=True,
            )
        elif extra.get("dpipe.writeMode") == "overwrite_partition":
            report.error(
                (*item.at, "unique"),
                f"nothing enforces that `{item.column.name}` is unique where partitions are overwritten",
                "make it the only key (`primaryKey: true`), choose another `dpipe.writeMode`, or add the quality rule "
                "`{metric: duplicateValues, mustBe: 0}`, which looks at each batch",
                key=True,
            )
    return tuple(item.column.name for item in chosen)


def partition(
    report: Report, columns: Sequence[Compiled], key: tuple[str, ...]
) -> tuple[PartitionField, ...]:
    """Iceberg's partition fields in the order of their positions."""
    ordered = _ordered(
        report,
        columns,
        "partitioned",
        "partitionKeyPosition",
        lambda item: (item.partitioned, item.partitionKeyPosition),
    )
    names = {item.column.name for item in columns}
    fields = []
    for item in ordered:
        column = item.column
        transform: Transform = item.custom.get("dpipe.partitionTransform", "identity")
        field = PartitionField(
            column.name, transform, column.name if transform == "identity" else f"{column.name}_{transform}"
        )
        if transform not in _DATED.get(column.kind, _PLAIN) or column.kind in _NEVER:
            report.error(
                (*item.at, "partitioned"),
                f"no {transform} partition of a {column.type_name}",
                _instead(column.kind),
                key=True,
            )
        if transform != "identity" and field.name in names:
            report.error(
                (*item.at, "partitioned"),
                f"the partition field `{field.name}` has a column's name",
                f"rename the column `{field.name}`, or partition by another transform",
                key=True,
            )
        if key and column.name not in key:
            report.error(
                (*item.at, "partitioned"),
                f"partition column `{column.name}` is not in the primary key",
                "add it to the key, so that equal keys lie in one partition, or leave it unpartitioned",
                key=True,
            )
        fields.append(field)
    for item in columns:
        if "dpipe.partitionTransform" in item.custom and not item.definition.partitioned:
            report.error(
                custom.place(report, item.at, "dpipe.partitionTransform"),
                f"`dpipe.partitionTransform` on `{item.column.name}`, which is not partitioned",
                "add `partitioned: true` and `partitionKeyPosition`",
            )
    return tuple(fields)


def version(
    report: Report, columns: Sequence[Compiled], key: tuple[str, ...], extra: dict[str, Any]
) -> str | None:
    """The column that says which of two records with one key is newer, None when it is the one that came later."""
    name: str | None = extra.get("dpipe.versionColumn")
    if name is None:
        return None
    where = custom.place(report, ("schema", 0), "dpipe.versionColumn")
    column = next((item.column for item in columns if item.column.name == name), None)
    if extra.get("dpipe.writeMode") != "upsert":
        report.error(where, "a version without an upsert", "add `dpipe.writeMode: upsert`, or leave it out")
    elif column is None:
        hint = did_you_mean(name, [item.column.name for item in columns], otherwise="name a column of it")
        report.error(where, f"no column `{name}` to be the version", hint)
    elif column.kind not in _VERSIONS:
        hint = "name a column of integers, dates or times"
        report.error(where, f"a {column.type_name} as the version", hint)
    elif not column.required:
        report.error(where, f"the version `{name}` may be null", f"add `required: true` to `{name}`")
    elif name in key:
        report.error(where, f"the version `{name}` is in the primary key", "name a column that isn't")
    return name


def _instead(kind: Kind) -> str:
    if kind in _NEVER:
        return "partition by another column"
    return f"use one of {', '.join(sorted(_DATED.get(kind, _PLAIN)))}"


def _ordered(
    report: Report,
    columns: Sequence[Compiled],
    flag: str,
    position_name: str,
    read: Callable[[SchemaProperty], tuple[bool | None, int | None]],
) -> list[Compiled]:
    """Columns with the flag, sorted by their positions, which must count from 1; one alone needs none."""
    chosen: list[tuple[int, Compiled]] = []
    total = sum(bool(read(item.definition)[0]) for item in columns)
    taken: dict[int, str] = {}
    for item in columns:
        is_set, position = read(item.definition)
        position = None if position == -1 else position  # ODCS's default
        if not is_set:
            if position is not None:
                report.error(
                    (*item.at, position_name),
                    f"a position without `{flag}`",
                    f"add `{flag}: true`, or leave it out",
                )
            continue
        if position is None and total > 1:
            report.error(
                (*item.at, flag), f"`{flag}` without a position", f"add `{position_name}:`", key=True
            )
        elif position is not None and (not 1 <= position <= total or position in taken):
            whose = f", `{taken[position]}` has it too" if position in taken else ""
            report.error((*item.at, position_name), f"position {position}{whose}", f"count from 1 to {total}")
        taken[position or 1] = item.column.name
        chosen.append((position or 1, item))
    return [item for _, item in sorted(chosen, key=lambda pair: pair[0])]
