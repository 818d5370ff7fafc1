"""The file system that a table's files are in: this machine's, or a bucket."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pyarrow.fs import FileType
from pyiceberg.io.pyarrow import PyArrowFileIO

from dpipe import s3
from dpipe.folders import sync_folder, write_durably

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyarrow import NativeFile
    from pyarrow.fs import FileSystem
    from pyiceberg.io import FileIO

LOCAL = "file://"
BLOCK_BYTES = 1 << 20
UPLOADS = 8


def is_local(location: str) -> bool:
    """Whether a location is on this machine's disk."""
    return location.startswith(LOCAL)


def local_path(location: str) -> str:
    """The path of a `file://` location; another one as it is."""
    return location.removeprefix(LOCAL)


def filesystem(io: FileIO, location: str) -> tuple[FileSystem, str]:
    """The file system of a location, and its path there."""
    scheme, netloc, path = PyArrowFileIO.parse_location(location, io.properties)
    found: FileSystem = cast("PyArrowFileIO", io).fs_by_scheme(scheme, netloc)
    return found, path


def stream(io: FileIO, location: str) -> NativeFile:
    """A file's bytes, to be read from the beginning and closed. Raises `OSError`."""
    files, path = filesystem(io, location)
    return files.open_input_stream(path)


def size(io: FileIO, location: str) -> int | None:
    """A file's bytes, None when there is none."""
    files, path = filesystem(io, location)
    (info,) = files.get_file_info([path])
    return info.size if info.type == FileType.File else None


def write(io: FileIO, location: str, content: memoryview) -> None:
    """Make a file, durably. Raises `OSError`."""
    if is_local(location):
        path = Path(local_path(location))
        write_durably(path, content)
        sync_folder(path.parent)
        return
    files, path_there = filesystem(io, location)
    with files.open_output_stream(path_there) as stream:
        stream.write(content)


def upload(io: FileIO, folder: Path, location: str) -> None:
    """Copy all that is in a folder to below a location, in parts where it is large. Raises `OSError`."""
    files, root = filesystem(io, location)

    def copy(path: Path) -> None:
        # Not `copy_files`, which makes an object for each folder first, and not every bucket allows that.
        with (
            path.open("rb") as source,
            files.open_output_stream(f"{root}/{path.relative_to(folder).as_posix()}") as target,
        ):
            shutil.copyfileobj(source, target, BLOCK_BYTES)

    with ThreadPoolExecutor(UPLOADS) as pool:
        list(pool.map(copy, (path for path in folder.rglob("*") if path.is_file())))


def delete(locations: Iterable[str]) -> None:
    """Delete files that no snapshot can be referring to; one that is gone already is fine."""
    remote = []
    for location in locations:
        if is_local(location):
            Path(local_path(location)).unlink(missing_ok=True)
        else:
            remote.append(location)
    # Not by pyarrow, which makes an object for the folder of what it deletes.
    s3.delete(remote)
