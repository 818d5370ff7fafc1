"""How much of an audit is done, for the progress bar; threads may report side by side."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    class Readable(Protocol):
        """What both a file of Python's and one of pyarrow's are."""

        def read(self, size: int, /) -> bytes: ...


BLOCK_BYTES = 1 << 20


class Meter:
    """Adds up records and bytes."""

    def __init__(self, on_progress: Callable[[int, int], None]) -> None:
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._records = self._bytes = 0

    def add(self, records: int, count: int) -> None:
        """So many records and bytes more are done."""
        with self._lock:
            self._records += records
            self._bytes += count
            self._on_progress(self._records, self._bytes)

    def sha256(self, stream: Readable) -> str:
        """SHA-256, hex, of what is left in a stream. Raises `OSError`."""
        digest = hashlib.sha256()
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
            self.add(0, len(block))
        return digest.hexdigest()
