"""A parsed contract → the plan and the whole-batch rules, with everything that is wrong along the way."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from dpipe.contract import custom, keys, odcs
from dpipe.contract.batch_rules import BatchRules
from dpipe.contract.columns import Compiled, check_name, compile_column
from dpipe.contract.findings import Finding, Report, listed
from dpipe.contract.plan import MAX_RECORD_BYTES, Column, CsvOptions, Plan
from dpipe.contract.source import read

if TYPE_CHECKING:
    from pathlib import Path

    from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject

    from dpipe.contract.quality import QualityRule

SUFFIX = ".odcs.yaml"


@dataclass(frozen=True)
class Compilation:
    """What became of a file; `model` and `plan` are there when no finding is an error."""

    findings: list[Finding]
    model: OpenDataContractStandard | None = None
    plan: Plan | None = None
    quality: tuple[QualityRule, ...] = ()
    canonical: str = ""


def compile_file(path: Path, content: bytes | None = None, *, loose: bool = False) -> Compilation:
    """Read, check and compile one contract, or the content that is given in its place.

    Findings are in the order of the text. Without `loose` the file must be called like the dataset.
    """
    source, findings = read(path, content, loose=loose)
    if findings:
        return Compilation(findings)
    report = Report(source)
    model = odcs.parse(report)
    plan, quality = _contract(report, model) if model else (None, ())
    ordered = sorted(report.findings, key=lambda finding: (finding.line, finding.column))
    if report.failed:
        return Compilation(ordered)
    return Compilation(ordered, model, plan, quality, canonical(source.document))


def canonical(document: object) -> str:
    """The document as canonical JSON: comments, key order and layout don't change it."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def content_hash(document: object) -> str:
    """SHA-256 in hex of the document as canonical JSON."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()


def _contract(report: Report, model: OpenDataContractStandard) -> tuple[Plan | None, tuple[QualityRule, ...]]:
    custom.check_elsewhere(report, report.source.document)
    for index, agreement in enumerate(model.slaProperties or []):
        report.warn(
            ("slaProperties", index, "property"),
            f"nothing measures the agreement `{agreement.property}` yet",
            "it stays as documentation",
        )
    if model.roles:
        report.warn(("roles",), "nothing grants or checks `roles`", "it stays as documentation", key=True)
    objects = model.schema_ or []
    if len(objects) != 1:
        if model.schema_ is not None:
            at = ("schema", 1) if objects else ("schema",)
            report.error(at, f"{len(objects)} schema objects", "write one dataset a file")
        return None, ()
    return _dataset(report, objects[0])


def _dataset(report: Report, definition: SchemaObject) -> tuple[Plan, tuple[QualityRule, ...]]:
    at = ("schema", 0)
    name = check_name(report, definition.name, at, "dataset")
    _file_name(report, name)
    for odcs_key, given, hint in (
        (
            "relationships",
            definition.relationships,
            "test the reference in `transform/`, and leave it out here",
        ),
        (
            "physicalName",
            definition.physicalName not in {None, name} or None,
            "a dataset is stored under its `name`",
        ),
        (
            "logicalType",
            definition.logicalType not in {None, "object"} or None,
            "write `logicalType: object`, or leave it out",
        ),
    ):
        if given is not None:
            report.error((*at, odcs_key), f"nothing enforces this `{odcs_key}`", hint, key=True)
    extra = custom.values(report, definition.customProperties, at, "dataset")
    columns = _columns(report, definition)
    rules = BatchRules(
        report, {item.column.name: item for item in columns}, extra.get("dpipe.severity", "error")
    )
    for index, rule in enumerate(definition.quality or []):
        rules.add(rule, (*at, "quality", index), None)
    for item in columns:
        for index, rule in enumerate(item.definition.quality or []):
            rules.add(rule, (*item.at, "quality", index), item)
    key = keys.primary_key(report, columns)
    if extra.get("dpipe.writeMode") == "upsert" and not key:
        where = custom.place(report, at, "dpipe.writeMode")
        report.error(where, "an upsert of records without a key", "say which columns are the `primaryKey`")
    partition = keys.partition(report, columns, key)
    if extra.get("dpipe.writeMode") == "overwrite_partition" and not partition:
        where = custom.place(report, at, "dpipe.writeMode")
        report.error(where, "there are no partitions to overwrite", "say which column is `partitioned`")
    plan = Plan(
        dataset=name,
        contract=content_hash(report.source.document),
        columns=tuple(_with_row_rules(report, item, rules) for item in columns),
        key=key,
        unique=keys.unique(report, columns, key, extra),
        comparisons=tuple(rules.comparisons),
        partition=partition,
        unknown_fields=extra.get("dpipe.unknownFields", "ignore"),
        write_mode=extra.get("dpipe.writeMode", "append"),
        version=keys.version(report, columns, key, extra),
        csv=_csv(report, extra),
        max_record_bytes=extra.get("dpipe.maxRecordBytes", MAX_RECORD_BYTES),
    )
    return plan, tuple(rules.rules)


def _file_name(report: Report, dataset: str) -> None:
    found = report.source.path.name
    if dataset and not report.source.loose and found != f"{dataset}{SUFFIX}":
        report.error(
            ("schema", 0, "name"),
            f"the dataset `{dataset}` in a file called `{found}`",
            f"call the file `{dataset}{SUFFIX}`, or rename the dataset",
        )


def _columns(report: Report, definition: SchemaObject) -> list[Compiled]:
    at = ("schema", 0)
    if not definition.properties:
        report.error(at, "a dataset without columns", "list them under `properties`")
    columns: list[Compiled] = []
    names: set[str] = set()
    for index, item in enumerate(definition.properties or []):
        here = (*at, "properties", index)
        if item.name and item.name in names:
            report.error((*here, "name"), f"column `{item.name}` is there twice", "keep one of the two")
        names.add(item.name or "")
        compiled = compile_column(report, item, here)
        if compiled:
            columns.append(compiled)
    _renames(report, columns)
    return columns


def _renames(report: Report, columns: list[Compiled]) -> None:
    """An earlier name is of one column, and of none that is there."""
    names = {item.column.name for item in columns}
    earlier: set[str] = set()
    for item in columns:
        before = item.column.renamed_from
        if before is None:
            continue
        if before in names or before in earlier:
            where = custom.place(report, item.at, "dpipe.renamedFrom")
            whose = "is the name of a column" if before in names else "was another column's name"
            report.error(where, f"`{before}` {whose}", "name what this column was called, or leave it out")
        earlier.add(before)


def _with_row_rules(report: Report, item: Compiled, rules: BatchRules) -> Column:
    added = rules.row_rules.get(item.column.name, [])
    combined = (*item.column.rules, *added)
    kinds = [rule.rule for rule in combined]
    twice = [kind for kind in dict.fromkeys(kinds) if kinds.count(kind) > 1]
    if twice:
        report.error(
            (*item.at, "quality"), f"{listed(twice)} of one column twice", "make one rule of them", key=True
        )
    return replace(item.column, rules=combined)


def _csv(report: Report, extra: dict[str, Any]) -> CsvOptions:
    options = CsvOptions(
        delimiter=extra.get("dpipe.csv.delimiter", ","),
        quote=extra.get("dpipe.csv.quote", '"'),
        header=extra.get("dpipe.csv.header", True),
        null_tokens=tuple(extra.get("dpipe.nullTokens", [""])),
        escape=extra.get("dpipe.csv.escape"),
        comment=extra.get("dpipe.csv.comment"),
    )
    meanings = {name: getattr(options, name) for name in ("delimiter", "quote", "escape", "comment")}
    for one, other in combinations((name for name, byte in meanings.items() if byte is not None), 2):
        if meanings[one] == meanings[other]:
            given = next(name for name in (f"dpipe.csv.{other}", f"dpipe.csv.{one}") if name in extra)
            where = custom.place(report, ("schema", 0), given)
            report.error(where, f"the CSV {one} is the {other}", "choose two characters")
    return options
