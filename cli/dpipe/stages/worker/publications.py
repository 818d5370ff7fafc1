"""Marts published beside the worker's rounds, so that no commit waits for a build."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dpipe import output
from dpipe.stages.worker.marts import Marts
from dpipe.stages.worker.stop import Stopped
from dpipe.stages.worker.turns import Done, Turns
from dpipe.state import runs
from dpipe.warehouse import dbt_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from dpipe.settings import Project
    from dpipe.stages.worker.marts import MartsResult
    from dpipe.stages.worker.stop import Stop
    from dpipe.stages.worker.turns import Recording, Round

MARTS = "the publication"
LOOK_SECONDS = 0.1


class Publications(Turns):
    """Turns in which marts are published, `every` so many seconds at most."""

    def __init__(
        self,
        project: Project,
        every: float,
        *,
        command: str,
        stop: Stop,
        check_raw: bool = False,
        quiet: bool = False,
    ) -> None:
        super().__init__(project, command=command, stop=stop, quiet=quiet)
        self.marts = Marts(project, every, stop, command=command, check_raw=check_raw)

    def steps(self, recording: Recording) -> Done:
        """Publish the marts if it is their turn."""
        return Done(marts=self.tried(MARTS, self._renewed, recording))

    def _renewed(self, recording: Recording) -> MartsResult | None:
        try:
            result = self.marts.renew(recording.open)
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


class Beside:
    """Takes the turns of publications in a thread, one at a time, for as long as a block lasts.

    A turn begins between two rounds of the datasets, so that a build sees what a round brought as a whole.
    """

    def __init__(self, publications: Publications) -> None:
        self._publications = publications
        self._thread: threading.Thread | None = None
        self._done: Round | None = None

    def __enter__(self) -> Beside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See that nothing goes on building."""
        self._join(lambda: True)

    def next(self, *, has_committed: bool) -> Round | None:
        """What the turn that has ended did; the next one begins when marts may be published again."""
        if has_committed:
            self._publications.marts.has_committed()
        if self._thread is not None and self._thread.is_alive():
            return None
        done, self._done = self._done, None
        if self._publications.marts.is_due():
            self._thread = threading.Thread(target=self._turn, name="marts", daemon=True)
            self._thread.start()
        return done

    def turn(self) -> Round | None:
        """Take one turn, and what it did."""
        return self.next(has_committed=True) or self.wait()

    def wait(self) -> Round | None:
        """What the turn that is under way did; when it is time to stop, it is cut short."""
        self._join(self._publications.stop.is_requested)
        done, self._done = self._done, None
        return done

    def _join(self, is_cut_short: Callable[[], bool]) -> None:
        """Wait for the turn that is under way."""
        while self._thread is not None and self._thread.is_alive():
            if is_cut_short():
                dbt_process.end_all()
            self._thread.join(LOOK_SECONDS)

    def _turn(self) -> None:
        self._done = self._publications.next()
