"""`dpipe ingest`: take files into landing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag, dataset_names, open_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpipe.landing import Landed


def ingest(
    ctx: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Argument(help="Dataset; every one under `sources` when left out", autocompletion=dataset_names),
    ] = None,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files; those under `sources` when left out")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Copy files into landing, unchanged. A file that has landed before is not landed again.

    Example: `dpipe ingest flights data/flights.csv.zip`
    """
    from dpipe.errors import UsageError
    from dpipe.stages.ingest import ingest as stage
    from dpipe.stages.ingest import source_files
    from dpipe.state import runs

    project = open_project(ctx)
    names = [dataset] if dataset else list(project.settings.sources)
    if not names:
        raise UsageError(
            "the settings name no sources", hint="name a dataset and files: `dpipe ingest DATASET FILE…`"
        )
    wanted = {name: files or source_files(project, name) for name in names}
    with runs.recorded(project, "ingest") as run:
        landed = [batch for name, paths in wanted.items() for batch in stage(project, name, paths, run)]
    if as_json:
        output.emit_json({"run_id": run.run_id, "batches": landed})
    else:
        _print(landed)


def _print(landed: Sequence[Landed]) -> None:
    output.table(
        ["dataset", "batch", "file", "bytes", ""],
        [
            (
                batch.manifest.dataset,
                batch.manifest.batch_id,
                batch.manifest.name,
                batch.manifest.bytes,
                "landed before" if batch.already else "landed",
            )
            for batch in landed
        ],
    )
