"""`customProperties` under `dpipe.*`: what ODCS has no word for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dpipe.contract.findings import did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from open_data_contract_standard.model import CustomProperty

    from dpipe.contract.findings import Report
    from dpipe.contract.source import DocumentPath

Level = Literal["dataset", "column", "part"]

PREFIX = "dpipe."
MAX_TOKENS = 100
_RECORD_BYTES = range(64, (1 << 30) + 1)


@dataclass(frozen=True)
class Known:
    """A property that dpipe reads: where it may stand, what its value is, and what that does."""

    levels: tuple[Level, ...]
    expects: str
    accepts: Callable[[Any], bool]
    meaning: str


def _one_of(*words: str) -> Callable[[Any], bool]:
    return lambda value: value in words


def _is_texts(value: Any) -> bool:  # noqa: ANN401 - whatever the YAML holds
    return (
        isinstance(value, list)
        and len(value) <= MAX_TOKENS
        and all(isinstance(item, str) for item in value)
        and len(set(value)) == len(value)
    )


def _is_byte(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, str) and len(value) == 1 and value.isascii() and value not in "\r\n\0"


KNOWN: dict[str, Known] = {
    "dpipe.nullTokens": Known(
        ("dataset",),
        "a list of different texts",
        _is_texts,
        "spellings of null in CSV; default the empty field",
    ),
    "dpipe.unknownFields": Known(
        ("dataset",),
        "`ignore`, `reject` or `evolve`",
        _one_of("ignore", "reject", "evolve"),
        "a field that the contract doesn't know is left out, or its record rejected, or it becomes a column; "
        "default `ignore`",
    ),
    "dpipe.writeMode": Known(
        ("dataset",),
        "`append`, `upsert` or `overwrite_partition`",
        _one_of("append", "upsert", "overwrite_partition"),
        "of two records with one key the first is kept, or the last; or a batch replaces the partitions that it has "
        "records of; default `append`",
    ),
    "dpipe.versionColumn": Known(
        ("dataset",),
        "a column's name",
        lambda value: isinstance(value, str) and bool(value),
        "of two records with one key an upsert keeps the one with the larger value here, whichever came last",
    ),
    "dpipe.csv.delimiter": Known(
        ("dataset",), "one ASCII character", _is_byte, "between the fields of CSV; default `,`"
    ),
    "dpipe.csv.quote": Known(
        ("dataset",), "one ASCII character", _is_byte, 'around CSV fields that hold delimiters; default `"`'
    ),
    "dpipe.csv.escape": Known(
        ("dataset",),
        "one ASCII character",
        _is_byte,
        "takes the meaning of the character after it in quoted CSV fields; default none: quotes are doubled",
    ),
    "dpipe.csv.comment": Known(
        ("dataset",),
        "one ASCII character",
        _is_byte,
        "begins a line of CSV that is no record; default none",
    ),
    "dpipe.csv.header": Known(
        ("dataset",),
        "`true` or `false`",
        lambda value: isinstance(value, bool),
        "whether the first CSV record names the columns, else they are in order; default `true`",
    ),
    "dpipe.maxRecordBytes": Known(
        ("dataset",),
        f"a whole number from {_RECORD_BYTES.start} to {_RECORD_BYTES.stop - 1}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value in _RECORD_BYTES,
        "a longer record is rejected and kept with its first bytes only; default 16777216 (16 MiB)",
    ),
    "dpipe.severity": Known(
        ("dataset", "column"),
        "`error` or `warning`",
        _one_of("error", "warning"),
        "severity of `quality` rules that name none; a column's wins over the dataset's; default `error`",
    ),
    "dpipe.partitionTransform": Known(
        ("column",),
        "`identity`, `year`, `month`, `day` or `hour`",
        _one_of("identity", "year", "month", "day", "hour"),
        "how a partition's value is made from this partitioned column's; default `identity`",
    ),
    "dpipe.renamedFrom": Known(
        ("column",),
        "the column's earlier name",
        lambda value: isinstance(value, str) and bool(value),
        "what the column was called: `dpipe contract apply` renames it in its table",
    ),
    "dpipe.formats": Known(
        ("column", "part"),
        "a list of different texts",
        _is_texts,
        "spellings of a date or timestamp in `strftime` letters, taken instead of ISO 8601",
    ),
}


def values(
    report: Report, properties: Sequence[CustomProperty] | None, at: DocumentPath, level: Level
) -> dict[str, Any]:
    """The `dpipe.*` properties at one place by name, each with a fitting value; others are findings."""
    found: dict[str, Any] = {}
    for index, item in enumerate(properties or []):
        here = (*at, "customProperties", index)
        name = item.property
        if name is None:
            report.error(here, "a custom property without a name", "add `property:`")
            continue
        if not name.startswith(PREFIX):
            continue
        known = KNOWN.get(name)
        if known is None or level not in known.levels:
            report.error((*here, "property"), _misplaced(name, level, known), _hint(name, level))
        elif name in found:
            report.error((*here, "property"), f"`{name}` is there twice", "keep one of the two")
        elif not known.accepts(item.value):
            report.error((*here, "value"), f"`{name}` takes {known.expects}", f"write {known.expects}")
        else:
            found[name] = item.value
    return found


def place(report: Report, at: DocumentPath, name: str) -> DocumentPath:
    """Where the value of a property stands that `values` gave for the same place."""
    owner = report.source.document
    for part in at:
        owner = owner[part]
    index = next(
        number for number, item in enumerate(owner["customProperties"]) if item.get("property") == name
    )
    return (*at, "customProperties", index, "value")


def check_elsewhere(report: Report, value: Any, at: DocumentPath = ()) -> None:  # noqa: ANN401 - any part
    """Report `dpipe.*` properties where nothing reads them: outside the schema object and its columns."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "customProperties" and isinstance(item, list) and not _is_read(at):
                _report_unread(report, item, (*at, key))
            else:
                check_elsewhere(report, item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check_elsewhere(report, item, (*at, index))


def _is_read(at: DocumentPath) -> bool:
    match at:
        case ("schema", int()):
            return True
        case ("schema", int(), "properties", int(), *inner):
            return _is_part(tuple(inner))
    return False


def _is_part(inner: DocumentPath) -> bool:
    """Whether a path leads from a column to itself, a property in it or an item."""
    while inner:
        if inner[0] == "items":
            inner = inner[1:]
        elif inner[0] == "properties" and len(inner) > 1:
            inner = inner[2:]
        else:
            return False
    return True


def _report_unread(report: Report, items: list[Any], at: DocumentPath) -> None:
    for index, item in enumerate(items):
        name = item.get("property") if isinstance(item, dict) else None
        if isinstance(name, str) and name.startswith(PREFIX):
            report.error(
                (*at, index, "property"),
                f"nothing reads `{name}` here",
                "move it to `customProperties` of the schema object or of a column",
            )


def _misplaced(name: str, level: Level, known: Known | None) -> str:
    if known is None:
        return f"`{name}` is not a property that dpipe knows"
    return f"`{name}` has no meaning on a {level}"


def _hint(name: str, level: Level) -> str:
    here = [candidate for candidate, known in KNOWN.items() if level in known.levels]
    if name in KNOWN:
        return f"move it to a {KNOWN[name].levels[0]}; known here: {listed(here)}"
    return f"{did_you_mean(name, here, otherwise='leave it out;')} known here: {listed(here)}"
