"""Write `docs/cli.md` from the commands' own help: `just docs`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["TYPER_USE_RICH"] = "0"

from dpipe.app import app
from typer.main import get_command

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 100
INTRODUCTION = """\
# Commands

Made by `just docs` from the commands' own help. The flags before the command (`--project`, `--profile`,
`--quiet`, `--verbose`) hold for every command. Answers go to stdout, progress and messages to stderr; with
`--json` the answer is one JSON document.

| exit code | meaning |
|---|---|
| 0 | fine |
| 1 | the data broke a contract or a check |
| 2 | wrong usage or configuration, or a fault of dpipe |
| 3 | an outside system is unavailable; trying again may help |
"""


def page() -> str:
    """The whole page."""
    return INTRODUCTION + "".join(_sections(get_command(app), "dpipe", None))


def _sections(command: Any, path: str, parent: Any) -> list[str]:  # noqa: ANN401 - types private to typer
    """A section for the command and, for a group, for each command in it."""
    context = command.make_context(
        path.rsplit(" ", 1)[-1], [], parent=parent, resilient_parsing=True, terminal_width=WIDTH
    )
    sections = [f"\n## {path}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"]
    for name, child in getattr(command, "commands", {}).items():
        sections += _sections(child, f"{path} {name}", context)
    return sections


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
