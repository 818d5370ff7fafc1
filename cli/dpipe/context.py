"""What commands share: the flags before the command, `--json`, and the project they work on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from dpipe.settings import Project

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


ReasonOption = Annotated[str, typer.Option(help="Why; kept in the lake.")]


def given_reason(text: str) -> str:
    """A reason without the white space around it; `UsageError` when nothing is left."""
    from dpipe.errors import UsageError

    if not text.strip():
        raise UsageError("the reason is empty", hint="say why, for whoever looks at it later")
    return text.strip()


def moment(text: str) -> datetime:
    """A point in time in ISO 8601, in UTC unless it says otherwise. Raises `typer.BadParameter` for anything else."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"`{text}` is no point in time: write e.g. `2026-01-31` or `2026-01-31T12:00:00Z`"
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


AsOfOption = Annotated[
    datetime | None,
    typer.Option(
        parser=moment, metavar="TIME", help="As it was then: `2026-01-31T12:00:00Z`; UTC without a zone."
    ),
]

TargetOption = Annotated[
    Literal["duckdb", "snowflake"] | None,
    typer.Option(
        help="Where the marts are built and published; by default the setting `target`.",
    ),
]

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """A length of time as people write it: `30m`, `12h`, `5d`. Raises `typer.BadParameter` for anything else."""
    found = re.fullmatch(r"([0-9]{1,4})([mhd])", text)
    if found is None:
        raise typer.BadParameter(f"`{text}` is no length of time: write a number with m, h or d, e.g. `12h`")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


_SIZES: dict[str, int] = {
    "": 1,
    **{f"{unit}B": 1000**power for power, unit in enumerate(("k", "M", "G", "T"), 1)},
}
_SIZES |= {f"{unit}iB": 1024**power for power, unit in enumerate(("K", "M", "G", "T"), 1)}


def size(text: str) -> int:
    """A number of bytes as people write it: `1000000`, `500MB`, `2GiB`. Raises `typer.BadParameter` for others."""
    found = re.fullmatch(r"([1-9][0-9]{0,17}) ?([A-Za-z]*)", text)
    if found is None or found[2] not in _SIZES or (bytes_ := int(found[1]) * _SIZES[found[2]]) >= 1 << 63:
        raise typer.BadParameter(f"`{text}` is no number of bytes: write e.g. `1000000`, `500MB` or `2GiB`")
    return bytes_


@dataclass
class Globals:
    """The flags before the command."""

    project: Path | None = None
    profile: str | None = None


def open_project(ctx: typer.Context, **overrides: Any) -> Project:  # noqa: ANN401 - values of flags
    """The project that the flags, the environment or the current folder name.

    `overrides` are settings given as flags of the command; `None` means that the flag was left out.
    """
    from dpipe.settings import load_project

    given = ctx.find_object(Globals) or Globals()
    flags = {name: value for name, value in overrides.items() if value is not None}
    return load_project(given.project, profile=given.profile, overrides=flags)


def dataset_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Shell completion: datasets of the project that begin so; nothing outside a project."""
    from dpipe.errors import DpipeError

    try:
        names = open_project(ctx).datasets()
    except DpipeError:
        return []
    return [name for name in names if name.startswith(incomplete)]
