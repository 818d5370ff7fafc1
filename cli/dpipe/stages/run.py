"""Run: the whole path, from the files that the settings name to published marts."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpipe.errors import DataError, UsageError
from dpipe.stages.ingest import ingest, source_files
from dpipe.stages.process import process
from dpipe.stages.publish import publish
from dpipe.stages.transform import transform
from dpipe.stages.validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dpipe.errors import DpipeError
    from dpipe.quality.model import ValidationReport
    from dpipe.settings import Project
    from dpipe.stages.process import ProcessResult
    from dpipe.stages.publish import PublishResult
    from dpipe.stages.transform import TransformResult
    from dpipe.state import Run


@dataclass(frozen=True)
class RunReport:
    """What became of the records in this run, and how long each stage took.

    `seconds` is by stage, with `total`; `checks` counts passed checks by layer, `published` is None when a check or the
    gate stood in the way, and `problem` says which.
    """

    run_id: str
    datasets: list[ProcessResult]
    checks: dict[str, int]
    transformed: TransformResult | None
    published: PublishResult | None
    seconds: dict[str, float]
    problem: str | None


@dataclass
class Progress:
    """What is known so far; the report is made of it however the run ends."""

    run: Run
    seconds: dict[str, float]
    datasets: list[ProcessResult]
    checks: dict[str, int]
    transformed: TransformResult | None = None
    published: PublishResult | None = None

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the block's seconds for a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - started, 3)


def run_all(
    project: Project, *, run: Run, on_stage: Callable[[str], None]
) -> tuple[RunReport, DpipeError | None]:
    """Take the files under `sources` through every stage; `on_stage` hears the name of each as it begins.

    A batch that the gate refuses holds up no other batch; a check that fails keeps the candidate from being published.
    Either comes back as the error to raise once the report is printed. Raises `UsageError` when the settings name no
    sources, and whatever stops a stage.
    """
    names = source_names(project)
    progress = Progress(run, {}, [], {})
    started = time.perf_counter()
    problem = _stages(project, names, progress, on_stage)
    progress.seconds["total"] = round(time.perf_counter() - started, 3)
    report = RunReport(
        run_id=run.run_id,
        datasets=progress.datasets,
        checks=progress.checks,
        transformed=progress.transformed,
        published=progress.published,
        seconds=progress.seconds,
        problem=problem.message if problem else None,
    )
    return report, problem


def source_names(project: Project) -> list[str]:
    """Datasets that the setting `sources` names. Raises `UsageError` when it names none."""
    names = list(project.settings.sources)
    if not names:
        raise UsageError(
            "the settings name no sources",
            hint=f"add them to `{project.root / 'configs' / 'dpipe.yaml'}`; `dpipe contract infer FILE… --write` does",
        )
    return names


def _stages(
    project: Project, names: list[str], progress: Progress, on_stage: Callable[[str], None]
) -> DpipeError | None:
    run = progress.run
    on_stage("ingest")
    with progress.timed("ingest"):
        files = {name: source_files(project, name) for name in names}
        for name, paths in files.items():
            ingest(project, name, paths, run)
    on_stage("process")
    with progress.timed("process"):
        progress.datasets += process(project, names, run=run)
    refused = _refusals(progress.datasets)
    problem = build_checked(project, progress, on_stage)
    if problem:
        return problem
    on_stage("publish")
    with progress.timed("publish"):
        progress.published = publish(project, run=run)
    return refused


def build_checked(project: Project, progress: Progress, on_stage: Callable[[str], None]) -> DpipeError | None:
    """Check the raw tables, then build and check the candidate; the first check that fails comes back as an error."""
    on_stage("validate raw")
    with progress.timed("validate"):
        problem = _count(validate(project, ["raw"], run=progress.run), progress)
    return problem or build_candidate(project, progress, on_stage)


def build_candidate(
    project: Project, progress: Progress, on_stage: Callable[[str], None]
) -> DpipeError | None:
    """Transform, and check the candidate; a check that fails comes back as an error, it must not be published then."""
    on_stage("transform")
    with progress.timed("transform"):
        progress.transformed = transform(project, run=progress.run)
    if project.settings.target != "duckdb":
        return None  # dbt's tests have checked it
    on_stage("validate marts")
    with progress.timed("validate"):
        return _count(validate(project, ["staging", "marts"], run=progress.run), progress)


def _count(report: ValidationReport, progress: Progress) -> DpipeError | None:
    for result in report.results:
        progress.checks[result.layer] = progress.checks.get(result.layer, 0) + (result.status == "passed")
    return report.problem()


def _refusals(results: list[ProcessResult]) -> DataError | None:
    refusals = [(result.dataset, refusal) for result in results for refusal in result.refused]
    if not refusals:
        return None
    dataset, first = refusals[0]
    more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
    return DataError(
        f"refused batch `{first.batch_id}` of `{dataset}`: {'; '.join(first.reasons)}{more}",
        hint=f"its files are in `{first.files}`; mend the data or the contract, then `dpipe process --retry-refused`",
    )
