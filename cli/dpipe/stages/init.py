"""Write a new project: the flights project that comes with dpipe, on a small sample of its data."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import dpipe
from dpipe.errors import UsageError
from dpipe.settings import CONFIG_FILE

PARTS = ("configs", "transform", "checks", "ui", "dags")

# What tools leave in a checkout; the wheel leaves it out too (`tool.maturin.exclude`).
LEFTOVERS = shutil.ignore_patterns(
    ".venv", "target", "logs", "*.duckdb", "*.duckdb.wal", ".user.yml", "__pycache__", ".*_cache"
)


@dataclass(frozen=True)
class NewProject:
    """What `dpipe init` wrote: its folder, its name and the files, relative to the folder and sorted."""

    folder: Path
    name: str
    files: tuple[str, ...]


def init(folder: Path) -> NewProject:
    """Write a project into `folder`, which must be missing or empty.

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
            _build(built, name)
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
    config = target / CONFIG_FILE
    text = config.read_text(encoding="utf-8")
    config.write_text(re.sub(r"(?m)^name: .*$", f"name: {name}", text, count=1), encoding="utf-8")
