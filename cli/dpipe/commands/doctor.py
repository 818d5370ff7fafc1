"""`dpipe doctor`."""

from __future__ import annotations

from functools import partial

import typer

from dpipe import output
from dpipe.context import JsonFlag, open_project

BROKEN = 2


def doctor(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Look whether everything that dpipe needs is there; exit code 2 when something needed is broken.

    Example: `dpipe doctor --json`
    """
    from dpipe.doctor import examine

    checks = list(examine(partial(open_project, ctx)))
    if as_json:
        output.emit_json({"checks": checks})
    else:
        for check in checks:
            output.emit(f"{check.status:8}{check.name:16}{check.detail}")
            if check.hint:
                output.emit(f"{'':24}hint: {check.hint}")
    if any(check.status == "broken" for check in checks):
        raise typer.Exit(BROKEN)
