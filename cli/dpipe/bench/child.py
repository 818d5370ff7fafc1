"""An engine's run in a process of its own, so that its start-up and its peak memory are its own."""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dpipe.bench.engines import KERNEL, engine
from dpipe.errors import DpipeError

if TYPE_CHECKING:
    from dpipe.bench.work import Job, Outcome


@dataclass(frozen=True)
class Run:
    """A run's cost and what it came to.

    `seconds` are around the work alone; `startup_seconds` is what the process took besides. Memory is the most that
    was resident at once, pages of mapped files included, in MB of 10⁶ bytes.
    """

    seconds: float
    startup_seconds: float
    peak_memory_mb: float
    outcome: Outcome


def run_in_child(name: str, job: Job) -> Run:
    """Do a job with an engine.

    Raises `DpipeError` with what the process said when it fails.
    """
    started = time.perf_counter()
    child = subprocess.run(
        [sys.executable, "-m", "dpipe.bench.child"],
        input=pickle.dumps((name, job)),
        capture_output=True,
        check=False,
        env={**os.environ, "POLARS_MAX_THREADS": str(job.workers)},
    )
    taken = time.perf_counter() - started
    if child.returncode != 0:
        said = child.stderr.decode(errors="replace").strip() or f"exit code {child.returncode}"
        raise DpipeError(f"`{name}` failed: {said}", hint=_hint(name))
    seconds, peak_memory_mb, outcome = pickle.loads(child.stdout)  # noqa: S301 - from our own child
    return Run(seconds, taken - seconds, peak_memory_mb, outcome)


def _hint(name: str) -> str:
    if name == KERNEL:
        return "is the file what its name, `--format` and `--compression` say?"
    return "measure the others: `--against …`"


def _main() -> None:
    name, job = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own parent
    module = engine(name)
    module.prepare()
    started = time.perf_counter()
    try:
        outcome = module.run(job)
    except Exception as error:  # any library's, told to the parent
        sys.exit(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
    seconds = time.perf_counter() - started
    sys.stdout.buffer.write(pickle.dumps((seconds, _peak_memory_mb(), outcome)))


def _peak_memory_mb() -> float:
    """The most memory that was resident.

    `ru_maxrss` begins, on Linux, with what the parent had when it started us, so `VmHWM` (in KiB) is asked first.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


if __name__ == "__main__":
    _main()
