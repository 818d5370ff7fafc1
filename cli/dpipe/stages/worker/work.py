"""The worker, and `dpipe run --follow`: round after round until it is told to stop, or one time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe import output
from dpipe.contract import contract_path
from dpipe.quality import alerts
from dpipe.stages.process import check_refused
from dpipe.stages.run import source_names
from dpipe.stages.worker.consume import Consuming, drain_all
from dpipe.stages.worker.rounds import Round, Rounds
from dpipe.stages.worker.sources import Sources

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

    The datasets' streams are consumed beside that; with `once` they are first read up to their tips as of now.
    `transform_every` is the least time in seconds between two publications of the marts, None for none. `on_round`
    hears of each round that did something. Raises `UsageError` for an unknown dataset, `ConfigError` when alerts can't
    be sent, and with `once` what went wrong first, or `DataError` when batches were refused.
    """
    for name in datasets:
        contract_path(project, name)
    alerts.check(project)
    if once:
        every = None if transform_every is None else 0.0
        problems = drain_all(project, datasets, stop.is_requested)
        _once(
            Rounds(project, datasets, stop=stop, transform_every=every, quiet=True), poll, on_round, problems
        )
        return
    output.note(f"dpipe worker: looks at {', '.join(datasets) or 'every dataset'} each {poll:g} s")
    rounds = Rounds(project, datasets, stop=stop, transform_every=transform_every)
    with Consuming(project, datasets, stop.is_requested):
        _until_stopped(rounds, poll, on_round)
    output.note("dpipe worker: stopped")


def follow(
    project: Project, *, stop: Stop, poll: float, transform_every: float, on_round: Callable[[Round], None]
) -> None:
    """Take files of `sources` and what else lands to the published marts, until `stop` is requested.

    A worker's rounds for every dataset, its streams consumed beside them, in which files land as they appear, and marts
    are published. Raises
    `UsageError` when the settings name no sources, `ConfigError` when alerts can't be sent.
    """
    names = source_names(project)
    for name in names:
        contract_path(project, name)
    alerts.check(project)
    output.note(f"dpipe run: looks for files of {', '.join(names)} each {poll:g} s")
    sources = Sources(project)
    rounds = Rounds(project, (), stop=stop, transform_every=transform_every, sources=sources)
    with Consuming(project, (), stop.is_requested):
        _until_stopped(rounds, poll, on_round)
    output.note("dpipe run: stopped")


def _until_stopped(rounds: Rounds, poll: float, on_round: Callable[[Round], None]) -> None:
    while not rounds.stop.requested:
        done = rounds.next()
        if done is not None:
            on_round(done)
        rounds.stop.sleep(poll)


def _once(rounds: Rounds, poll: float, on_round: Callable[[Round], None], problems: list[DpipeError]) -> None:
    """One round, and more while another process holds a dataset; `problems` are those of before."""
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
