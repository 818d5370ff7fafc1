"""`dpipe` in a process of its own without the two seconds that its imports take: forked from one that has them.

It is a process like any other, with its own environment, folder and exit code, and may be killed; only what
importing proves is not proven by it. `test_startup.py`, `test_whole_path.py` and others start it from nothing.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SERVER = Path(__file__).with_name("warm_server.py")


def run(
    arguments: Sequence[str], environment: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run([sys.executable, "-m", "dpipe", *arguments], …)` with captured output gives."""
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        socket.send_fds(_server(), [b"!"], [theirs.fileno(), stdout.fileno(), stderr.fileno()])
        theirs.close()
        request = {"arguments": list(arguments), "environment": dict(environment), "folder": str(Path.cwd())}
        ours.sendall(json.dumps(request).encode())
        ours.shutdown(socket.SHUT_WR)
        pid, status = _answer(ours, arguments, seconds)
        assert status, f"the process that waits for {pid} is gone"
        said = [_text(stream) for stream in (stdout, stderr)]
    return subprocess.CompletedProcess(list(arguments), os.waitstatus_to_exitcode(int(status)), *said)


def _answer(socket_: socket.socket, arguments: Sequence[str], seconds: float) -> list[str]:
    """Pid and status of a process that ended; one that doesn't in time is killed."""
    said = b""
    socket_.settimeout(seconds)
    try:
        while part := socket_.recv(64):
            said += part
    except TimeoutError as error:
        os.kill(int(said.split()[0]), signal.SIGKILL)
        raise subprocess.TimeoutExpired(list(arguments), seconds) from error
    return said.decode().split("\n")


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode()


@functools.cache
def _server() -> socket.socket:
    """Started by the first who asks; it ends with this process."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen([sys.executable, "-P", str(SERVER)], stdin=theirs.fileno())
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours
