"""Write a new project: the flights project that comes with dpipe, on a small sample of its data, or an empty one."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

import dpipe
from dpipe.errors import UsageError
from dpipe.settings import CONFIG_FILE

PARTS = ("configs", "transform", "checks", "ui", "dags")

# What tools leave in a checkout; the wheel leaves it out too (`tool.maturin.exclude`).
LEFTOVERS = shutil.ignore_patterns(
    ".venv", "target", "logs", "*.duckdb", "*.duckdb.wal", ".user.yml", "__pycache__", ".*_cache"
)

# Of the flights project, what knows nothing of flights: an empty project has it too.
SHARED = (
    "transform/.sqlfluff",
    "transform/.sqlfluffignore",
    "transform/lint",
    "transform/macros/counting.sql",
    "transform/macros/generate_schema_name.sql",
    "transform/macros/keys.sql",
    "ui",
    "dags",
)
OF_FLIGHTS = ("ui/views/flights.py", "ui/queries/flights.py", "ui/flights_charts.py")
# Folders that wait for files, which git keeps for the one that they have.
WAITING = ("configs/contracts", "transform/models/marts", "checks/marts", "data")


@dataclass(frozen=True)
class NewProject:
    """What `dpipe init` wrote: its folder, its name and the files, relative to the folder and sorted."""

    folder: Path
    name: str
    files: tuple[str, ...]


def init(folder: Path, *, empty: bool = False) -> NewProject:
    """Write a project into `folder`, which must be missing or empty: that of the flights, or one without a dataset.

    It appears whole or not at all: it is built beside its place and renamed into it. Raises `UsageError`, and
    touches nothing, when the folder holds anything or can't be made.
    """
    folder = folder.absolute()
    _refuse_what_is_there(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".dpipe-init-") as scratch:
            built = Path(scratch) / "project"
            name = _project_name(folder)
            (_build_empty if empty else _build)(built, name)
            files = tuple(sorted(str(path.relative_to(built)) for path in built.rglob("*") if path.is_file()))
            os.rename(built, folder)  # noqa: PTH104 - replaces an empty folder, which Path.rename needn't
    except OSError as error:
        raise UsageError(
            f"`{folder}` can't be written: {error.strerror or error}", hint="name a folder that you may write"
        ) from error
    return NewProject(folder, name, files)


def _refuse_what_is_there(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"`{folder}` is not a folder", hint="name a folder that is missing or empty")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"`{folder}` is not empty", hint="name a folder that is missing or empty")


def _project_name(folder: Path) -> str:
    """The folder's name in the letters that a catalog's name may have."""
    return re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_") or "project"


def _build(target: Path, name: str) -> None:
    package = Path(dpipe.__file__).parent
    sample = package / "sample"
    for part in PARTS:
        shutil.copytree(package / "project" / part, target / part, ignore=LEFTOVERS)
    shutil.copytree(sample / "data", target / "data")
    shutil.copyfile(sample / "README.md", target / "README.md")
    shutil.copyfile(sample / "gitignore", target / ".gitignore")
    _rename(target / CONFIG_FILE, r"(?m)^name: .*$", f"name: {_text(name)}")


def _build_empty(target: Path, name: str) -> None:
    package = Path(dpipe.__file__).parent
    shutil.copytree(package / "empty", target)
    shutil.copyfile(package / "sample" / "gitignore", target / ".gitignore")
    for part in SHARED:
        source, place = package / "project" / part, target / part
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, ignore=LEFTOVERS, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, place)
    for part in OF_FLIGHTS:
        (target / part).unlink()
    for part in WAITING:
        (target / part).mkdir(parents=True, exist_ok=True)
        (target / part / ".gitkeep").touch()
    _rename(target / CONFIG_FILE, r"(?m)^name: .*$", f"name: {_text(name)}")
    dbt_name = _dbt_name(name)
    _rename(target / "transform" / "dbt_project.yml", r"(?m)^(name: |  )project\b", rf"\g<1>{dbt_name}")
    _rename(target / "ui" / "app.py", r"(?m)^.*views/flights\.py.*\n", "")
    _rename(target / "ui" / "app.py", "🛫", "🧾")
    (target / "dags" / "flights_daily.py").rename(target / "dags" / f"{name}_daily.py")
    for path in (target / "dags").iterdir():
        _rename(path, r"flights(?=_daily| p)", name)


def _text(name: str) -> str:
    """The name in YAML, where `2026` and `on` are no texts."""
    return name if isinstance(yaml.safe_load(name), str) else f'"{name}"'


def _dbt_name(name: str) -> str:
    """The name as dbt takes it, which begins with a letter."""
    return name if name[0].isalpha() else f"project_{name}"


def _rename(path: Path, pattern: str, text: str) -> None:
    """Put `text` for every match of the pattern."""
    before = path.read_text(encoding="utf-8")
    path.write_text(re.sub(pattern, text, before), encoding="utf-8")
