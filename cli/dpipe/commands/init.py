"""`dpipe init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag


def init(
    folder: Annotated[Path, typer.Argument(help="The new project's folder; it must be missing or empty.")],
    as_json: JsonFlag = False,
) -> None:
    """Write a new project with contracts, models, checks, pages, a DAG and sample data.

    Example: `dpipe init shop && cd shop && dpipe run`
    """
    from dpipe.stages.init import init as stage

    made = stage(folder)
    if as_json:
        output.emit_json(made)
        return
    output.emit(f"wrote the project `{made.name}` with {len(made.files)} files to {made.folder}")
    output.note(f"next: cd {folder} && dpipe run")
