"""`dpipe run`: the whole path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag, open_project

if TYPE_CHECKING:
    from dpipe.stages.run import RunReport

POLL_SECONDS = 1.0
TRANSFORM_EVERY_SECONDS = 10.0


def run(
    ctx: typer.Context,
    batch_size: Annotated[int | None, typer.Option(help="Records held at a time.")] = None,
    threads: Annotated[int | None, typer.Option(help="Kernel threads; 0 means every core.")] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", help="Go on with new files and whatever else lands, until SIGTERM or Ctrl-C."
        ),
    ] = False,
    poll: Annotated[
        float | None,
        typer.Option(
            min=0.01, metavar="SECONDS", help="With --follow: how often to look for files [default: 1]."
        ),
    ] = None,
    transform_every: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="With --follow: publish marts after commits, this far apart or more [default: 10].",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Take the files under `sources` all the way: ingest, process, validate, transform, validate, publish.

    Can be run again at any time: what is done already is not done twice. Ends with exit code 1 when the gate refused a
    batch or a check failed; marts that fail a check are not published. With `--follow` nothing of the kind ends it: it
    says so and goes on, as `dpipe worker` does, and `--json` prints a line for each round that did something.

    Example: `dpipe run --json`
    """
    if follow:
        _follow(ctx, batch_size, threads, poll, transform_every, as_json=as_json)
        return
    if poll is not None or transform_every is not None:
        from dpipe.errors import UsageError

        raise UsageError(
            "`--poll` and `--transform-every` are for `--follow`", hint="add `--follow`, or leave them out"
        )
    from dpipe.lineage import recorded
    from dpipe.stages.run import run_all

    project = open_project(ctx, batch_size=batch_size, threads=threads)
    with recorded(project, "run") as run_:
        report, problem = run_all(
            project, run=run_, on_stage=lambda stage: output.note(f"dpipe run: {stage} …")
        )
        if as_json:
            output.emit_json(report)
        else:
            _print(report)
        if problem:
            raise problem


def _follow(
    ctx: typer.Context,
    batch_size: int | None,
    threads: int | None,
    poll: float | None,
    transform_every: float | None,
    *,
    as_json: bool,
) -> None:
    from dpipe.stages.worker.stop import Stop

    stop = Stop()
    with stop.listening():  # before the imports, which take a second
        from dpipe.commands.worker import print_round, print_round_json
        from dpipe.stages.worker.work import follow

        follow(
            open_project(ctx, batch_size=batch_size, threads=threads),
            stop=stop,
            poll=POLL_SECONDS if poll is None else poll,
            transform_every=TRANSFORM_EVERY_SECONDS if transform_every is None else transform_every,
            on_round=print_round_json if as_json else print_round,
        )


def _print(report: RunReport) -> None:
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
        output.emit(f"marts: {rows or 'none; models of them go to transform/models/marts'}")
        output.emit(f"published: {report.published.path}")
        output.emit("look:      dpipe dash · dpipe batches list · dpipe quarantine list")
    else:
        output.emit("not published")
