"""`dpipe batches`: what has landed and what became of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from dpipe import output
from dpipe.context import AsOfOption, JsonFlag, ReasonOption, dataset_names, given_reason, open_project

app = typer.Typer(
    help="Batches: landed, being processed, committed, refused or dropped.", no_args_is_help=True
)


@app.command("list")
def list_batches(
    ctx: typer.Context,
    dataset: Annotated[
        str | None, typer.Argument(help="Dataset; all when left out", autocompletion=dataset_names)
    ] = None,
    as_of: AsOfOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List batches with their state and counts, in the order they came.

    Example: `dpipe batches list flights`
    """
    from dpipe.contract import contract_path
    from dpipe.stages.batches import batches

    project = open_project(ctx)
    if dataset is not None:
        contract_path(project, dataset)
    found = batches(project, dataset, as_of=as_of)
    if as_json:
        output.emit_json([asdict(batch) for batch in found])
        return
    output.table(
        ["dataset", "batch", "state", "file", "bytes", "records in", "accepted", "rejected", "duplicate"],
        [
            (
                batch.dataset,
                batch.batch_id,
                batch.state,
                batch.name,
                batch.bytes,
                batch.records_in,
                batch.accepted,
                batch.rejected,
                batch.duplicate,
            )
            for batch in found
        ],
    )


@app.command()
def release(
    ctx: typer.Context,
    batch: Annotated[str, typer.Argument(help="Id of the batch, or its beginning")],
    reason: ReasonOption,
    as_json: JsonFlag = False,
) -> None:
    """Commit a refused batch as it is, whatever the gate says. The reason is in the ledger for good.

    Example: `dpipe batches release file-3fa9 --reason "a holiday: so few flights are right"`
    """
    from dpipe.lineage import recorded
    from dpipe.stages.process import check_refused
    from dpipe.stages.refusals import release as stage

    project, why = open_project(ctx), given_reason(reason)
    with recorded(project, "batches release") as run:
        result = stage(project, batch, reason=why, run=run)
        if as_json:
            output.emit_json(result)
        else:
            output.emit(result.describe())
        check_refused(result.refused, "what could be committed is")


@app.command()
def drop(
    ctx: typer.Context,
    batch: Annotated[str, typer.Argument(help="Id of the batch, or its beginning")],
    reason: ReasonOption,
    as_json: JsonFlag = False,
) -> None:
    """Leave a refused batch alone for good: no later run takes it. Its landed bytes stay.

    Example: `dpipe batches drop file-3fa9 --reason "delivered by mistake"`
    """
    from dpipe.stages.refusals import drop as stage
    from dpipe.state import runs

    project, why = open_project(ctx), given_reason(reason)
    with runs.recorded(project, "batches drop") as run:
        dropped = stage(project, batch, reason=why, run=run)
    if as_json:
        output.emit_json(dropped)
    else:
        output.emit(f"`{dropped.batch_id}` of `{dropped.dataset}` is dropped")


@app.command()
def show(
    ctx: typer.Context,
    batch: Annotated[str, typer.Argument(help="Id of the batch, or its beginning")],
    as_json: JsonFlag = False,
) -> None:
    """Show all that is known of one batch: where it came from, its counts, what broke, its files.

    Example: `dpipe batches show file-3fa9`
    """
    from dpipe.stages.batches import find_batch

    found = find_batch(open_project(ctx), batch)
    if as_json:
        output.emit_json(found)
        return
    for name, value in asdict(found).items():
        if isinstance(value, (list, tuple)):
            output.emit(f"{name}:")
            for item in value:
                shown = item.values() if isinstance(item, dict) else [item]
                output.emit("  " + "  ".join(str(part) for part in shown if part is not None))
        elif value is not None:
            output.emit(f"{name}: {value}")
