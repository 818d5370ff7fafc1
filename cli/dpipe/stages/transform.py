"""Transform: dbt builds the star from the lake into a candidate that nobody reads until it is published.

The candidate is a copy of the published file with the batches merged in that the ledger has and the file does
not. It is built in a private folder and put in its place when dbt and all its tests succeeded.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dpipe import output
from dpipe.contract import contract_for
from dpipe.errors import UsageError
from dpipe.iceberg.catalog import metadata_locations
from dpipe.stages.locks import held
from dpipe.state import runs
from dpipe.warehouse import batches, samples, selection
from dpipe.warehouse.build_folder import BuildFolder, install
from dpipe.warehouse.candidate import read_contents
from dpipe.warehouse.dbt_process import run_dbt
from dpipe.warehouse.dbt_results import DbtReport
from dpipe.warehouse.history import carry_over

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dpipe.settings import Project
    from dpipe.state import Run
    from dpipe.warehouse.batches import Batch, Contents
    from dpipe.warehouse.dbt_results import NodeResult

WAREHOUSE_LOCK = "warehouse"
PROJECT_FILES = {".sql", ".yml", ".yaml", ".csv", ".py"}
BUILD = ["build", "--exclude-resource-type", "unit_test"]
# After the build, since a unit test of an incremental model asks for the table's columns.
UNIT_TESTS = ["test", "--select", "test_type:unit"]
WRITTEN_BY_DBT = {"target", "logs", "dbt_packages"}


@dataclass(frozen=True)
class TransformResult:
    """What the candidate became.

    `changed` is false when there was nothing to do. `new_batches` counts by dataset; `rows` are those of the
    marts; `built` counts models and seeds. `full_refresh` says why everything was built anew, None when it was not.
    """

    candidate: str
    candidate_id: str
    changed: bool
    full_refresh: str | None
    new_batches: dict[str, int]
    built: int
    tests_passed: int
    warnings: tuple[str, ...]
    rows: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class TransformPreview:
    """What a transform would do now; `selected` names what dbt would build and test, None stands for everything.

    `changed` is false when there is nothing to do.
    """

    changed: bool
    full_refresh: str | None
    new_batches: dict[str, int]
    selected: tuple[str, ...] | None


@dataclass(frozen=True)
class _Lake:
    """The lake at one moment: its tables' metadata files and the batches of its ledger."""

    locations: Mapping[str, str]
    ledger: frozenset[Batch]


@dataclass(frozen=True)
class _Plan:
    """What is built upon what."""

    locations: Mapping[str, str]
    base: Path | None
    to_transform: frozenset[Batch]
    full_refresh: str | None

    def describe(self) -> str:
        """What is built, in words."""
        if self.full_refresh:
            return f"building everything ({self.full_refresh})"
        return "adding to the published marts"


def transform(
    project: Project, *, full_refresh: bool = False, unit_tests: bool = False, run: Run
) -> TransformResult:
    """Build the candidate from the batches committed since the published one, or all with `full_refresh`.

    `unit_tests` runs dbt's unit tests too. Everything is also built anew when the dbt project changed or the
    published file holds batches that the ledger does not. Does nothing when the candidate has every batch
    already. Raises `UsageError` without a processed batch, `ConfigError` when a model can't be built, `DataError`
    when one of its tests fails; the candidate that was there before then stays.
    """
    started_at, started = datetime.now(UTC), time.perf_counter()
    with held(project, WAREHOUSE_LOCK) as lock:
        lake = _look(project)
        project_hash = _project_hash(project.transform)
        candidate = read_contents(project.candidate)
        plan = report = None
        if full_refresh or unit_tests or not _is_current(candidate, lake.ledger, project_hash):
            plan = _plan(project, lake, project_hash, full_refresh=full_refresh)
            report = _build(project, plan, project_hash, unit_tests=unit_tests, lock=lock)
            _install(project, project_hash, run)
        result = _result(project, plan, report, started)
    detail = {key: value for key, value in asdict(result).items() if key != "seconds"}
    detail["models"] = [_built(one) for one in report.of("success") if not one.is_test] if report else []
    runs.add_stage(run, "transform", started_at=started_at, seconds=result.seconds, detail=detail)
    return result


def preview(project: Project, *, full_refresh: bool = False) -> TransformPreview:
    """What `transform` would do now. Raises `UsageError` without a processed batch."""
    lake = _look(project)
    project_hash = _project_hash(project.transform)
    if not full_refresh and _is_current(read_contents(project.candidate), lake.ledger, project_hash):
        return TransformPreview(changed=False, full_refresh=None, new_batches={}, selected=())
    plan = _plan(project, lake, project_hash, full_refresh=full_refresh)
    names = _needed(BuildFolder.of(project), plan, project_hash)
    return TransformPreview(
        changed=True,
        full_refresh=plan.full_refresh,
        new_batches=_by_dataset(plan.to_transform),
        selected=tuple(names) if names else None,
    )


def _look(project: Project) -> _Lake:
    """The ledger's metadata file is taken first, so what the ledger names is in the tables seen with it."""
    locations = metadata_locations(project)
    ledger = batches.ledger(locations)
    if not ledger:
        raise UsageError("the lake holds no batch to transform", hint="`dpipe run` brings some")
    return _Lake(locations, ledger)


def _is_current(candidate: Contents | None, ledger: frozenset[Batch], project_hash: str) -> bool:
    return candidate is not None and candidate.batches == ledger and candidate.project_hash == project_hash


def _plan(project: Project, lake: _Lake, project_hash: str, *, full_refresh: bool) -> _Plan:
    published = read_contents(project.marts)
    if full_refresh:
        reason = "asked for"
    elif published is None:
        reason = "nothing is published yet"
    elif published.project_hash != project_hash:
        reason = "the dbt project changed"
    elif published.batches - lake.ledger:
        reason = "the ledger lacks batches that are published"
    elif overwritten := _overwritten(project, lake.ledger - published.batches):
        reason = f"partitions of `{overwritten}` were overwritten"
    else:
        return _Plan(lake.locations, project.marts, lake.ledger - published.batches, None)
    return _Plan(lake.locations, None, lake.ledger, reason)


def _overwritten(project: Project, new: frozenset[Batch]) -> str | None:
    """A dataset of which rows left without others with their keys, so that an incremental model would keep them."""
    candidates = sorted({batch.dataset for batch in new if batch.superseded}.intersection(project.datasets()))
    modes = {name: contract_for(project, name).plan.write_mode for name in candidates}
    return next((name for name, mode in modes.items() if mode == "overwrite_partition"), None)


def _build(project: Project, plan: _Plan, project_hash: str, *, unit_tests: bool, lock: int) -> DbtReport:
    folder = BuildFolder.of(project)
    folder.begin(folder.database, plan.base)
    if plan.base is None and project.marts.exists():
        carry_over(project.marts, folder.database)
    folder.write_locations(plan.locations)
    batches.begin(folder.database, plan.to_transform)
    names = _needed(folder, plan, project_hash)
    named = ", ".join(f"{name} {count}" for name, count in _by_dataset(plan.to_transform).items()) or "none"
    output.note(f"transform: {plan.describe()}; batches to take in: {named}")
    build = [*BUILD, *(["--full-refresh"] if plan.full_refresh else [])]
    if names:
        build += ["--select", *names, "--indirect-selection", "empty"]
    results: list[NodeResult] = []
    for command in [build, *([UNIT_TESTS] if unit_tests else [])]:
        with folder.parsing(project_hash):
            report = run_dbt(command, project.transform, folder, threads=os.cpu_count() or 1, lock=lock)
        report.raise_for_failures(
            folder.database,
            hint=_missing_tables(project, plan.locations),
            rows_of=lambda test: samples.rows_of(test, folder),
        )
        results += report.results
    return DbtReport(tuple(results))


def _needed(folder: BuildFolder, plan: _Plan, project_hash: str) -> list[str]:
    """What is made of the new batches, by dbt's names; none stands for all, when dbt has yet to read the project."""
    if plan.base is None:
        return []
    manifest = folder.manifest(project_hash)
    if manifest is None:
        return []
    return selection.needed(
        manifest, {batch.dataset for batch in plan.to_transform}, batches.tables(plan.base)
    )


def _install(project: Project, project_hash: str, run: Run) -> None:
    folder = BuildFolder.of(project)
    batches.finish(folder.database, project_hash, run.run_id)
    install(folder.database, project.candidate)


def _missing_tables(project: Project, locations: Mapping[str, str]) -> str | None:
    """Advice when a dataset has a contract and no table: a model that reads it can't be built."""
    missing = [name for name in project.datasets() if f"raw.{name}" not in locations]
    if not missing:
        return None
    return (
        f"no batch was processed yet of {', '.join(f'`{name}`' for name in missing)}; ingest and process some"
    )


def _result(
    project: Project, plan: _Plan | None, report: DbtReport | None, started: float
) -> TransformResult:
    """What the candidate in its place is; without a plan nothing was done."""
    done = report or DbtReport(())
    return TransformResult(
        candidate=str(project.candidate),
        candidate_id=batches.contents(project.candidate).candidate_id,
        changed=plan is not None,
        full_refresh=plan.full_refresh if plan else None,
        new_batches=_by_dataset(plan.to_transform) if plan else {},
        built=sum(not result.is_test for result in done.of("success")),
        tests_passed=len(done.of("pass")),
        warnings=tuple(f"{result.name}: {result.message}" for result in done.of("warn")),
        rows=batches.mart_rows(project.candidate),
        seconds=round(time.perf_counter() - started, 3),
    )


def _built(node: NodeResult) -> dict[str, str | None]:
    """What a run keeps of a model or seed that dbt built."""
    return {"name": node.relation, "started_at": node.started_at, "finished_at": node.finished_at}


def _by_dataset(of: frozenset[Batch]) -> dict[str, int]:
    return dict(sorted(Counter(batch.dataset for batch in of).items()))


def _project_hash(folder: Path) -> str:
    """SHA-256 over the names and contents of the dbt project's files, hex."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix not in PROJECT_FILES or WRITTEN_BY_DBT & set(inside.parts) or not path.is_file():
            continue
        content = path.read_bytes()
        digest.update(f"{inside.as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
