"""What is written into landing's folders, or on the way to its bucket."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dpipe.errors import DpipeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Hidden: nobody takes it for a batch.
TEMPORARY_PREFIX = ".landing-"


@contextmanager
def writing(name: str, folder: Path) -> Iterator[None]:
    """Turn what goes wrong with this machine's disk, and only that, into an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise DpipeError(
            f"`{name}` can't be written in `{folder}`: {error.strerror}",
            hint="free space on its disk or check its permissions, then run the command again; nothing of it was kept",
        ) from error
