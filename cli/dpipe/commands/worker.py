"""`dpipe worker`: what lands is processed until it is told to stop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dpipe import output
from dpipe.context import dataset_names, open_project

if TYPE_CHECKING:
    from dpipe.stages.worker.turns import Round


def worker(
    ctx: typer.Context,
    datasets: Annotated[
        list[str] | None,
        typer.Argument(help="Datasets; all that have a contract when left out", autocompletion=dataset_names),
    ] = None,
    poll: Annotated[
        float, typer.Option(min=0.01, metavar="SECONDS", help="How often to look for what has landed.")
    ] = 1.0,
    transform_every: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Publish marts after commits, this far apart or more; never by default.",
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Do what there is to do now, then end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each round that did something.")
    ] = False,
) -> None:
    """Process whatever lands, until SIGTERM or Ctrl-C: what is being committed is finished, then it ends with code 0.

    Streams that feed its datasets are consumed meanwhile.

    An outage or a broken contract doesn't end it: it says so and tries again. Several may run at once.

    Example: `dpipe worker --transform-every 60 --json`
    """
    from dpipe.stages.worker.stop import Stop

    stop = Stop()
    with stop.listening():  # before the imports, which take a second
        from dpipe.stages.worker.work import work

        work(
            open_project(ctx),
            datasets or (),
            stop=stop,
            poll=poll,
            transform_every=transform_every,
            once=once,
            on_round=print_round_json if as_json else print_round,
        )


def print_round_json(done: Round) -> None:
    """A round as a line of JSON."""
    marts = done.marts
    output.emit_json_line(
        {
            "run_id": done.run_id,
            "landed": done.landed,
            "datasets": done.datasets,
            "published": marts and marts.published,
            "freshness": marts and marts.freshness,
            "problems": done.problems,
            "seconds": done.seconds,
        }
    )


def print_round(done: Round) -> None:
    """A round in words, for people."""
    if done.landed:
        output.emit(f"landed: {done.landed:,} file(s)")
    for result in done.datasets:
        output.emit(f"{result.dataset}: {result.describe()}, in {result.seconds:.1f} s")
    if done.marts is not None and done.marts.published is not None:
        output.emit(f"marts: published in {done.marts.published.path}")
        if done.marts.freshness is not None:
            output.emit(done.marts.freshness.describe())
    sys.stdout.flush()
