"""HTTP by httptools, with a bound on what comes beside bodies."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Of headers, trailers and the framing of chunks, since the last byte of a body.
MOST_BYTES = 64 << 10
PIECE_BYTES = 16 << 10


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's fast protocol; a request whose headers don't end gets a 400 instead of memory."""

    _outside_bodies = 0

    def data_received(self, data: bytes) -> None:
        """Parse what came, in pieces, so that the count is never far behind."""
        for start in range(0, len(data), PIECE_BYTES):
            if self.transport.is_closing():
                return
            piece = data[start : start + PIECE_BYTES]
            self._outside_bodies += len(piece)
            super().data_received(piece)
            if self._outside_bodies > MOST_BYTES and not self.transport.is_closing():
                self.send_400_response("Headers are too large.")

    def on_body(self, body: bytes) -> None:
        """Count anew from here on."""
        self._outside_bodies = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Count anew for the next request."""
        self._outside_bodies = 0
        super().on_message_complete()
