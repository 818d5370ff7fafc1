"""A request's id, its line in the log and its place in the metrics, whatever became of it."""

from __future__ import annotations

import json
import random
import re
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from dpipe.api.metrics import Metrics

REQUEST_ID_HEADER = b"x-request-id"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
INTERNAL_ERROR = 500


class AccessLog:
    """ASGI middleware around the application: `X-Request-ID` in and out, a log line and metrics a request."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, as_json: bool, quiet: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._as_json = as_json
        self._quiet = quiet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == REQUEST_ID_HEADER), b"").decode(
            "latin-1"
        )
        request_id = given if REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
        scope.setdefault("state", {})["request_id"] = request_id
        seen = {"status": INTERNAL_ERROR, "bytes_in": 0, "bytes_out": 0}

        async def counted_receive() -> Message:
            message = await receive()
            seen["bytes_in"] += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID_HEADER, request_id.encode())]
            seen["bytes_out"] += len(message.get("body", b""))
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.request(scope["method"], route, seen["status"], seconds)
            if not self._quiet:
                self._log(scope, request_id, seen, seconds)

    def _log(self, scope: Scope, request_id: str, seen: dict[str, int], seconds: float) -> None:
        client = scope.get("client")
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": "request",
            "request_id": request_id,
            "method": scope["method"],
            # As it came, percent-encoded: no path can forge a line. The query may hold what is nobody's business.
            "path": scope.get("raw_path", b"").decode("ascii", "backslashreplace"),
            "status": seen["status"],
            "seconds": round(seconds, 6),
            "bytes_in": seen["bytes_in"],
            "bytes_out": seen["bytes_out"],
            "client": client[0] if client else None,
            "key_id": scope["state"].get("key_id"),
        }
        if self._as_json:
            sys.stderr.write(json.dumps(line) + "\n")
            return
        sys.stderr.write(
            f"{line['at']} {line['method']} {line['path']} {line['status']} {seconds * 1000:.1f} ms "
            f"{line['bytes_in']} B in, {line['bytes_out']} B out, key {line['key_id'] or 'none'}, {request_id}\n"
        )
