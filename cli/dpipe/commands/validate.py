"""`dpipe validate`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag, open_project

if TYPE_CHECKING:
    from dpipe.quality import ValidationReport


class LayerName(StrEnum):
    """The layers that can be validated, in the order of a record's path."""

    raw = "raw"
    staging = "staging"
    marts = "marts"


def validate(
    ctx: typer.Context,
    layer: Annotated[
        list[LayerName] | None,
        typer.Option(help="A layer, more by repeating it; all that are there when left out."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check the raw tables against their contracts, and staging and marts by the suites in `checks/`.

    Ends with exit code 1 when a rule of severity error is broken, 2 when a check could not run.

    Example: `dpipe validate --layer marts`
    """
    from dpipe.lineage import recorded
    from dpipe.stages.validate import validate as stage

    project = open_project(ctx)
    output.note("validate: loading Great Expectations takes some seconds")
    with recorded(project, "validate") as run:
        report = stage(project, [name.value for name in layer] if layer else None, run=run)
        if as_json:
            output.emit_json(report)
        else:
            _print(report)
        problem = report.problem()
        if problem is not None:
            raise problem


def _print(report: ValidationReport) -> None:
    from dpipe.quality.text import lines

    for line in lines(report):
        output.emit(line)
