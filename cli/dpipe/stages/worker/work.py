"""The worker, and `dpipe run --follow`: round after round until it is told to stop, or one time."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from dpipe import output
from dpipe.contract import contract_path
from dpipe.quality import alerts
from dpipe.stages.process import check_refused
from dpipe.stages.run import source_names
from dpipe.stages.worker.consume import Consuming, drain_all
from dpipe.stages.worker.publications import Beside, Publications
from dpipe.stages.worker.rounds import Rounds
from dpipe.stages.worker.sources import Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dpipe.errors import DpipeError
    from dpipe.settings import Project
    from dpipe.stages.work import Refusal
    from dpipe.stages.worker.stop import Stop
    from dpipe.stages.worker.turns import Round, Turns

WORKER = "worker"
FOLLOW = "run --follow"


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
        _once(project, datasets, stop, poll, on_round, publishes=transform_every is not None)
        return
    output.note(f"dpipe worker: looks at {', '.join(datasets) or 'every dataset'} each {poll:g} s")
    rounds = Rounds(project, datasets, command=WORKER, stop=stop)
    publications = None
    if transform_every is not None:
        publications = Publications(project, transform_every, command=WORKER, stop=stop)
    with Consuming(project, datasets, stop.is_requested):
        _until_stopped(rounds, publications, poll, on_round)
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
    rounds = Rounds(project, (), command=FOLLOW, stop=stop, sources=Sources(project))
    publications = Publications(project, transform_every, command=FOLLOW, stop=stop, check_raw=True)
    with Consuming(project, (), stop.is_requested):
        _until_stopped(rounds, publications, poll, on_round)
    output.note("dpipe run: stopped")


def _until_stopped(
    rounds: Rounds, publications: Publications | None, poll: float, on_round: Callable[[Round], None]
) -> None:
    with ExitStack() as stack:
        beside = stack.enter_context(Beside(publications)) if publications is not None else None
        while not rounds.stop.requested:
            done = rounds.next()
            _tell(done, on_round)
            if beside is not None:
                _tell(beside.next(has_committed=done is not None and bool(done.datasets)), on_round)
            rounds.stop.sleep(poll)
        if beside is not None:
            _tell(beside.wait(), on_round)


def _once(
    project: Project,
    datasets: Sequence[str],
    stop: Stop,
    poll: float,
    on_round: Callable[[Round], None],
    *,
    publishes: bool,
) -> None:
    """One round and one publication, and more while another process holds a dataset or the marts."""
    problems = drain_all(project, datasets, stop.is_requested)
    refusals: list[Refusal] = []
    rounds = Rounds(project, datasets, command=WORKER, stop=stop, quiet=True)
    for done in _until_nothing_is_skipped(rounds, rounds.next, poll, problems):
        refusals += [refusal for result in done.datasets for refusal in result.refused]
        on_round(done)
    if publishes:
        publications = Publications(project, 0, command=WORKER, stop=stop, quiet=True)
        with Beside(publications) as beside:
            for done in _until_nothing_is_skipped(publications, beside.turn, poll, problems):
                on_round(done)
    for problem in problems[1:]:
        output.trouble("also", problem)
    if problems:
        raise problems[0]
    check_refused(refusals, "mend the data or the contract, then `dpipe process --retry-refused`")


def _until_nothing_is_skipped(
    turns: Turns, turn: Callable[[], Round | None], poll: float, problems: list[DpipeError]
) -> Iterator[Round]:
    """What each turn did, until no other process holds anything; `problems` take in what failed."""
    while not turns.stop.requested:
        done = turn()
        problems += turns.problems
        if done is not None:
            yield done
        if not turns.skipped:
            break
        turns.stop.sleep(poll)


def _tell(done: Round | None, on_round: Callable[[Round], None]) -> None:
    if done is not None:
        on_round(done)
