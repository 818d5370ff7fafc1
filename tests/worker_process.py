"""A worker under way, or what goes its rounds: `dpipe worker` and `dpipe run --follow` in a process of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dpipe.settings import Project

SECONDS_TO_ANSWER = 40
SECONDS_TO_BUILD = 200
_numbers = count()


@dataclass
class Worker:
    """A worker under way; its words are in files, so that no pipe can hold it up."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """The lines that `--json` printed so far."""
        text = (self.folder / "stdout").read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    @property
    def said(self) -> str:
        """What it said on stderr so far."""
        return (self.folder / "stderr").read_text()

    def wait_for(self, condition: Callable[[], object], seconds: float = SECONDS_TO_ANSWER) -> None:
        """Wait until something has happened; fail with its words when it doesn't, or when the process ends."""
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.02)

    def ready(self) -> Worker:
        """Wait until it has begun."""
        self.wait_for(lambda: "looks " in self.said)
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS_TO_ANSWER)


@contextmanager
def under_way(project: Project, *command: str, python: Sequence[str] = ("-m", "dpipe")) -> Iterator[Worker]:
    """Run a command that goes rounds for as long as the block lasts."""
    folder = project.root / f"worker-{next(_numbers)}"
    folder.mkdir()
    call = [sys.executable, *python, "--project", str(project.root), *command, "--poll", "0.1", "--json"]
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(call, stdout=stdout, stderr=stderr)
    try:
        yield Worker(process, folder)
    finally:
        process.kill()
        process.wait()
