"""Files of the setting `sources` that land as they appear, once nobody writes to them any more."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dpipe.contract.contract import file_version
from dpipe.errors import UsageError
from dpipe.stages.ingest import check, ingest, matching_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dpipe.contract.contract import FileVersion
    from dpipe.settings import Project
    from dpipe.state import Run

# A file that was written to less than so long ago may go on growing.
SETTLED_SECONDS = 2.0
# So that the first of many files are rows before the last one has landed.
MOST_FILES_A_ROUND = 256


@dataclass
class Sources:
    """What is known of the files from one look to the next: which version of each has landed.

    `seen` has since when a file that has not landed is as it is, by this process's clock: clocks of other machines,
    which the files' times are by, may be wrong.
    """

    project: Project
    landed: dict[Path, FileVersion] = field(default_factory=dict)
    seen: dict[Path, tuple[FileVersion, float]] = field(default_factory=dict)

    def land(self, dataset: str, open_run: Callable[[], Run]) -> int:
        """Land a dataset's files that are new or have changed; how many had not landed under another name before.

        What can't be a batch holds up no other file. Raises `UsageError` for the first of those, once the others have
        landed, and whatever stops `ingest`.
        """
        ready = self._ready(dataset)
        good, problem = {}, None
        for path, version in ready.items():
            try:
                _check_readable(dataset, path)
                good[path] = version
            except UsageError as error:
                problem = problem or error
        landed = ingest(self.project, dataset, list(good), open_run()) if good else []
        self.landed |= good
        if problem is not None:
            raise problem
        return sum(not one.already for one in landed)

    def _ready(self, dataset: str) -> dict[Path, FileVersion]:
        """Files that have not landed as they are now, and have been so for long enough."""
        now, ready = time.monotonic(), {}
        for path in matching_files(self.project, dataset):
            try:
                version = file_version(path)
            except OSError:  # it is gone again
                continue
            if self.landed.get(path) == version:
                continue
            before, since = self.seen.get(path, (None, now))
            if before != version:
                since = now
            self.seen[path] = version, since
            written_at = version[0] / 1e9
            if now - since >= SETTLED_SECONDS or time.time() - written_at >= SETTLED_SECONDS:
                ready[path] = version
                if len(ready) == MOST_FILES_A_ROUND:
                    break
        return ready


def _check_readable(dataset: str, path: Path) -> None:
    """Raise `UsageError` for what can't land."""
    check(dataset, path)
    try:
        path.open("rb").close()
    except OSError as error:
        raise UsageError(
            f"`{path}` can't be read: {error.strerror}", hint="check the file's permissions"
        ) from error
