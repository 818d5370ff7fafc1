"""A process with dpipe's modules imported, from which `warm.run` has processes forked that become `dpipe`.

A request is three descriptors on standard input: a socket for the request's words and the answer, and what
becomes stdout and stderr. It ends when the other side of standard input is closed.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import threading
import time
from typing import NoReturn

# What only a few commands need, and what is no module of a command.
LEFT_OUT = ("dpipe.__main__", "dpipe.api", "dpipe.bench", "dpipe.project", "dpipe.warehouse.dbt_plugin")
# What commands import from others when they run.
MORE = ("pyarrow.csv", "pyarrow.dataset", "pyiceberg.catalog.sql", "rich.table", "sqlalchemy.dialects.sqlite")


def import_what_commands_need() -> None:
    """Without the threads that numpy and DuckDB start when they are imported, which a fork would lose."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import dpipe
    import duckdb

    for module in pkgutil.walk_packages(dpipe.__path__, "dpipe."):
        if not module.name.startswith(LEFT_OUT):
            importlib.import_module(module.name)
    for name in MORE:
        importlib.import_module(name)
    duckdb.execute("set threads = 1")  # of the connection that comes with the module


def forked() -> socket.socket:
    """Fork for each request; returns only in the processes that came of it, each with its answer's socket."""
    requests = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait for a dpipe
    while True:
        _, descriptors, _, _ = socket.recv_fds(requests, 1, 3)
        if not descriptors:
            os._exit(0)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            answer, stdout, stderr = descriptors
            for number, target in ((os.open(os.devnull, os.O_RDONLY), 0), (stdout, 1), (stderr, 2)):
                os.dup2(number, target)
                os.close(number)
            return socket.socket(fileno=answer)
        for descriptor in descriptors:
            os.close(descriptor)


def become_dpipe(answer: socket.socket) -> None:
    """Returns in a process that is as a new one would be; the one that waits for it answers with pid and status."""
    request = json.loads(b"".join(iter(lambda: answer.recv(65536), b"")))
    pid = os.fork()
    if pid:
        answer.sendall(f"{pid}\n".encode())
        answer.sendall(str(os.waitpid(pid, 0)[1]).encode())
        os._exit(0)
    answer.close()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.path.insert(0, request["folder"])  # as `python -m` does
    sys.argv = ["dpipe", *request["arguments"]]


def run() -> NoReturn:
    """`python -m dpipe`, and the interpreter's end without the half second that taking it apart costs."""
    code: object = 0
    try:
        runpy.run_module("dpipe", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    import_what_commands_need()
    gc.freeze()  # else the collector would write to, and so copy, every page that a fork shares
    become_dpipe(forked())
    run()
