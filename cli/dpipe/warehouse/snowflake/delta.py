"""What to load so that a table's copy has the rows of its current snapshot: pure, of files and snapshots.

A copy is right when for each partition it has the rows of the partition's current files. An append's files are copied.
A compaction's are not: they hold rows that the copy has. A partition of which rows were replaced is loaded anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class LakeFile:
    """A data file of a table; `partition` stands for the values of its partition."""

    path: str
    partition: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Change:
    """What a snapshot did: files that came and files that left; `same_rows` when they hold the same rows."""

    added: Sequence[LakeFile]
    removed: Sequence[LakeFile]
    same_rows: bool


@dataclass(frozen=True)
class Delta:
    """Partitions whose rows are deleted, then files to be copied."""

    reload: frozenset[str]
    copy: tuple[LakeFile, ...]


def delta(
    loaded: Mapping[str, LakeFile], current: Mapping[str, LakeFile], changes: Sequence[Change] | None
) -> Delta:
    """What brings a copy with the rows of the files `loaded` to those of `current`, both by path.

    `changes` are what the snapshots did from the one that was loaded to the current one, in their order; None when some
    of them are forgotten, so that a partition is loaded anew when one of its files has left.
    """
    held, stale = dict(loaded), set[str]()
    for change in changes or ():
        _follow(change, held, stale)
    stale |= {file.partition for path, file in held.items() if path not in current}
    copied = [file for path, file in current.items() if path not in held or file.partition in stale]
    of_copy = {file.partition for file in loaded.values()}
    return Delta(frozenset(stale & of_copy), tuple(sorted(copied, key=lambda file: file.path)))


def _follow(change: Change, held: dict[str, LakeFile], stale: set[str]) -> None:
    """Take a change up: `held` are the files whose rows the copy has, in partitions that are not `stale`."""
    added, removed = _by_partition(change.added), _by_partition(change.removed)
    # Rows that went from one partition to another would be found by the wrong one.
    same_rows = change.same_rows and added.keys() == removed.keys()
    for partition, files in removed.items():
        known = [held.pop(file.path, None) is not None for file in files]
        if same_rows and all(known):
            held.update((file.path, file) for file in added[partition])
        elif any(known):
            stale.add(partition)


def _by_partition(files: Sequence[LakeFile]) -> dict[str, list[LakeFile]]:
    found: dict[str, list[LakeFile]] = {}
    for file in files:
        found.setdefault(file.partition, []).append(file)
    return found
