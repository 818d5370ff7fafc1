"""`dpipe run`: the whole path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag, open_project

if TYPE_CHECKING:
    from dpipe.settings import Project
    from dpipe.stages.run import RunReport


def run(
    ctx: typer.Context,
    batch_size: Annotated[int | None, typer.Option(help="Records held at a time.")] = None,
    threads: Annotated[int | None, typer.Option(help="Kernel threads; 0 means every core.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Take the files under `sources` all the way: ingest, process, validate, transform, validate, publish.

    Can be run again at any time: what is done already is not done twice. Ends with exit code 1 when the gate refused a
    batch or a check failed; marts that fail a check are not published.

    Example: `dpipe run --json`
    """
    from dpipe.stages.run import run_all
    from dpipe.state import runs

    project = open_project(ctx, batch_size=batch_size, threads=threads)
    with runs.recorded(project, "run") as recorded:
        report, problem = run_all(
            project, run=recorded, on_stage=lambda stage: output.note(f"dpipe run: {stage} …")
        )
        if as_json:
            output.emit_json(report)
        else:
            _print(report, project)
        if problem:
            raise problem


def _print(report: RunReport, project: Project) -> None:
    output.table(
        ["dataset", "batches", "records in", "accepted", "rejected", "duplicate", "seconds"],
        [
            (
                done.dataset,
                done.batches,
                done.records_in,
                done.accepted,
                done.rejected,
                done.duplicate,
                done.seconds,
            )
            for done in report.datasets
        ],
        title="records in = accepted + rejected + duplicate",
    )
    if not any(done.batches for done in report.datasets):
        output.emit("no new batch: everything under `sources` was processed before")
    checks = ", ".join(f"{layer} {count}" for layer, count in report.checks.items())
    output.emit(f"checks passed: {checks or 'none'}")
    output.emit("seconds: " + ", ".join(f"{stage} {took:.1f}" for stage, took in report.seconds.items()))
    if report.published:
        rows = ", ".join(f"{mart} {count:,}" for mart, count in report.published.rows.items())
        output.emit(f"marts: {rows}")
        output.emit(f"published: {project.marts}")
        output.emit("look:      dpipe dash · dpipe batches list · dpipe quarantine list")
    else:
        output.emit("not published")
