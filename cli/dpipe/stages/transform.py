"""Transform: dbt builds the star from the lake into a candidate that nobody reads until it is published.

The candidate is a copy of the published marts with the batches merged in that the ledger has and they do not. It is
the candidate when dbt and all its tests succeeded.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dpipe import output
from dpipe.contract import contract_for
from dpipe.errors import DpipeError, UsageError
from dpipe.iceberg.catalog import are_there, metadata_locations
from dpipe.stages import unfinished
from dpipe.stages.locks import held
from dpipe.stages.targets import opened
from dpipe.state import runs
from dpipe.state.usage import Moved
from dpipe.warehouse import batches, selection
from dpipe.warehouse.dbt_results import DbtReport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dpipe.settings import Project
    from dpipe.state import Run
    from dpipe.warehouse.batches import Batch, Contents
    from dpipe.warehouse.dbt_results import NodeResult
    from dpipe.warehouse.target import Target

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
    """What is built: upon what is published, `base` by its id, or everything anew, and why."""

    locations: Mapping[str, str]
    to_transform: frozenset[Batch]
    full_refresh: str | None
    base: str | None

    def describe(self) -> str:
        """What is built, in words."""
        if self.full_refresh:
            return f"building everything ({self.full_refresh})"
        return "adding to the published marts"


@dataclass(frozen=True)
class TransformTrial:
    """Models that were built and tested in `database` for somebody to look at; no candidate."""

    database: str
    full_refresh: str | None
    built: tuple[str, ...]
    tests_passed: int
    warnings: tuple[str, ...]
    seconds: float


def transform(
    project: Project,
    *,
    full_refresh: bool = False,
    unit_tests: bool = False,
    retry: bool = False,
    run: Run,
) -> TransformResult:
    """Build the candidate from the batches committed since the published one, or all with `full_refresh`.

    `unit_tests` runs dbt's unit tests too. Everything is also built anew when the dbt project changed or the
    published marts hold batches that the ledger does not. Does nothing when the candidate has every batch
    already. With `retry` the build that failed last is gone on with, of the same batches, where it failed.

    Raises `UsageError` without a processed batch or with nothing to go on with, `ConfigError` when a model can't be
    built, `DataError` when one of its tests fails; the candidate that was there before then stays.
    """
    started_at, started = datetime.now(UTC), time.perf_counter()
    loading = timedelta()
    with held(project, WAREHOUSE_LOCK) as lock, opened(project) as target:
        lake = _look(project)
        files = _project_files(project.transform)
        project_hash = _hash(files)
        plan = report = None
        if retry:
            plan, report = _go_on(project, target, files, lock=lock)
        elif full_refresh or unit_tests or not _is_current(target.contents(), lake.ledger, project_hash):
            plan = _plan(project, target, lake, project_hash, full_refresh=full_refresh)
            unfinished.forget(target.folder)
            loading = _load(target, plan.locations, run, started_at)
            report = _build(project, target, plan, files, unit_tests=unit_tests, lock=lock)
        if plan is not None:
            target.finish(project_hash, run.run_id)
            unfinished.forget(target.folder)
        result = _result(target, plan, report, started)
        of_target, size = (target.detail(), target.candidate_bytes()) if result.changed else ({}, 0)
    detail = {key: value for key, value in asdict(result).items() if key != "seconds"}
    detail |= {"target": project.settings.target, **of_target}
    detail["models"] = [_built(one) for one in report.of("success") if not one.is_test] if report else []
    moved = Moved(written=size)
    seconds = round(max(result.seconds - loading.total_seconds(), 0.0), 3)
    runs.add_stage(
        run, "transform", started_at=started_at + loading, seconds=seconds, detail=detail, moved=moved
    )
    return result


def preview(project: Project, *, full_refresh: bool = False) -> TransformPreview:
    """What `transform` would do now. Raises `UsageError` without a processed batch."""
    lake = _look(project)
    project_hash = _hash(_project_files(project.transform))
    with opened(project) as target:
        if not full_refresh and _is_current(target.contents(), lake.ledger, project_hash):
            return TransformPreview(changed=False, full_refresh=None, new_batches={}, selected=())
        plan = _plan(project, target, lake, project_hash, full_refresh=full_refresh)
        names = _needed(target, plan, project_hash)
    return TransformPreview(
        changed=True,
        full_refresh=plan.full_refresh,
        new_batches=_by_dataset(plan.to_transform),
        selected=tuple(names) if names else None,
    )


def try_models(project: Project, select: Sequence[str], *, full_refresh: bool = False) -> TransformTrial:
    """Build and test the models that dbt's selectors name as `transform` would, and leave the candidate as it is.

    They are built upon what is published, with the views and seeds that they need. Raises as `transform` does.
    """
    started = time.perf_counter()
    with held(project, WAREHOUSE_LOCK) as lock, opened(project) as target:
        plan = _plan(
            project,
            target,
            _look(project),
            _hash(_project_files(project.transform)),
            full_refresh=full_refresh,
        )
        unfinished.forget(target.folder)
        target.load(plan.locations)
        target.begin(plan.to_transform, upon_published=plan.full_refresh is None)
        # What is published has neither.
        needed = [
            f"+{one},{kind}" for one in select for kind in ("config.materialized:view", "resource_type:seed")
        ]
        # Of tests those that look at nothing else.
        command = [*BUILD, "--select", *select, *needed, "--indirect-selection", "cautious"]
        report = target.run_dbt(command, lock=lock)
        target.raise_for_failures(report, hint=_missing_tables(project, plan.locations))
        if not report.results:
            named = ", ".join(f"`{one}`" for one in select)
            raise UsageError(
                f"dbt selects nothing by {named}",
                hint="name models as their files are called, e.g. `fct_flights`",
            )
        return TransformTrial(
            database=target.build,
            full_refresh=plan.full_refresh,
            built=tuple(one.relation or one.name for one in report.of("success") if not one.is_test),
            tests_passed=len(report.of("pass")),
            warnings=_warnings(report),
            seconds=round(time.perf_counter() - started, 3),
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


def _plan(project: Project, target: Target, lake: _Lake, project_hash: str, *, full_refresh: bool) -> _Plan:
    published = target.published_contents()
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
        return _Plan(lake.locations, lake.ledger - published.batches, None, published.candidate_id)
    return _Plan(lake.locations, lake.ledger, reason, None)


def _overwritten(project: Project, new: frozenset[Batch]) -> str | None:
    """A dataset of which rows left without others with their keys, so that an incremental model would keep them."""
    candidates = sorted({batch.dataset for batch in new if batch.superseded}.intersection(project.datasets()))
    modes = {name: contract_for(project, name).plan.write_mode for name in candidates}
    return next((name for name, mode in modes.items() if mode == "overwrite_partition"), None)


def _load(target: Target, locations: Mapping[str, str], run: Run, started_at: datetime) -> timedelta:
    """Have the target see the lake, and how long it took until then where that is a stage of its own.

    What was copied stays, whatever becomes of the build, and the next load says nothing of it.
    """
    try:
        target.load(locations)
    finally:
        detail = target.loaded()
        took = datetime.now(UTC) - started_at if detail is not None else timedelta()
        if detail is not None:
            seconds = round(took.total_seconds(), 3)
            runs.add_stage(run, "load", started_at=started_at, seconds=seconds, detail=detail)
    return took


def _build(
    project: Project, target: Target, plan: _Plan, files: Mapping[str, str], *, unit_tests: bool, lock: int
) -> DbtReport:
    target.begin(plan.to_transform, upon_published=plan.full_refresh is None)
    names = _needed(target, plan, _hash(files))
    named = ", ".join(f"{name} {count}" for name, count in _by_dataset(plan.to_transform).items()) or "none"
    output.note(f"transform: {plan.describe()}; batches to take in: {named}")
    build = [*BUILD, *(["--full-refresh"] if plan.full_refresh else [])]
    if names:
        build += ["--select", *names, "--indirect-selection", "empty"]
    report = _run(project, target, plan, build, files=files, unit_tests=unit_tests, lock=lock)
    return _with_unit_tests(report, project, target, plan, files, lock=lock) if unit_tests else report


def _go_on(
    project: Project, target: Target, files: Mapping[str, str], *, lock: int
) -> tuple[_Plan, DbtReport]:
    """Build what is left of the build that failed, from the lake as it was then."""
    published = target.published_contents()
    left = unfinished.read(target.folder, published.candidate_id if published else None).mended(files)
    if not are_there(project, left.locations):
        raise UsageError("the lake as it was when the build failed is gone", hint=unfinished.AFRESH)
    plan = _Plan(left.locations, left.to_transform, left.reason, left.base)
    output.note(f"transform: going on with the build that failed; left: {', '.join(left.left)}")
    # Before dbt builds anything of the project as it is now.
    unfinished.keep(target.folder, left)
    refresh = ["--full-refresh"] if plan.full_refresh else []
    command = [*BUILD, *refresh, "--select", *left.left, "--indirect-selection", "empty"]
    report = _run(project, target, plan, command, files=files, unit_tests=left.unit_tests, lock=lock)
    manifest = target.folder.manifest(_hash(files)) or {"nodes": {}, "child_map": {}}
    if unfinished.relations(unfinished.nodes_of(manifest)) != unfinished.relations(left.nodes):
        raise UsageError("a model builds another table than before", hint=unfinished.AFRESH)
    if left.unit_tests:
        report = _with_unit_tests(report, project, target, plan, files, lock=lock)
    return plan, report


def _with_unit_tests(
    report: DbtReport, project: Project, target: Target, plan: _Plan, files: Mapping[str, str], *, lock: int
) -> DbtReport:
    tested = _run(project, target, plan, UNIT_TESTS, files=files, unit_tests=True, lock=lock)
    return DbtReport((*report.results, *tested.results))


def _run(
    project: Project,
    target: Target,
    plan: _Plan,
    command: Sequence[str],
    *,
    files: Mapping[str, str],
    unit_tests: bool,
    lock: int,
) -> DbtReport:
    """Run dbt on the whole build; what failed is raised, and what is left then kept to be gone on with."""
    with target.folder.parsing(_hash(files)):
        report = target.run_dbt(command, lock=lock)
    try:
        target.raise_for_failures(report, hint=_missing_tables(project, plan.locations))
    except DpipeError:
        left = unfinished.left_of(report)
        manifest = target.folder.manifest(_hash(files))
        if left and manifest is not None:
            nodes = unfinished.nodes_of(manifest)
            made_of = (plan.base, plan.full_refresh, unit_tests, plan.locations, plan.to_transform)
            unfinished.keep(target.folder, unfinished.Unfinished(files, nodes, *made_of, left))
            if plan.base is None:
                output.note("transform: when it is mended, `dpipe transform --retry` goes on from there")
        raise
    return report


def _needed(target: Target, plan: _Plan, project_hash: str) -> list[str]:
    """What is made of the new batches, by dbt's names; none stands for all, when dbt has yet to read the project."""
    if plan.full_refresh is not None:
        return []
    manifest = target.folder.manifest(project_hash)
    if manifest is None:
        return []
    return selection.needed(
        manifest, {batch.dataset for batch in plan.to_transform}, target.published_tables()
    )


def _missing_tables(project: Project, locations: Mapping[str, str]) -> str | None:
    """Advice when a dataset has a contract and no table: a model that reads it can't be built."""
    missing = [name for name in project.datasets() if f"raw.{name}" not in locations]
    if not missing:
        return None
    return (
        f"no batch was processed yet of {', '.join(f'`{name}`' for name in missing)}; ingest and process some"
    )


def _result(target: Target, plan: _Plan | None, report: DbtReport | None, started: float) -> TransformResult:
    """What the candidate is; without a plan nothing was done."""
    done = report or DbtReport(())
    contents = target.contents()
    return TransformResult(
        candidate=target.candidate,
        candidate_id=contents.candidate_id if contents else "",
        changed=plan is not None,
        full_refresh=plan.full_refresh if plan else None,
        new_batches=_by_dataset(plan.to_transform) if plan else {},
        built=sum(not result.is_test for result in done.of("success")),
        tests_passed=len(done.of("pass")),
        warnings=_warnings(done),
        rows=target.mart_rows(),
        seconds=round(time.perf_counter() - started, 3),
    )


def _warnings(report: DbtReport) -> tuple[str, ...]:
    return tuple(f"{result.name}: {result.message}" for result in report.of("warn"))


def _built(node: NodeResult) -> dict[str, str | None]:
    """What a run keeps of a model or seed that dbt built."""
    return {"name": node.relation, "started_at": node.started_at, "finished_at": node.finished_at}


def _by_dataset(of: frozenset[Batch]) -> dict[str, int]:
    return dict(sorted(Counter(batch.dataset for batch in of).items()))


def _project_files(folder: Path) -> dict[str, str]:
    """The dbt project's files with their SHA-256, hex."""
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix not in PROJECT_FILES or WRITTEN_BY_DBT & set(inside.parts) or not path.is_file():
            continue
        found[inside.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _hash(files: Mapping[str, str]) -> str:
    """SHA-256 over the names and contents of the dbt project's files, hex."""
    digest = hashlib.sha256()
    for path, content in files.items():
        digest.update(f"{path}\0{content}\0".encode())
    return digest.hexdigest()
