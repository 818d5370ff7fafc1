"""What fails again and again: said once for as long as the words are the same, and tried after growing pauses."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from threading import Lock

from dpipe import output
from dpipe.errors import DpipeError
from dpipe.outages import told
from dpipe.stages.worker.backoff import Backoff


@dataclass
class Troubles:
    """Things by what people are to call them. Safe for threads; with `quiet` nothing of a failure is said."""

    quiet: bool = False
    _backoff: Backoff = field(default_factory=Backoff)
    _said: dict[str, str] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def is_due(self, name: str) -> bool:
        """Whether it didn't fail, or its pause is over."""
        return self._backoff.is_due(name)

    def failed(self, name: str, error: Exception) -> DpipeError:
        """Have it wait, and say so; what to tell of the error."""
        if output.options.verbose and not isinstance(error, DpipeError):
            traceback.print_exception(error)
        problem = told(error)
        with self._lock:
            pause = self._backoff.failed(name)
        self.say(name, f"{name} is tried again in {pause:.0f} s", problem)
        return problem

    def say(self, name: str, text: str, problem: DpipeError) -> None:
        """Say what is wrong with it, the same words not twice in a row."""
        with self._lock:
            if self.quiet or self._said.get(name) == problem.message:
                return
            self._said[name] = problem.message
            output.trouble(text, problem)

    def worked(self, name: str) -> None:
        """Forget its failures, and say that it goes on if they were said."""
        with self._lock:
            self._backoff.worked(name)
            if self._said.pop(name, None) is not None:
                output.note(f"{name} goes on")
