"""Where words go: the answer to stdout, progress and messages to stderr."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dpipe.errors import DpipeError


@dataclasses.dataclass
class OutputOptions:
    """What the flags before the command asked for, set once by the CLI, and whether JSON was printed yet."""

    quiet: bool = False
    verbose: bool = False
    answered: bool = False


options = OutputOptions()


def _encode(value: object) -> Any:  # noqa: ANN401 - json.dumps takes anything back
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def to_json(document: object) -> str:
    """One JSON document, with dataclasses, times, paths and bytes in their plain forms."""
    return json.dumps(document, default=_encode, indent=2, ensure_ascii=False)


def to_json_line(document: object) -> str:
    """The same on one line."""
    return json.dumps(document, default=_encode, ensure_ascii=False)


def emit_json(document: object) -> None:
    """Print `document` as the command's whole answer."""
    sys.stdout.write(to_json(document) + "\n")
    options.answered = True


def emit_json_line(document: object) -> None:
    """Print one of several documents on a line of its own, at once: somebody may wait for it."""
    sys.stdout.write(to_json_line(document) + "\n")
    sys.stdout.flush()
    options.answered = True


def emit(text: str) -> None:
    """Print a line of the answer."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Say something on stderr, unless `--quiet`."""
    if not options.quiet:
        sys.stderr.write(text + "\n")


def warn(text: str) -> None:
    """Say something that the user should not miss, even with `--quiet`."""
    sys.stderr.write(f"warning: {text}\n")


def trouble(text: str, error: DpipeError) -> None:
    """Warn of an error that doesn't end the command, with its hint."""
    warn(f"{text}: {error.message}")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")


def report(error: DpipeError) -> None:
    """Print an error and its hint on stderr."""
    sys.stderr.write(f"error: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    title: str | None = None,
    numbers: Sequence[str] = (),
) -> None:
    """Print rows as a table on stdout, one line a row; numbers are right-aligned and grouped by thousands.

    Columns that are named as `numbers` hold texts of them.
    """
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    drawn = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = column in numbers or (
            bool(rows) and all(isinstance(row[index], (int, float, type(None))) for row in rows)
        )
        drawn.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    wide = Console(width=10_000)
    Console(width=Measurement.get(wide, wide.options, drawn).maximum).print(drawn)


def _cell(value: object) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return escape(str(value))


@contextmanager
def progress(label: str, *, total_bytes: int | None = None) -> Iterator[Callable[[int, int], None]]:
    """Show records and bytes done on stderr while the block runs.

    Yields a callable that takes the records and bytes done so far. Nothing is drawn with `--quiet` or when stderr is
    not a terminal.
    """
    if options.quiet or not sys.stderr.isatty():
        yield lambda _records, _bytes: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[records]:,} records, {task.fields[megabytes]:,.1f} MB"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(label, total=total_bytes, records=0, megabytes=0.0)

        def update(records: int, done_bytes: int) -> None:
            bar.update(task, completed=done_bytes, records=records, megabytes=done_bytes / 1e6)

        yield update
