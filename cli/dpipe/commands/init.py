"""`dpipe init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag


def init(
    folder: Annotated[Path, typer.Argument(help="The new project's folder; it must be missing or empty.")],
    empty: Annotated[
        bool, typer.Option("--empty", help="Without datasets: no contracts, models, checks or data.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a new project with contracts, models, checks, pages, a DAG and sample data.

    With --empty it has no datasets: they come with `dpipe contract infer FILE… --write`.

    Example: `dpipe init shop && cd shop && dpipe run`
    """
    from dpipe.stages.init import init as stage

    made = stage(folder, empty=empty)
    if as_json:
        output.emit_json(made)
        return
    output.emit(f"wrote the project `{made.name}` with {len(made.files)} files to {made.folder}")
    following = "dpipe contract infer FILE… --write" if empty else "dpipe run"
    output.note(f"next: cd {folder} && {following}")
