"""The worker's rounds: look at every dataset, process what is pending, publish marts when it is time.

`dpipe run --follow` goes the same rounds, and lands the files of `sources` in them.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from dpipe import output
from dpipe.errors import DpipeError
from dpipe.lineage import recorded
from dpipe.stages.locks import HeldError, held
from dpipe.stages.pending import Pending
from dpipe.stages.process import process
from dpipe.stages.worker.contracts import Contracts
from dpipe.stages.worker.marts import Marts, MartsResult
from dpipe.stages.worker.stop import Stopped
from dpipe.stages.worker.troubles import Troubles
from dpipe.state import runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dpipe.settings import Project
    from dpipe.stages.process import ProcessResult
    from dpipe.stages.worker.sources import Sources
    from dpipe.stages.worker.stop import Stop
    from dpipe.state import Run

T = TypeVar("T")

# Where a dataset's name would be; that has no blank.
MARTS = "the publication"
ITSELF = "the worker"
FOLLOW = "run --follow"
FILES = "the source of"


@dataclass(frozen=True)
class Round:
    """What a round did: datasets of which batches were committed or refused, and the marts if it was their turn.

    `landed` counts files of `sources` that landed in it, `problems` are what stopped a dataset or kept the marts from
    being published.
    """

    run_id: str
    landed: int
    datasets: tuple[ProcessResult, ...]
    marts: MartsResult | None
    problems: tuple[str, ...]
    seconds: float


class Recording:
    """The run of a round, begun when there is something to record; an idle round has none."""

    def __init__(self, project: Project, command: str, stack: ExitStack) -> None:
        self.run: Run | None = None
        self._project = project
        self._command = command
        self._stack = stack

    def open(self) -> Run:
        """The run, recorded until the round is over."""
        if self.run is None:
            self.run = self._stack.enter_context(recorded(self._project, self._command))
        return self.run


class Rounds:
    """What a worker knows from one round to the next.

    `names` are the datasets; without any, those that have a contract at the time. With `sources` their files land, too,
    and rounds are recorded as `dpipe run --follow`. After a round `skipped` are datasets that another process held,
    `problems` what failed, which is also said unless `quiet`.
    """

    def __init__(
        self,
        project: Project,
        names: Sequence[str],
        *,
        stop: Stop,
        transform_every: float | None,
        sources: Sources | None = None,
        quiet: bool = False,
    ) -> None:
        self.project = project
        self.names = names
        self.stop = stop
        self.quiet = quiet
        self.skipped: set[str] = set()
        self.problems: list[DpipeError] = []
        self._sources = sources
        self._command = "worker" if sources is None else FOLLOW
        self._pending = Pending(project)
        self._contracts = Contracts(project)
        self._marts = None
        if transform_every is not None:
            self._marts = Marts(
                project, transform_every, stop, command=self._command, check_raw=sources is not None
            )
        self._troubles = Troubles(quiet)

    def next(self) -> Round | None:
        """Go through the datasets once; None when there was nothing to do. What fails holds up nothing else."""
        self.skipped, self.problems = set(), []
        found = None
        if self._troubles.is_due(ITSELF):
            try:
                found = self._round()
            except Exception as error:  # the state database failed, in which the run is recorded
                self._failed(ITSELF, error)
            else:
                self._troubles.worked(ITSELF)
        return found

    def _round(self) -> Round | None:
        started = time.perf_counter()
        with ExitStack() as stack:
            recording = Recording(self.project, self._command, stack)
            results, landed = [], 0
            for name in self.names or self.project.datasets():
                if self._sources is not None and name in self.project.settings.sources:
                    landed += self._tried(f"{FILES} `{name}`", self._landed, recording, name) or 0
                result = self._tried(name, self._dataset, recording, name)
                if result is not None and (result.batches or result.refused):
                    results.append(result)
            marts = None
            if self._marts is not None:
                self._marts.committed |= any(result.batches for result in results)
                marts = self._tried(MARTS, self._renewed, recording, MARTS)
        if recording.run is None or not (landed or results or marts or self.problems):
            return None
        problems = tuple(problem.message for problem in self.problems)
        seconds = round(time.perf_counter() - started, 3)
        return Round(recording.run.run_id, landed, tuple(results), marts, problems, seconds)

    def _tried(
        self, name: str, step: Callable[[str, Recording], T | None], recording: Recording, of: str
    ) -> T | None:
        """Do a step of a dataset or of the marts, unless the worker is to stop or what `name` says failed just now."""
        if self.stop.requested or not self._troubles.is_due(_called(name)):
            return None
        try:
            if self._is_broken(name):
                return None
            result = step(of, recording)
        except HeldError:
            self.skipped.add(name)
            return None
        except Exception as error:
            problem = self._failed(name, error)
            if recording.run is not None:
                recording.run.fail(problem.message, exit_code=problem.exit_code)
            return None
        self._troubles.worked(_called(name))
        return result

    def _landed(self, name: str, recording: Recording) -> int | None:
        return None if self._sources is None else self._sources.land(name, recording.open)

    def _dataset(self, name: str, recording: Recording) -> ProcessResult | None:
        """Process what is pending; the look and the work are under one lock, so that no other worker comes between."""
        if not self._pending.unknown(name):
            return None
        with held(self.project, name, wait=False):
            if not self._pending.of(name):
                return None
            run = recording.open()
            (result,) = process(self.project, [name], run=run, holding=True, stop=self.stop.is_requested)
            if result.refused:
                run.fail(f"refused {len(result.refused)} batch(es) of `{name}`")
        return result

    def _renewed(self, _name: str, recording: Recording) -> MartsResult | None:
        if self._marts is None:
            return None
        try:
            result = self._marts.renew(recording.open)
        except Stopped:
            output.note("the marts are left as they were; the next worker builds them")
            recording.open().fail("told to stop before the marts were built", exit_code=runs.INTERRUPTED)
            return None
        if result is not None and result.problem is not None:
            self.problems.append(result.problem)
            if not self.quiet:  # each time: it is about another candidate
                output.trouble("the marts are not published", result.problem)
            recording.open().fail(result.problem.message, exit_code=result.problem.exit_code)
        return result

    def _is_broken(self, name: str) -> bool:
        """Whether the dataset waits for a contract that can be carried out; said when the contract has changed."""
        if name == MARTS or name.startswith(FILES):
            return False
        try:
            problem = self._contracts.broken(name)
        except DpipeError as error:
            problem = error
        if problem is not None:
            self.problems.append(problem)
            self._troubles.say(
                _called(name), f"{_called(name)} is left alone until its contract is mended", problem
            )
        return problem is not None

    def _failed(self, name: str, error: Exception) -> DpipeError:
        problem = self._troubles.failed(_called(name), error)
        self.problems.append(problem)
        return problem


def _called(name: str) -> str:
    return name if " " in name else f"`{name}`"
