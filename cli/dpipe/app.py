"""The command line: every command, the flags before it, and what an error looks like."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated

# Drawing help with rich triples the start-up time; plain help says the same.
os.environ.setdefault("TYPER_USE_RICH", "0")

import typer

from dpipe import __version__, output
from dpipe.context import Globals
from dpipe.errors import DpipeError
from dpipe.outages import told

app = typer.Typer(
    name="dpipe",
    help="Carry records from submission to dashboard under one data contract, every record accounted for.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: dpipe init shop && cd shop && dpipe run",
)

# Module in `dpipe.commands` → the commands or the sub-app that it holds, in the order of a record's path.
COMMANDS: dict[str, tuple[str, ...]] = {
    "init": ("init",),
    "ingest": ("ingest",),
    "process": ("process",),
    "validate": ("validate",),
    "transform": ("transform",),
    "publish": ("publish",),
    "run": ("run",),
    "worker": ("worker",),
    "serve": ("serve",),
    "dash": ("dash",),
    "lineage": ("lineage",),
    "maintain": ("maintain",),
    "doctor": ("doctor",),
}
GROUPS = (
    "contract",
    "quarantine",
    "batches",
    "streams",
    "audit",
    "runs",
    "cost",
    "keys",
    "warehouse",
    "bench",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        output.emit(f"dpipe {__version__}")
        raise typer.Exit


@app.callback()
def common(
    ctx: typer.Context,
    project: Annotated[Path | None, typer.Option("--project", "-C", help="The project's folder.")] = None,
    profile: Annotated[str | None, typer.Option(help="Profile of `configs/dpipe.yaml`.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Flags that every command takes."""
    output.options.quiet = quiet
    output.options.verbose = verbose
    ctx.obj = Globals(project, profile)


def _register() -> None:
    for module_name, functions in COMMANDS.items():
        module = importlib.import_module(f"dpipe.commands.{module_name}")
        for function in functions:
            app.command()(getattr(module, function))
    for name in GROUPS:
        module = importlib.import_module(f"dpipe.commands.{name}")
        app.add_typer(module.app, name=name)


_register()


def main() -> None:
    """Run the command line and end the process with the command's exit code."""
    try:
        app()
    except DpipeError as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`dpipe … | head`); there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if output.options.verbose:
            import traceback

            traceback.print_exc()
        _fail(told(error))


def _fail(error: DpipeError) -> None:
    if "--json" in sys.argv and not output.options.answered:
        output.emit_json(
            {"error": {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}}
        )
    output.report(error)
    sys.exit(error.exit_code)
