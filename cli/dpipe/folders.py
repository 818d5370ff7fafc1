"""Folders that dpipe writes into, and how a file in them becomes durable."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dpipe.errors import DpipeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEFTOVER_SECONDS = 24 * 60 * 60
SWEEP_SECONDS = 60 * 60
_swept: dict[tuple[Path, str], float] = {}


def make_private(folder: Path) -> Path:
    """Make a folder and its parents that only this user can enter; one that exists keeps its mode.

    Raises `DpipeError` when it can't be made.
    """
    if folder.is_dir():
        return folder
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
            sync_folder(path.parent)
    except OSError as error:
        raise DpipeError(
            f"the folder `{folder}` can't be made: {error.strerror}",
            hint="check its parent's permissions and that the disk isn't full, or set `data_dir` elsewhere",
        ) from error
    return folder


def write_once(path: Path, content: bytes) -> None:
    """Make a file with this content, durably and all at once; one that is there stays as it is. Raises `DpipeError`."""
    if path.exists():
        return
    make_private(path.parent)
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        write_durably(temporary, content)
        temporary.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DpipeError(
            f"`{path}` can't be written: {error.strerror}",
            hint="check its folder's permissions and that the disk isn't full",
        ) from error


def write_durably(path: Path, content: bytes | memoryview) -> None:
    """Make a file with this content; its name is as safe as its folder's entry, see `sync_folder`. Raises `OSError`."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_text(path: Path, text: str) -> None:
    """Have a file hold this text, all at once: a reader, or a crash, meets the old file or the new one."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder of its own that is gone after the block; what blocks that died left is swept away a day later."""
    sweep(make_private(parent))
    folder = make_private(parent / uuid.uuid4().hex)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path, prefix: str = "") -> None:
    """Remove what is in it, begins so and has not been written for more than a day: left by the dead.

    Once an hour and process, since looking takes longer the more there is.
    """
    now = time.monotonic()
    if now - _swept.get((folder, prefix), float("-inf")) < SWEEP_SECONDS:
        return
    _swept[folder, prefix] = now
    for leftover in folder.glob(f"{prefix}*"):
        try:
            old = time.time() - _last_written(leftover) > LEFTOVER_SECONDS
        except FileNotFoundError:
            continue  # whoever made it has finished meanwhile
        if old and leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        elif old:
            leftover.unlink(missing_ok=True)


def _last_written(folder: Path) -> float:
    """Seconds since 1970; a file that grows leaves the time of its folder as it is."""
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; a new or renamed file is only as safe as its folder's entry."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
