"""Which process runs a run, and whether it is still there."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from dpipe.state.schema import runs

if TYPE_CHECKING:
    from sqlalchemy import Engine

ENDED_SILENTLY = "process ended without a word"


def this_process() -> dict[str, Any]:
    """The columns of `runs` that name this process: host, pid, and when it began."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_started": _start_of(os.getpid()),
    }


def fail_dead_runs(engine: Engine) -> None:
    """Mark runs of this host as failed when their process is gone; other hosts' can't be judged from here."""
    running = select(runs.c.run_id, runs.c.pid, runs.c.process_started).where(
        runs.c.status == "running", runs.c.host == socket.gethostname()
    )
    with engine.connect() as connection:
        dead = [row.run_id for row in connection.execute(running) if not _lives(row.pid, row.process_started)]
    if not dead:
        return
    with engine.begin() as connection:
        connection.execute(
            update(runs)
            .where(runs.c.run_id.in_(dead), runs.c.status == "running")
            .values(status="failed", finished_at=datetime.now(UTC), error=ENDED_SILENTLY)
        )


def _lives(pid: int, started: int | None) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is there, under another user
    return started is None or _start_of(pid) == started


def _start_of(pid: int) -> int | None:
    """When the process began, in ticks since boot, for pids are used again. None without `/proc`."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(fields.rpartition(")")[2].split()[19])
