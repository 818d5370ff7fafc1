"""The worker: round after round until it is told to stop, or one time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe import output
from dpipe.contract import contract_path
from dpipe.quality import alerts
from dpipe.stages.process import check_refused
from dpipe.stages.worker.rounds import Round, Rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dpipe.errors import DpipeError
    from dpipe.settings import Project
    from dpipe.stages.work import Refusal
    from dpipe.stages.worker.stop import Stop


def work(
    project: Project,
    datasets: Sequence[str] = (),
    *,
    stop: Stop,
    poll: float,
    transform_every: float | None,
    once: bool,
    on_round: Callable[[Round], None],
) -> None:
    """Process what lands, looking every `poll` seconds, until `stop` is requested; with `once` what is there now.

    `transform_every` is the least time in seconds between two publications of the marts, None for none. `on_round`
    hears of each round that did something. Raises `UsageError` for an unknown dataset, `ConfigError` when alerts can't
    be sent, and with `once` what went wrong first, or `DataError` when batches were refused.
    """
    for name in datasets:
        contract_path(project, name)
    alerts.check(project)
    if once:
        every = None if transform_every is None else 0.0
        _once(Rounds(project, datasets, stop=stop, transform_every=every, quiet=True), poll, on_round)
        return
    output.note(f"dpipe worker: looks at {', '.join(datasets) or 'every dataset'} each {poll:g} s")
    rounds = Rounds(project, datasets, stop=stop, transform_every=transform_every)
    while not stop.requested:
        done = rounds.next()
        if done is not None:
            on_round(done)
        stop.sleep(poll)
    output.note("dpipe worker: stopped")


def _once(rounds: Rounds, poll: float, on_round: Callable[[Round], None]) -> None:
    """One round, and more while another process holds a dataset."""
    problems: list[DpipeError] = []
    refusals: list[Refusal] = []
    while not rounds.stop.requested:
        done = rounds.next()
        problems += rounds.problems
        if done is not None:
            refusals += [refusal for result in done.datasets for refusal in result.refused]
            on_round(done)
        if not rounds.skipped:
            break
        rounds.stop.sleep(poll)
    for problem in problems[1:]:
        output.trouble("also", problem)
    if problems:
        raise problems[0]
    check_refused(refusals, "mend the data or the contract, then `dpipe process --retry-refused`")
