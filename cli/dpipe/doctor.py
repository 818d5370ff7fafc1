"""Looking whether everything that dpipe needs is there."""

from __future__ import annotations

import platform
import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from dpipe import __version__
from dpipe.errors import DpipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dpipe.settings import Project

LOW_DISK_BYTES = 1 << 30

# Extra → the packages it brings, and what can't be done without it.
EXTRAS: dict[str, tuple[tuple[str, ...], str]] = {
    "dbt": (("dbt.adapters.duckdb",), "`dpipe transform` and `run`"),
    "quality": (("great_expectations", "duckdb_engine"), "`dpipe validate` and `run`"),
    "ui": (("streamlit", "altair"), "`dpipe dash`"),
    "api": (("fastapi", "uvicorn"), "`dpipe serve`"),
    "bench": (("polars", "pydantic"), "`dpipe bench` against polars and pydantic"),
    "lineage": (("sqlglot",), "columns of the marts in `dpipe lineage` and events"),
}


@dataclass(frozen=True)
class Check:
    """One thing looked at. `missing` is something that can be done without, `broken` is not."""

    name: str
    status: Literal["ok", "missing", "broken"]
    detail: str
    hint: str | None = None


def examine(open_project: Callable[[], Project]) -> Iterator[Check]:
    """Look at the installation, then at the project; what needs the project is left out without one."""
    yield Check("python", "ok", platform.python_version())
    yield Check("dpipe", "ok", __version__)
    yield _tried("kernel", _kernel)
    yield _tried("duckdb", _duckdb)
    for extra, (packages, purpose) in EXTRAS.items():
        yield _extra(extra, packages, purpose)
    try:
        project = open_project()
    except DpipeError as error:
        yield Check("project", "broken", error.message, error.hint)
        return
    yield Check("project", "ok", f"`{project.settings.name}` in {project.root}")
    yield _tried("contracts", lambda: _contracts(project))
    yield _tried("data folder", lambda: _data_folder(project.data_dir))
    yield _tried("catalog", lambda: _catalog(project))
    for dataset, uri in project.settings.streams.items():
        yield _tried(f"stream of {dataset}", partial(_stream, uri))


def _tried(name: str, look: Callable[[], str]) -> Check:
    """The detail that `look` gives, or what it raised: here any fault is a finding."""
    try:
        return Check(name, "ok", look())
    except DpipeError as error:
        return Check(name, "broken", error.message, error.hint)
    except Exception as error:
        return Check(name, "broken", f"{type(error).__name__}: {error}", "mend or reinstall dpipe")


def _kernel() -> str:
    return f"loaded from {import_module('dpipe._kernel').__file__}"


def _duckdb() -> str:
    import duckdb

    from dpipe.warehouse.lake import EXTENSIONS, load_extensions

    with duckdb.connect() as connection:
        load_extensions(connection)
    return f"{duckdb.__version__} with {', '.join(EXTENSIONS)}"


def _extra(extra: str, packages: tuple[str, ...], purpose: str) -> Check:
    absent = [package for package in packages if not _installed(package)]
    if not absent:
        return Check(f"extra {extra}", "ok", purpose)
    return Check(
        f"extra {extra}",
        "missing",
        f"{purpose} can't be used without {', '.join(absent)}",
        f"pip install 'dpipe[{extra}]'",
    )


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # its parent package is not there either
        return False


def _contracts(project: Project) -> str:
    from dpipe.contract import known_datasets, load_contract

    names = known_datasets(project)
    for dataset in names:
        load_contract(project.contracts / f"{dataset}.odcs.yaml")
    return ", ".join(names)


def _data_folder(folder: Path) -> str:
    """Try to write where dpipe will: in the folder, or in the nearest one that exists."""
    from dpipe.errors import ConfigError

    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ConfigError(
            f"`{there}` can't be written: {error.strerror}",
            hint="check its permissions, or set `data_dir` elsewhere",
        ) from error
    free = shutil.disk_usage(there).free
    if free < LOW_DISK_BYTES:
        raise ConfigError(f"only {free / 1e6:,.0f} MB are free in `{there}`", hint="free some space")
    return f"{folder}, {free / 1e9:,.1f} GB free"


def _stream(uri: str) -> str:
    from dpipe.streams import Stream, stream_place

    stream = Stream(stream_place(uri))
    return f"{stream.arn}, {len(stream.shards())} shards"


def _catalog(project: Project) -> str:
    """Open the catalog; the embedded one isn't made just to be looked at."""
    from dpipe.iceberg import metadata_locations

    if project.settings.catalog_uri is None and not (project.data_dir / "catalog.db").exists():
        return "none yet; the first run makes it"
    return f"{len(metadata_locations(project))} tables"
