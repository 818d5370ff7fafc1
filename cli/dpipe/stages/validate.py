"""Validate: the lake's raw tables, the staging views and the marts, by suites of checks.

Raw tables are checked whole, against their contracts. Staging and marts are checked in the candidate, before
`publish` makes them visible; without a candidate, the published marts are.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dpipe.contract import contract_for, contract_path
from dpipe.errors import UsageError
from dpipe.iceberg.catalog import metadata_locations
from dpipe.quality.expectations import load, run_suites
from dpipe.quality.from_contract import contract_suite
from dpipe.quality.model import LAYERS, ValidationReport
from dpipe.quality.results import to_state
from dpipe.quality.suite_files import load_suites
from dpipe.state import quality, runs
from dpipe.warehouse import candidate, lake

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dpipe.quality.model import CheckResult, Layer, Suite
    from dpipe.settings import Project
    from dpipe.state import Run


@dataclass(frozen=True)
class _Plan:
    """What is validated: `raw` over the lake, `built` in `database`; and what is left out, and why."""

    layers: tuple[Layer, ...]
    raw: tuple[Suite, ...]
    built: tuple[Suite, ...]
    database: Path | None
    skipped: tuple[str, ...]


def validate(project: Project, layers: Sequence[Layer] | None = None, *, run: Run) -> ValidationReport:
    """Run every check of the layers and store the results; `None` means every layer that is there.

    The candidate is marked as validated, or not, when the marts in it were checked. Broken rules don't raise:
    look at `ValidationReport.ok` or raise `ValidationReport.problem()`. Raises `UsageError` when a layer that
    was asked for isn't there, and `ConfigError` when a suite or contract can't be read.
    """
    started_at, started = datetime.now(UTC), time.perf_counter()
    plan = _plan(project, layers)
    # Asked for before the checks: if another one takes its place meanwhile, the verdict is not about that one.
    checked = candidate.read_contents(project.candidate)
    import_seconds = load()
    results = [*_run(project, None, plan.raw), *_run(project, plan.database, plan.built)]
    report = ValidationReport(
        layers=plan.layers,
        database=str(plan.database) if plan.database else None,
        results=tuple(results),
        skipped=plan.skipped,
        seconds=round(time.perf_counter() - started, 3),
        import_seconds=round(import_seconds, 3),
    )
    quality.add_results(run, map(to_state, results))
    runs.add_stage(
        run, "validate", started_at=started_at, seconds=report.seconds, detail=_summary(project, report)
    )
    if "marts" in plan.layers and plan.database == project.candidate:
        candidate.mark_validated(project, report.ok, candidate_id=checked.candidate_id if checked else None)
    return report


def _plan(project: Project, asked: Sequence[Layer] | None) -> _Plan:
    wanted = [layer for layer in LAYERS if asked is None or layer in asked]
    database = next((path for path in (project.candidate, project.marts) if path.exists()), None)
    missing: dict[Layer, str] = {}
    raw, skipped = _raw_suites(project) if "raw" in wanted else ([], [])
    if "raw" in wanted and not raw:
        missing["raw"] = "the lake has no raw table yet; `dpipe run` or `dpipe process` makes them"
    if project.settings.target != "duckdb":
        missing |= dict.fromkeys(
            ("staging", "marts"),
            f"marts in {project.settings.target} are checked by dbt's tests, in `dpipe transform`",
        )
    elif database is None:
        missing |= dict.fromkeys(
            ("staging", "marts"), "nothing is transformed yet; `dpipe transform` does that"
        )
    elif database != project.candidate:
        missing["staging"] = (
            "staging views live in the candidate only, and it is published; `dpipe transform` makes one"
        )
    absent = [layer for layer in wanted if layer in missing]
    if absent and (asked is not None or len(absent) == len(wanted)):
        raise UsageError(f"layer `{absent[0]}` can't be validated", hint=missing[absent[0]])
    present = tuple(layer for layer in wanted if layer not in missing)
    built = [suite for layer in present if layer != "raw" for suite in load_suites(project, layer)]
    skipped += [f"{layer}: {missing[layer]}" for layer in absent]
    bare = set(present) - {suite.layer for suite in (*raw, *built)}
    skipped += [f"{layer}: no suites in `{project.checks / layer}`" for layer in present if layer in bare]
    return _Plan(present, tuple(raw), tuple(built), database if present != ("raw",) else None, tuple(skipped))


def _raw_suites(project: Project) -> tuple[list[Suite], list[str]]:
    """The contracts' suites and those of `checks/raw` for the tables that exist; names of the others."""
    suites = []
    for dataset in project.datasets():
        source = str(contract_path(project, dataset))
        suites.append(contract_suite(contract_for(project, dataset), source))
    suites += load_suites(project, "raw")
    tables = metadata_locations(project)
    there = sorted((suite for suite in suites if suite.relation in tables), key=lambda suite: suite.relation)
    absent = dict.fromkeys(suite.relation for suite in suites if suite.relation not in tables)
    return there, [f"{relation}: no batch was processed yet" for relation in absent]


def _run(project: Project, database: Path | None, suites: Sequence[Suite]) -> list[CheckResult]:
    if not suites:
        return []
    where: Iterable[Path] = [database] if database else []
    with lake.connect(project, *where, read_only=database is not None) as connection:
        return run_suites(connection, suites)


def _summary(project: Project, report: ValidationReport) -> dict[str, object]:
    return {
        "target": project.settings.target,
        "layers": list(report.layers),
        "database": report.database,
        "passed": report.passed,
        "failed": report.failed,
        "warnings": report.warnings,
        "errors": report.errors,
        "skipped": list(report.skipped),
        "import_seconds": report.import_seconds,
    }
