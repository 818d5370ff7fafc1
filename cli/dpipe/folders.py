"""Folders that dpipe writes into, and how a file in them becomes durable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dpipe.errors import DpipeError

if TYPE_CHECKING:
    from pathlib import Path


def make_private(folder: Path) -> Path:
    """Make a folder and its parents that only this user can enter; one that exists keeps its mode.

    Raises `DpipeError` when it can't be made.
    """
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


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; a new or renamed file is only as safe as its folder's entry."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
