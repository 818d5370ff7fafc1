"""What a zip file comes to, found out before it lands: its sizes are where its end is, and may be lies."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import IO

from fastapi import HTTPException

TOO_LARGE = 413
PIECE_BYTES = 1 << 20
# Python holds some ten times as much of a list of files.
LIST_BYTES = 4 << 20
END = struct.Struct("<4s4H2LH")
END_MARK = b"PK\x05\x06"
LONGEST_COMMENT = 0xFFFF


def check_archive(file: IO[bytes], limit: int) -> None:
    """Raise a 413 when the files in a zip file come to more than `limit` bytes, or are too many to list.

    What can't be read goes through, as it does in other compressions: what comes of it is the contract's business.
    """
    if _list_bytes(file) > LIST_BYTES:
        raise HTTPException(TOO_LARGE, f"the archive's list of files has more than {LIST_BYTES:,} bytes")
    left = limit
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                left -= _bytes_of(archive, member, left)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError, OSError):
        return
    if left < 0:
        raise HTTPException(
            TOO_LARGE, f"the body decompresses to more than {limit:,} bytes; send it in parts"
        )


def _bytes_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> int:
    """How many bytes a file has; one more than `most` is enough to know."""
    found = 0
    with archive.open(member) as content:
        while found <= most and (piece := content.read(PIECE_BYTES)):
            found += len(piece)
    return found


def _list_bytes(file: IO[bytes]) -> int:
    """The size of the list of files, by the record at the end; 0 where there is none."""
    size = file.seek(0, 2)
    file.seek(max(0, size - END.size - LONGEST_COMMENT))
    tail = file.read()
    at = tail.rfind(END_MARK)
    if at < 0 or at + END.size > len(tail):
        return 0
    list_bytes: int = END.unpack_from(tail, at)[5]
    return list_bytes
