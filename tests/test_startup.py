"""The command line answers at once: nothing heavy is imported before a command needs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"pyarrow", "duckdb", "pyiceberg", "pydantic", "pydantic_settings", "rich", "sqlalchemy", "yaml"}


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("arguments", "brought_by_typer"),
    [(["--help"], set()), (["--version"], set()), (["process", "--help"], {"pydantic"})],
)
def test_help_imports_nothing_heavy(arguments: list[str], brought_by_typer: set[str]) -> None:
    code = f"""
import sys
sys.argv = ["dpipe", *{arguments!r}]
from dpipe.app import main
try:
    main()
except SystemExit:
    pass
print("\\0" + ",".join(sys.modules))
"""
    modules = {name.partition(".")[0] for name in run_python(code).rpartition("\0")[2].strip().split(",")}
    assert "typer" in modules
    assert modules & HEAVY <= brought_by_typer


def test_every_command_shows_an_example() -> None:
    code = """
import typer.main
from dpipe.app import app

def walk(command, path):
    for name, child in getattr(command, "commands", {}).items():
        if getattr(child, "commands", None):
            walk(child, [*path, name])
        elif "Example:" not in (child.help or ""):
            print(" ".join([*path, name]))

walk(typer.main.get_command(app), [])
"""
    assert run_python(code) == ""
