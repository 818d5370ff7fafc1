"""Publish: the validated candidate takes the place of the published marts at once."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dpipe.errors import DataError, UsageError
from dpipe.stages.locks import held
from dpipe.stages.targets import opened
from dpipe.stages.transform import WAREHOUSE_LOCK
from dpipe.state import runs
from dpipe.state.usage import Moved
from dpipe.warehouse import candidate

if TYPE_CHECKING:
    from dpipe.settings import Project
    from dpipe.state import Run
    from dpipe.warehouse.candidate import CandidateStatus


@dataclass(frozen=True)
class PublishResult:
    """What is published now. `changed` is false when the candidate was published already; `rows` by mart."""

    path: str
    candidate_id: str
    previous_id: str | None
    changed: bool
    rows: dict[str, int]
    bytes: int
    seconds: float


def publish(project: Project, *, run: Run) -> PublishResult:
    """Put the marts of the candidate in the place of the published ones, at once; a crash leaves the one or the other.

    Raises `UsageError` when there is no candidate and `DataError` when it
    failed its checks or nobody ran them.
    """
    started_at, started = datetime.now(UTC), time.perf_counter()
    with held(project, WAREHOUSE_LOCK), opened(project) as target:
        status = candidate.status(target)
        candidate_id = _fit_to_publish(status)
        before = target.published_bytes()
        if not status.is_published:
            target.publish()
        result = PublishResult(
            path=target.published,
            candidate_id=candidate_id,
            previous_id=status.published_id,
            changed=not status.is_published,
            rows=target.published_rows(),
            bytes=target.published_bytes(),
            seconds=round(time.perf_counter() - started, 3),
        )
    detail = {key: value for key, value in asdict(result).items() if key != "seconds"}
    detail["target"] = project.settings.target
    moved = Moved(written=result.bytes if result.changed else 0, stored=max(result.bytes - before, 0))
    runs.add_stage(run, "publish", started_at=started_at, seconds=result.seconds, detail=detail, moved=moved)
    return result


def _fit_to_publish(status: CandidateStatus) -> str:
    """The candidate's id, unless it must not be published."""
    if status.candidate_id is None:
        raise UsageError(
            "there is no candidate to publish", hint="`dpipe transform` builds one, `dpipe run` does all"
        )
    if status.is_published or status.validated:
        return status.candidate_id
    if status.validated is None:
        raise DataError(
            "the candidate was not validated, so it is not published", hint="run `dpipe validate`"
        )
    raise DataError(
        "the candidate failed its checks, so it is not published",
        hint="`dpipe validate` says which; mend the data or the models, then `dpipe run`",
    )
