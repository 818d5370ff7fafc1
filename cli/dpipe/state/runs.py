"""Runs of commands and what each stage did."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import desc, insert, select, update

from dpipe.errors import DpipeError, UsageError
from dpipe.meter import METER, Used
from dpipe.state import usage
from dpipe.state.engine import open_state
from dpipe.state.liveness import this_process
from dpipe.state.schema import runs, stage_results

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Engine, RowMapping

    from dpipe.settings import Project
    from dpipe.state.usage import Moved

INTERRUPTED = 130


@dataclass
class Run:
    """One command under way. Stages write their results under its id."""

    run_id: str
    command: str
    engine: Engine = field(repr=False)
    failure: tuple[int, str] | None = None
    outside: Used = field(default_factory=Used, repr=False)
    """What the process had used when it began, and no run before it had."""
    seconds_in_stages: float = 0.0

    def fail(self, message: str, *, exit_code: int = 1) -> None:
        """Have the run end as failed although no exception leaves it; the first reason is kept."""
        self.failure = self.failure or (exit_code, message)


@contextmanager
def recorded(project: Project, command: str) -> Iterator[Run]:
    """Record a run around the block: `running`, then `succeeded`, or `failed` with exit code and error.

    An exception marks the run failed and goes on to the caller.
    """
    engine = open_state(project)
    run = Run(f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}", command, engine)
    row = {"run_id": run.run_id, "command": command, "started_at": datetime.now(UTC), "status": "running"}
    with METER.run():
        run.outside, _ = METER.lap()
        started = time.perf_counter()
        with engine.begin() as connection:
            connection.execute(insert(runs).values(**row, **this_process()))
        try:
            yield run
        except BaseException as error:
            _finish(run, started, _exit_code(error), _words(error))
            raise
        _finish(run, started, *(run.failure or (0, None)))


def add_stage(  # noqa: PLR0913 - one argument a column
    run: Run,
    stage: str,
    *,
    started_at: datetime,
    seconds: float,
    dataset: str | None = None,
    records_in: int | None = None,
    accepted: int | None = None,
    rejected: int | None = None,
    duplicate: int | None = None,
    snapshot_id: int | None = None,
    detail: Mapping[str, Any] | None = None,
    moved: Moved | None = None,
) -> None:
    """Record what a stage did and used; `dataset` is None when it isn't about one. `detail` must have a JSON form.

    What the process used since the stage before it counts as this one's. A warehouse's share is `warehouse_seconds` and
    `warehouse_size` in the detail.
    """
    row = {
        "run_id": run.run_id,
        "stage": stage,
        "dataset": dataset,
        "started_at": started_at,
        "seconds": seconds,
        "records_in": records_in,
        "accepted": accepted,
        "rejected": rejected,
        "duplicate": duplicate,
        "snapshot_id": snapshot_id,
        "detail": json.dumps(detail) if detail is not None else None,
    }
    used, overlapped = METER.lap()
    run.seconds_in_stages += seconds
    with run.engine.begin() as connection:
        connection.execute(insert(stage_results).values(**row))
        usage.add(connection, row, used, moved, detail or {}, overlapped=overlapped)


def latest(project: Project, limit: int = 20) -> list[dict[str, Any]]:
    """The newest runs first: `run_id, command, started_at, finished_at, status, exit_code, error`."""
    with open_state(project).connect() as connection:
        rows = (
            connection.execute(select(runs).order_by(desc(runs.c.started_at)).limit(limit)).mappings().all()
        )
    return [_run(row) for row in rows]


def find(project: Project, run_id: str) -> dict[str, Any]:
    """The run whose id is or begins with `run_id`; raises `UsageError` unless there is exactly one."""
    with open_state(project).connect() as connection:
        matching = select(runs).where(runs.c.run_id.startswith(run_id, autoescape=True)).limit(2)
        rows = connection.execute(matching).mappings().all()
    if len(rows) != 1:
        problem = (
            f"no run has an id that begins with `{run_id}`" if not rows else f"`{run_id}` names several runs"
        )
        raise UsageError(problem, hint="`dpipe runs list` shows the ids")
    return _run(rows[0])


def stages(project: Project, run_id: str) -> list[dict[str, Any]]:
    """What the stages of a run did, in the order they ran; `detail` is parsed."""
    query = select(stage_results).where(stage_results.c.run_id == run_id).order_by(stage_results.c.started_at)
    with open_state(project).connect() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    return [{**row, "detail": json.loads(row["detail"]) if row["detail"] else None} for row in rows]


def stages_between(
    project: Project, stage: str, dataset: str | None, begin: datetime, end: datetime
) -> list[RowMapping]:
    """What a stage did in any run that it began in the meantime, in order; `detail` is JSON text.

    It is for a dataset, or with None for what isn't about one.
    """
    query = (
        select(stage_results)
        .where(stage_results.c.stage == stage, stage_results.c.dataset == dataset)
        .where(stage_results.c.started_at >= begin, stage_results.c.started_at <= end)
        .order_by(stage_results.c.started_at)
    )
    with open_state(project).connect() as connection:
        return list(connection.execute(query).mappings())


def builder_of(project: Project, candidate_id: str) -> str | None:
    """The run that built a candidate of the marts; others may have met it since."""
    query = (
        select(stage_results.c.run_id)
        .where(stage_results.c.stage == "transform")
        .where(stage_results.c.detail.contains(f'"candidate_id": "{candidate_id}"', autoescape=True))
        .order_by(stage_results.c.started_at)
        .limit(1)
    )
    with open_state(project).connect() as connection:
        found: str | None = connection.execute(query).scalar()
    return found


def _run(row: RowMapping) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in {"host", "pid", "process_started"}}


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    code = getattr(error, "exit_code", None)
    return code if isinstance(code, int) else 2


def _words(error: BaseException) -> str:
    if isinstance(error, DpipeError):
        return error.message
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _finish(run: Run, started: float, exit_code: int, error: str | None) -> None:
    values = {
        "status": "failed" if exit_code else "succeeded",
        "finished_at": datetime.now(UTC),
        "exit_code": exit_code,
        "error": error,
    }
    used, overlapped = METER.lap()
    rest = {
        "run_id": run.run_id,
        "stage": usage.REST,
        "dataset": None,
        "started_at": values["finished_at"],
        "seconds": max(time.perf_counter() - started - run.seconds_in_stages, 0.0),
        "records_in": None,
    }
    with run.engine.begin() as connection:
        connection.execute(update(runs).where(runs.c.run_id == run.run_id).values(**values))
        usage.add(connection, rest, run.outside + used, None, {}, overlapped=overlapped)
