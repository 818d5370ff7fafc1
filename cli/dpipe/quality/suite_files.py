"""Hand-written suites: `checks/<layer>/<table>.yaml`, read strictly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dpipe.contract.findings import Report, did_you_mean, listed
from dpipe.contract.source import read
from dpipe.errors import ConfigError
from dpipe.quality.model import UNEXPECTED_ROWS, Check, Layer, Suite
from dpipe.quality.vocabulary import EXPECTATIONS, NAME, NAMES, Expectation

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.contract.findings import Finding
    from dpipe.contract.source import DocumentPath
    from dpipe.settings import Project

_SUITE_KEYS = ("relation", "ids", "expectations")
_CHECK_KEYS = ("type", "name", "severity", "description")
_SEVERITIES = ("error", "warning")


def load_suites(project: Project, layer: Layer) -> list[Suite]:
    """The suites of a layer, sorted by file.

    Raises `ConfigError` with every finding as `file:line:column` when a file isn't a suite.
    """
    suites: list[Suite] = []
    findings: list[Finding] = []
    for path in sorted((project.checks / layer).glob("*.yaml")):
        suite, found = read_suite(path, layer)
        findings += found
        suites += [suite] if suite else []
    if findings:
        raise ConfigError(
            "\n".join(str(finding) for finding in findings),
            hint=f"mend the suites in `{project.checks / layer}`",
        )
    return suites


def read_suite(path: Path, layer: Layer) -> tuple[Suite | None, list[Finding]]:
    """One suite, or what is wrong with its file."""
    source, unreadable = read(path)
    if unreadable:
        return None, unreadable
    report = Report(source)
    document: dict[str, Any] = source.document
    _known_keys(report, document, _SUITE_KEYS, ())
    relation = f"{layer}.{path.stem}"
    if document.get("relation") != relation:
        report.error(
            ("relation",),
            f"the suite of `{relation}` says it is about `{document.get('relation')}`",
            f"write `relation: {relation}`, or name the file after its relation",
        )
    if not NAMES.fits(document.get("ids")):
        report.error(("ids",), "`ids` should be a list of columns", "name the columns that tell rows apart")
    checks = _checks(report, document.get("expectations"))
    if report.failed:
        return None, report.findings
    table = f"lake.{relation}" if layer == "raw" else relation
    return Suite(layer, relation, table, tuple(document["ids"]), tuple(checks), str(path)), []


def _checks(report: Report, entries: object) -> list[Check]:
    if not isinstance(entries, list) or not entries:
        report.error(
            ("expectations",), "`expectations` should be a list", "give the suite one expectation or more"
        )
        return []
    checks: list[Check] = []
    for index, entry in enumerate(entries):
        at: DocumentPath = ("expectations", index)
        check = _check(report, entry, at)
        if check is None:
            continue
        if any((other.rule, other.column) == (check.rule, check.column) for other in checks):
            report.error(at, f"`{check.rule}` is there twice", "give each a `name`, for the history")
        checks.append(check)
    return checks


def _check(report: Report, entry: object, at: DocumentPath) -> Check | None:
    if not isinstance(entry, dict):
        report.error(at, "an expectation should be a mapping", "begin it with `type: …`")
        return None
    kind = entry.get("type")
    expectation = EXPECTATIONS.get(kind) if isinstance(kind, str) else None
    if expectation is None:
        report.error(
            (*at, "type"), f"there is no expectation `{kind}`", did_you_mean(str(kind), EXPECTATIONS)
        )
        return None
    _known_keys(report, entry, (*_CHECK_KEYS, *expectation.arguments), at)
    _words(report, entry, at)
    arguments = _arguments(report, entry, expectation, at)
    if kind == UNEXPECTED_ROWS:
        arguments = {name: value.strip().removesuffix(";") for name, value in arguments.items()}
    return Check(
        rule=str(entry.get("name") or kind),
        type=str(kind),
        arguments=arguments,
        column=_column(arguments),
        severity="warning" if entry.get("severity") == "warning" else "error",
        description=str(entry.get("description") or ""),
        of_rows=kind != UNEXPECTED_ROWS,
    )


def _words(report: Report, entry: dict[str, Any], at: DocumentPath) -> None:
    severity = entry.get("severity", "error")
    if severity not in _SEVERITIES:
        report.error(
            (*at, "severity"), f"there is no severity `{severity}`", f"write one of {listed(_SEVERITIES)}"
        )
    needed = ("description", "name") if entry["type"] == UNEXPECTED_ROWS else ("description",)
    for key in needed:
        if not NAME.fits(entry.get(key)):
            report.error((*at, key), f"`{key}` should be text", "say in a few words what must hold")


def _arguments(
    report: Report, entry: dict[str, Any], expectation: Expectation, at: DocumentPath
) -> dict[str, Any]:
    for name, kind in expectation.required.items():
        if name not in entry:
            report.error(at, f"`{entry['type']}` needs `{name}`", f"add `{name}:` with {kind.words}")
    if expectation.some_of and not any(name in entry for name in expectation.some_of):
        report.error(at, f"`{entry['type']}` has no limit", f"add one of {listed(expectation.some_of)}")
    given = {name: entry[name] for name in expectation.arguments if name in entry}
    for name, value in given.items():
        kind = expectation.arguments[name]
        if not kind.fits(value):
            report.error((*at, name), f"`{name}` should be {kind.words}", f"write {kind.words}")
    return given


def _column(arguments: dict[str, Any]) -> str | None:
    """The column or columns that a check is about, as the history names them."""
    if "column" in arguments:
        return str(arguments["column"])
    columns = arguments.get("column_list") or [arguments.get("column_A"), arguments.get("column_B")]
    return ", ".join(str(name) for name in columns if name) or None


def _known_keys(report: Report, entry: dict[str, Any], known: tuple[str, ...], at: DocumentPath) -> None:
    for key in entry:
        if key not in known:
            report.error((*at, key), f"`{key}` means nothing here", did_you_mean(key, known), key=True)
