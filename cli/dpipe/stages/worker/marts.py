"""Marts that follow the lake: built, checked and published when there are commits that they lack."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dpipe import output
from dpipe.errors import DpipeError, UnavailableError
from dpipe.iceberg import ledger, open_catalog, tables
from dpipe.iceberg.catalog import LEDGER
from dpipe.stages.locks import held
from dpipe.stages.publish import publish
from dpipe.stages.run import Progress, build_candidate, build_checked
from dpipe.stages.targets import opened
from dpipe.stages.worker.freshness import Freshness, freshness
from dpipe.state import runs
from dpipe.warehouse import batches

if TYPE_CHECKING:
    from collections.abc import Callable

    from dpipe.settings import Project
    from dpipe.stages.publish import PublishResult
    from dpipe.stages.worker.stop import Stop
    from dpipe.state import Run
    from dpipe.warehouse.batches import Batch

# Held from the build to the publication, so that no other worker builds over a candidate that is being checked. No
# dataset's name, and so no dataset's lock, has a point.
LOCK = "worker.marts"


@dataclass(frozen=True)
class MartsResult:
    """What was published, and how old its batches were; or the failed model or check that stood in the way."""

    published: PublishResult | None
    freshness: Freshness | None
    problem: DpipeError | None


class Marts:
    """Publishes marts at most every so many seconds, when the ledger has batches that they lack.

    Commits of other workers count too; they are looked for as often. With `check_raw` the raw tables' checks stand in
    the way, too.
    """

    def __init__(self, project: Project, every: float, stop: Stop, *, command: str, check_raw: bool) -> None:
        self.project = project
        self.every = every
        self.stop = stop
        self.command = command
        self.build = build_checked if check_raw else build_candidate
        self._committed = False
        self._built_at = self._looked_at = float("-inf")
        self._done_with: str | None = None

    def renew(self, open_run: Callable[[], Run]) -> MartsResult | None:
        """Build, check and publish; None when there is nothing to do.

        After a failed model or check there is nothing to do until the next commit. Raises `HeldError` when another
        worker is at it, `Stopped` when it is time to stop before the publication, `UnavailableError`.
        """
        if not self.is_due():
            return None
        self._committed, looked_at = False, time.monotonic()
        try:
            with held(self.project, LOCK, wait=False):
                self._looked_at = looked_at
                location = self._ledger_location()
                result = None
                if location is not None and location != self._done_with and self._lacking(location):
                    self._built_at = looked_at
                    result = self._build(open_run())
                self._done_with = location
        except BaseException:
            self._committed = True
            raise
        return result

    def has_committed(self) -> None:
        """Have it look again as soon as marts may be published."""
        self._committed = True

    def is_due(self) -> bool:
        """Whether it is time to look."""
        last = self._built_at if self._committed else max(self._built_at, self._looked_at)
        return time.monotonic() >= last + self.every

    def _ledger_location(self) -> str | None:
        found = tables.load(open_catalog(self.project), LEDGER)
        return None if found is None else found.metadata_location

    def _lacking(self, location: str) -> frozenset[Batch]:
        return batches.ledger({".".join(LEDGER): location}) - self._published()

    def _published(self) -> frozenset[Batch]:
        with opened(self.project) as target:
            contents = target.published_contents()
        return contents.batches if contents else frozenset()

    def _build(self, run: Run) -> MartsResult:
        before = self._published()
        try:
            problem = self.build(self.project, Progress(run, {}, [], {}), self._begin)
            self.stop.check()
            if problem is None:
                published = publish(self.project, run=run)
                return MartsResult(published, self._measure(run, self._published() - before), None)
        except UnavailableError:
            raise
        except DpipeError as error:
            self.stop.check()  # dbt was ended
            problem = error
        return MartsResult(None, None, problem)

    def _begin(self, stage: str) -> None:
        self.stop.check()  # a candidate is nobody's, and built anew from the beginning
        output.note(f"dpipe {self.command}: {stage} …")

    def _measure(self, run: Run, new: frozenset[Batch]) -> Freshness | None:
        """The freshness of what was published just now, kept with the run."""
        published_at, started = datetime.now(UTC), time.perf_counter()
        ids: dict[str, set[str]] = {}
        for batch in new:
            ids.setdefault(batch.dataset, set()).add(batch.batch_id)
        catalog = open_catalog(self.project)
        rows = (row for name, of_name in ids.items() for row in ledger.of_batches(catalog, name, of_name))
        found = freshness((row["received_at"] for row in rows), published_at)
        if found is not None:
            seconds = time.perf_counter() - started
            runs.add_stage(run, "freshness", started_at=published_at, seconds=seconds, detail=asdict(found))
        return found
