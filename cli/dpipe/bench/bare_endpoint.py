"""The baseline of `dpipe bench api`: an endpoint that keeps a body with a group-committed sync, and no more.

No key, no name, no job, no limit and no record: what is left of an API that never loses what it acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from anyio import to_thread
from fastapi import FastAPI, Request

if TYPE_CHECKING:
    from io import FileIO


def app(file: FileIO) -> FastAPI:
    """FastAPI with one route; bodies that come while a sync is under way share the next one."""
    made = FastAPI()
    waiting: list[tuple[bytes, asyncio.Future[None]]] = []
    turn = asyncio.Lock()

    def keep(bodies: list[bytes]) -> None:
        file.write(b"".join(bodies))
        os.fdatasync(file.fileno())

    @made.post("/bare", status_code=202)
    async def bare(request: Request) -> dict[str, Any]:
        body = await request.body()
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append((body, kept))
        async with turn:
            if not kept.done():
                group = list(waiting)
                waiting.clear()
                await to_thread.run_sync(keep, [one for one, _ in group])
                for _, done in group:
                    done.set_result(None)
        return {"bytes": len(body)}

    return made


if __name__ == "__main__":
    with (
        Path(sys.argv[1]).open("ab", buffering=0) as kept_bodies,
        socket.create_server(("127.0.0.1", int(sys.argv[2])), backlog=2048) as listener,
    ):
        config = uvicorn.Config(app(kept_bodies), log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])
