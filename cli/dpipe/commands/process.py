"""`dpipe process`: from landing into the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag, dataset_names, open_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpipe.stages.process import ProcessResult


def process(
    ctx: typer.Context,
    datasets: Annotated[
        list[str] | None, typer.Argument(help="Datasets; all when left out", autocompletion=dataset_names)
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Records held at a time.")] = None,
    threads: Annotated[int | None, typer.Option(help="Kernel threads; 0 means every core.")] = None,
    retry_refused: Annotated[
        bool, typer.Option("--retry-refused", help="Take batches again that the gate refused earlier.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check landed batches and commit them to `raw` and `quarantine`. Committed batches are left alone.

    Ends with exit code 1 when the gate refused a batch; the others are committed all the same.

    Example: `dpipe process flights --json`
    """
    from dpipe.lineage import recorded
    from dpipe.stages.process import check_refused
    from dpipe.stages.process import process as stage

    project = open_project(ctx, batch_size=batch_size, threads=threads)
    with recorded(project, "process") as run:
        results = stage(project, datasets, run=run, retry_refused=retry_refused)
        if as_json:
            output.emit_json({"run_id": run.run_id, "datasets": results})
        else:
            _print(results)
        refusals = [refusal for result in results for refusal in result.refused]
        check_refused(refusals, "mend the data or the contract, then `dpipe process --retry-refused`")


def _print(results: Sequence[ProcessResult]) -> None:
    output.table(
        [
            "dataset",
            "batches",
            "records in",
            "accepted",
            "rejected",
            "duplicate",
            "superseded",
            "refused batches",
            "seconds",
        ],
        [
            (
                result.dataset,
                result.batches,
                result.records_in,
                result.accepted,
                result.rejected,
                result.duplicate,
                result.superseded,
                len(result.refused),
                result.seconds,
            )
            for result in results
        ],
    )
    left = sum(result.still_refused for result in results)
    if left:
        output.note(f"{left} batch(es) refused earlier were left alone; `dpipe batches list` shows them")
