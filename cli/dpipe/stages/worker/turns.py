"""What a worker does turn after turn: recorded when there is something to record, and going on whatever fails."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from dpipe.lineage import recorded
from dpipe.stages.locks import HeldError
from dpipe.stages.worker.troubles import Troubles

if TYPE_CHECKING:
    from collections.abc import Callable

    from dpipe.errors import DpipeError
    from dpipe.settings import Project
    from dpipe.stages.process import ProcessResult
    from dpipe.stages.worker.marts import MartsResult
    from dpipe.stages.worker.stop import Stop
    from dpipe.state import Run

T = TypeVar("T")

# Where a dataset's name would be; that has no blank.
ITSELF = "the worker"


@dataclass(frozen=True)
class Round:
    """What a turn did: datasets of which batches were committed or refused, or the marts.

    `landed` counts files of `sources` that landed in it, `problems` are what stopped a dataset or kept the marts from
    being published.
    """

    run_id: str
    landed: int
    datasets: tuple[ProcessResult, ...]
    marts: MartsResult | None
    problems: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Done:
    """What the steps of a turn came to."""

    landed: int = 0
    datasets: tuple[ProcessResult, ...] = ()
    marts: MartsResult | None = None


class Recording:
    """The run of a turn, begun when there is something to record; an idle turn has none."""

    def __init__(self, project: Project, command: str, stack: ExitStack) -> None:
        self.run: Run | None = None
        self._project = project
        self._command = command
        self._stack = stack

    def open(self) -> Run:
        """The run, recorded until the turn is over."""
        if self.run is None:
            self.run = self._stack.enter_context(recorded(self._project, self._command))
        return self.run


class Turns(ABC):
    """What is known from one turn to the next.

    After a turn `skipped` are things that another process held, `problems` what failed, which is also said unless
    `quiet`.
    """

    def __init__(self, project: Project, *, command: str, stop: Stop, quiet: bool) -> None:
        self.project = project
        self.command = command
        self.stop = stop
        self.quiet = quiet
        self.skipped: set[str] = set()
        self.problems: list[DpipeError] = []
        self.troubles = Troubles(quiet)

    def next(self) -> Round | None:
        """Take a turn; None when there was nothing to do. What fails holds up nothing else."""
        self.skipped, self.problems = set(), []
        found = None
        if self.troubles.is_due(ITSELF):
            try:
                found = self._recorded()
            except Exception as error:  # the state database failed, in which the run is recorded
                self.failed(ITSELF, error)
            else:
                self.troubles.worked(ITSELF)
        return found

    @abstractmethod
    def steps(self, recording: Recording) -> Done:
        """Take the steps of a turn."""

    def tried(self, name: str, step: Callable[[Recording], T | None], recording: Recording) -> T | None:
        """Take the step that people are to know by `name`, unless it is time to stop or it failed just now."""
        if self.stop.requested or not self.troubles.is_due(name):
            return None
        try:
            result = step(recording)
        except HeldError:
            self.skipped.add(name)
            return None
        except Exception as error:
            problem = self.failed(name, error)
            if recording.run is not None:
                recording.run.fail(problem.message, exit_code=problem.exit_code)
            return None
        self.troubles.worked(name)
        return result

    def failed(self, name: str, error: Exception) -> DpipeError:
        """Take note of what failed."""
        problem = self.troubles.failed(name, error)
        self.problems.append(problem)
        return problem

    def _recorded(self) -> Round | None:
        started = time.perf_counter()
        with ExitStack() as stack:
            recording = Recording(self.project, self.command, stack)
            done = self.steps(recording)
        if recording.run is None or not (done.landed or done.datasets or done.marts or self.problems):
            return None
        problems = tuple(problem.message for problem in self.problems)
        seconds = round(time.perf_counter() - started, 3)
        return Round(recording.run.run_id, done.landed, done.datasets, done.marts, problems, seconds)
