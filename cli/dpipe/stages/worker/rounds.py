"""The worker's rounds: look at every dataset, and process what is pending.

`dpipe run --follow` goes the same rounds, and lands the files of `sources` in them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dpipe.errors import DpipeError
from dpipe.stages.locks import held
from dpipe.stages.pending import Pending
from dpipe.stages.process import process
from dpipe.stages.worker.contracts import Contracts
from dpipe.stages.worker.turns import Done, Turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpipe.settings import Project
    from dpipe.stages.process import ProcessResult
    from dpipe.stages.worker.sources import Sources
    from dpipe.stages.worker.stop import Stop
    from dpipe.stages.worker.turns import Recording


class Rounds(Turns):
    """Turns in which each dataset is looked at; `names` are the datasets, without any those that have a contract.

    With `sources` their files land, too.
    """

    def __init__(
        self,
        project: Project,
        names: Sequence[str],
        *,
        command: str,
        stop: Stop,
        sources: Sources | None = None,
        quiet: bool = False,
    ) -> None:
        super().__init__(project, command=command, stop=stop, quiet=quiet)
        self.names = names
        self._sources = sources
        self._pending = Pending(project)
        self._contracts = Contracts(project)

    def steps(self, recording: Recording) -> Done:
        """Go through the datasets once."""
        results, landed = [], 0
        for name in self.names or self.project.datasets():
            landed += self._land(name, recording)
            if self._is_broken(name):
                continue
            result = self.tried(f"`{name}`", partial(self._dataset, name), recording)
            if result is not None and (result.batches or result.refused):
                results.append(result)
        return Done(landed, tuple(results))

    def _land(self, name: str, recording: Recording) -> int:
        sources = self._sources
        if sources is None or name not in self.project.settings.sources:
            return 0
        of = f"the source of `{name}`"
        return self.tried(of, lambda recording: sources.land(name, recording.open), recording) or 0

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

    def _is_broken(self, name: str) -> bool:
        """Whether the dataset waits for a contract that can be carried out; said when the contract has changed."""
        if self.stop.requested or not self.troubles.is_due(f"`{name}`"):
            return False
        try:
            problem = self._contracts.broken(name)
        except DpipeError as error:
            problem = error
        except Exception as error:  # whatever else keeps it from being read
            self.failed(f"`{name}`", error)
            return True
        if problem is not None:
            self.problems.append(problem)
            self.troubles.say(f"`{name}`", f"`{name}` is left alone until its contract is mended", problem)
        return problem is not None
