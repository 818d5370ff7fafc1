"""What a zip file comes to, found out before it lands: its sizes are where its end is, and may be lies."""

from __future__ import annotations

import zipfile
import zlib
from typing import IO, TYPE_CHECKING, cast

from fastapi import HTTPException

from dpipe.api.body import TOO_LARGE, decompresses_to_more

if TYPE_CHECKING:
    from io import BytesIO

PIECE_BYTES = 1 << 20
# Python holds some ten times as much of a list of files.
LIST_BYTES = 4 << 20


def check_archive(file: IO[bytes], limit: int) -> None:
    """Raise a 413 when the files in a zip file come to more than `limit` bytes, or are too many to list.

    What can't be read goes through, as it does in other compressions: what comes of it is the contract's business.
    """
    left = limit
    try:
        with zipfile.ZipFile(cast("BytesIO", _Bounded(file))) as archive:
            for member in archive.infolist():
                left -= _bytes_of(archive, member, left)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError, OSError):
        return
    if left < 0:
        raise decompresses_to_more(limit)


class _Bounded:
    """A file that refuses `zipfile` a long list of files, which it reads in one piece wherever it finds its size."""

    def __init__(self, file: IO[bytes]) -> None:
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """So many bytes; raises a 413 for more than any other read of an archive asks for."""
        if size > LIST_BYTES:
            raise HTTPException(TOO_LARGE, f"the archive's list of files has more than {LIST_BYTES:,} bytes")
        return self._file.read(size)


def _bytes_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> int:
    """How many bytes a file has; one more than `most` is enough to know."""
    found = 0
    with archive.open(member) as content:
        while found <= most and (piece := content.read(PIECE_BYTES)):
            found += len(piece)
    return found
