"""Runs that are recorded, and told of as OpenLineage events where the settings ask for them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dpipe import output
from dpipe.lineage import delivery
from dpipe.outages import told
from dpipe.state import runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dpipe.lineage.events import Event
    from dpipe.settings import Project
    from dpipe.state import Run


@contextmanager
def recorded(project: Project, command: str) -> Iterator[Run]:
    """Record a run around the block, as `runs.recorded` does, and send its events.

    Its start is sent at once, all else when it is over, however it ended. What goes wrong with events is warned of, and
    never fails the run. Raises `ConfigError` before it begins when the settings name no place that events can go to.
    """
    if not delivery.is_wanted(project):
        with runs.recorded(project, command) as run:
            yield run
        return
    delivery.check(project)
    run_id = None
    try:
        with runs.recorded(project, command) as run:
            run_id = run.run_id
            _send(project, lambda: _begun(project, run))
            yield run
    finally:
        if run_id is not None:
            over = run_id
            # The start was sent.
            _send(project, lambda: _ended(project, over))


def _begun(project: Project, run: Run) -> Sequence[Event]:
    from dpipe.lineage.events import begun

    return [begun(project, run.run_id, run.command)]


def _ended(project: Project, run_id: str) -> Sequence[Event]:
    from dpipe.lineage.events import of_run

    return of_run(project, run_id)[1:]


def _send(project: Project, make: Callable[[], Sequence[Event]]) -> None:
    try:
        delivery.deliver(project, make())
    except Exception as error:  # events are about the run, not the run
        output.trouble("lineage events were not sent", told(error))
