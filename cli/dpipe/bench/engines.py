"""The engines by name."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, cast

from dpipe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpipe.bench.work import Engine

KERNEL = "dpipe"
BASELINES = ("pure_python", "pydantic", "duckdb", "polars")
HINT = "pip install 'dpipe[bench]'"


def engine(name: str) -> Engine:
    """The module of an engine; it imports what it is named after only when it is used."""
    module = "dpipe.bench.kernel_engine" if name == KERNEL else f"dpipe.bench.baselines.{name}"
    return cast("Engine", importlib.import_module(module))


def versions(name: str) -> dict[str, str]:
    """Versions of the packages that an engine is."""
    return {package: importlib.metadata.version(package) for package in engine(name).PACKAGES}


def missing(name: str) -> str | None:
    """The package that an engine lacks here."""
    for package in engine(name).PACKAGES:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return package
    return None


def chosen(against: str | None) -> list[str]:
    """The baselines that a list of names, parted by commas, asks for; all of them by default.

    Raises `UsageError` for a name that is none, and for an engine that was asked for and isn't installed.
    """
    if against is None:
        return list(BASELINES)
    names = list(dict.fromkeys(name.strip() for name in against.split(",") if name.strip()))
    _known(names)
    for name in names:
        if package := missing(name):
            raise UsageError(f"`{name}` can't be measured: `{package}` is not installed", hint=HINT)
    return names


def _known(names: Sequence[str]) -> None:
    for name in names:
        if name not in BASELINES:
            raise UsageError(f"no engine `{name}`", hint=f"choose of {', '.join(BASELINES)}")
    if not names:
        raise UsageError("no engine to measure against", hint=f"choose of {', '.join(BASELINES)}")
