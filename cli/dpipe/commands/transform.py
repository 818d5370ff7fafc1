"""`dpipe transform`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag, TargetOption, open_project
from dpipe.errors import UsageError

if TYPE_CHECKING:
    from dpipe.stages.transform import TransformPreview, TransformResult, TransformTrial

NOTHING_NEW = "nothing new: the candidate has every batch already"


def transform(
    ctx: typer.Context,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Build everything anew, from every batch.")
    ] = False,
    unit_tests: Annotated[
        bool, typer.Option("--unit-tests", help="Run dbt's unit tests of the models too.")
    ] = False,
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select", metavar="MODEL", help="Try only these models, by dbt's selectors: no candidate."
        ),
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Go on with the build that failed, where it failed.")
    ] = False,
    target: TargetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be built, and build nothing.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Build the marts with dbt into a candidate, from the batches that the published marts don't have yet.

    Of the models those that are made of these batches' datasets are built, and what is published doesn't have. With
    `--select` models are built and tested for you to look at; the candidate stays as it is.

    Example: `dpipe transform && dpipe validate && dpipe publish`
    """
    from dpipe.lineage import recorded
    from dpipe.stages.transform import preview, try_models
    from dpipe.stages.transform import transform as stage

    if sum((retry, bool(select), dry_run)) > 1 or (retry and full_refresh):
        raise UsageError(
            "`--retry`, `--select` and `--dry-run` don't go together, nor `--retry` and `--full-refresh`",
            hint="leave one out",
        )
    if unit_tests and (retry or select or dry_run):
        raise UsageError(
            "`--unit-tests` is for a whole build; one that is gone on with runs those that it was begun with",
            hint="leave it out",
        )
    project = open_project(ctx, target=target)
    if select:
        trial = try_models(project, select, full_refresh=full_refresh)
        if as_json:
            output.emit_json(trial)
        else:
            _print_trial(trial)
        return
    if dry_run:
        found = preview(project, full_refresh=full_refresh)
        if as_json:
            output.emit_json(found)
        else:
            _print_preview(found)
        return
    with recorded(project, "transform") as run:
        result = stage(project, full_refresh=full_refresh, unit_tests=unit_tests, retry=retry, run=run)
    if as_json:
        output.emit_json(result)
    else:
        _print(result, validates=project.settings.target == "duckdb")


def _print_preview(found: TransformPreview) -> None:
    if not found.changed:
        output.emit(NOTHING_NEW)
        return
    output.emit(f"everything: {found.full_refresh}" if found.full_refresh else "added to the published marts")
    for dataset, count in found.new_batches.items():
        output.emit(f"batches: {dataset} {count:,}")
    for name in found.selected or ():
        output.emit(f"dbt: {name}")
    if found.selected is None and not found.full_refresh:
        output.emit("dbt: everything, since it has yet to read the project")


def _print_trial(trial: TransformTrial) -> None:
    for warning in trial.warnings:
        output.warn(warning)
    for name in trial.built:
        output.emit(f"built: {name}")
    output.emit(
        f"{trial.tests_passed} tests passed, in {trial.seconds:.1f} s; look at them in `{trial.database}`"
    )


def _print(result: TransformResult, *, validates: bool) -> None:
    for warning in result.warnings:
        output.warn(warning)
    if not result.changed:
        output.emit(NOTHING_NEW)
        return
    output.table(("mart", "rows"), list(result.rows.items()))
    output.emit(
        f"built {result.built} models and seeds, {result.tests_passed} tests passed, in {result.seconds:.1f} s"
    )
    output.note(f"next: {'dpipe validate && ' if validates else ''}dpipe publish")
