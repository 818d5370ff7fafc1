"""The file system that a table's files are in."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pyiceberg.io.pyarrow import PyArrowFileIO

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem
    from pyiceberg.io import FileIO


def filesystem(io: FileIO, location: str) -> tuple[FileSystem, str]:
    """The file system of a location, and its path there."""
    scheme, netloc, path = PyArrowFileIO.parse_location(location, io.properties)
    found: FileSystem = cast("PyArrowFileIO", io).fs_by_scheme(scheme, netloc)
    return found, path
