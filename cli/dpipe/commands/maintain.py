"""`dpipe maintain`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag, dataset_names, duration, open_project
from dpipe.errors import UsageError

LEAST_KEPT = timedelta(hours=1)


def maintain(
    ctx: typer.Context,
    datasets: Annotated[
        list[str] | None, typer.Argument(help="Datasets; all when left out", autocompletion=dataset_names)
    ] = None,
    keep: Annotated[
        timedelta,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            help="How far back tables stay readable: `12h`, `5d`; 1h at least.",
        ),
    ] = "5d",  # type: ignore[assignment] # typer parses the default, too
    target_mb: Annotated[
        int, typer.Option(min=1, max=4096, help="Size that compacted files are to have.")
    ] = 128,
    min_files: Annotated[
        int, typer.Option(min=2, help="Small files in a partition that are worth compacting.")
    ] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Compact small files, give up old history and delete files that nothing needs any more.

    Rows stay as they are, and writers and readers may go on meanwhile. Files younger than a day are never deleted.
    Jobs of the API that are over are forgotten after the setting `job_retention_days`.

    Example: `dpipe maintain --dry-run`
    """
    from dpipe.iceberg.compaction import Target
    from dpipe.stages.maintain import described
    from dpipe.stages.maintain import maintain as maintain_stage
    from dpipe.state import runs

    if keep < LEAST_KEPT:
        raise UsageError(
            "`--keep` is shorter than an hour, so that whoever reads the tables now could lose what they read",
            hint="keep an hour or more, e.g. `--keep 1h`",
        )
    project = open_project(ctx)
    target = Target(target_mb << 20, min_files)
    with runs.recorded(project, "maintain") as run:
        found = maintain_stage(project, datasets, target=target, keep=keep, run=run, dry_run=dry_run)
    if as_json:
        output.emit_json([asdict(upkeep) for upkeep in found])
        return
    for upkeep in found:
        said = "; ".join(described(upkeep)) or "nothing to do"
        output.emit(f"{upkeep.table}: {said}")
    if dry_run:
        output.note("nothing was changed")
