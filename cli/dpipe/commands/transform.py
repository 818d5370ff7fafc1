"""`dpipe transform`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag, open_project

if TYPE_CHECKING:
    from dpipe.stages.transform import TransformResult


def transform(
    ctx: typer.Context,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Build everything anew, from every batch.")
    ] = False,
    unit_tests: Annotated[
        bool, typer.Option("--unit-tests", help="Run dbt's unit tests of the models too.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Build the marts with dbt into a candidate, from the batches that the published marts don't have yet.

    Example: `dpipe transform && dpipe validate && dpipe publish`
    """
    from dpipe.lineage import recorded
    from dpipe.stages.transform import transform as stage

    project = open_project(ctx)
    with recorded(project, "transform") as run:
        result = stage(project, full_refresh=full_refresh, unit_tests=unit_tests, run=run)
    if as_json:
        output.emit_json(result)
    else:
        _print(result)


def _print(result: TransformResult) -> None:
    for warning in result.warnings:
        output.warn(warning)
    if not result.changed:
        output.emit("nothing new: the candidate has every batch already")
        return
    output.table(("mart", "rows"), list(result.rows.items()))
    output.emit(
        f"built {result.built} models and seeds, {result.tests_passed} tests passed, in {result.seconds:.1f} s"
    )
    output.note("next: dpipe validate && dpipe publish")
