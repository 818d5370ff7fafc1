"""One process at a time: file locks that the system releases when their holder dies."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dpipe import output
from dpipe.errors import UnavailableError
from dpipe.folders import make_private

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpipe.settings import Project


class HeldError(UnavailableError):
    """Another process holds the lock."""


@contextmanager
def held(project: Project, name: str, *, wait: bool = True) -> Iterator[int]:
    """Hold the project's lock `name`; waits for another process that has it, and says so on stderr.

    Yields the lock's file descriptor: a child process that inherits it holds the lock too, should this one be
    killed. Raises `HeldError` instead of waiting unless `wait`.
    """
    path = make_private(project.locks) / f"{name}.lock"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not wait:
                raise HeldError(
                    f"another process works on `{name}`", hint="run the command again when it is done"
                ) from error
            output.note(f"waiting for another process that works on `{name}`")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
