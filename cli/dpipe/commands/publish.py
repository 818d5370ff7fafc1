"""`dpipe publish`."""

from __future__ import annotations

import typer  # noqa: TC002 - typer reads the annotations when it runs

from dpipe import output
from dpipe.context import JsonFlag, TargetOption, open_project


def publish(ctx: typer.Context, target: TargetOption = None, as_json: JsonFlag = False) -> None:
    """Put the validated candidate in the place of the published marts, while readers read on.

    Example: `dpipe publish --json`
    """
    from dpipe.lineage import recorded
    from dpipe.stages.publish import publish as stage

    project = open_project(ctx, target=target)
    with recorded(project, "publish") as run:
        result = stage(project, run=run)
    if as_json:
        output.emit_json(result)
    elif result.changed:
        output.table(("mart", "rows"), list(result.rows.items()))
        output.emit(f"published to `{result.path}`")
    else:
        output.emit("nothing new: this candidate is published already")
