"""Every request to catalog and files fails once, before or after it took effect; then the command is run again.

The moments are counted in a run without faults, so that each one there is gets its turn.
"""

from __future__ import annotations

import contextlib
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from dpipe import landing
from dpipe.iceberg import storage
from dpipe.iceberg.compaction import Target
from dpipe.iceberg.sql_catalog import LakeCatalog
from dpipe.stages.audit.verify import verify
from dpipe.stages.maintain import maintain
from dpipe.stages.process import process
from dpipe.state import runs
from pyiceberg.exceptions import ServiceUnavailableError
from pyiceberg.io.pyarrow import PyArrowFile
from support import UPSERT, lake_content, make_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dpipe.settings import Project

HEADER = "order_id,day,amount\n"
BATCHES = (
    HEADER + "".join(f"{number},2013-01-0{number % 3 + 1},1\n" for number in range(12)) + "x,2013-01-01,1\n",
    HEADER + "".join(f"{number},2013-01-0{number % 3 + 1},2\n" for number in range(6, 18)),
)
NOTHING = timedelta(0)
REQUESTS: tuple[tuple[Any, str], ...] = (
    (LakeCatalog, "load_table"),
    (LakeCatalog, "commit_table"),
    (LakeCatalog, "register_table"),
    (PyArrowFile, "open"),
    (PyArrowFile, "create"),
    (storage, "write"),
)


class Faults:
    """Counts requests, and lets one of them fail: with an error that is momentary, or one that isn't."""

    def __init__(self) -> None:
        self.count = 0
        self.at: int | None = None
        self.after = False
        self.error: Callable[[], Exception] = lambda: ServiceUnavailableError("injected")

    def around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def request(*arguments: Any, **named: Any) -> Any:
            self.count += 1
            failing = self.count == self.at
            if failing and not self.after:
                raise self.error()
            answer = real(*arguments, **named)
            if failing:
                raise self.error()
            return answer

        return request


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    found = Faults()
    for owner, name in REQUESTS:
        monkeypatch.setattr(owner, name, found.around(getattr(owner, name)))
    yield found
    found.at = None


def prepared(folder: Path) -> Project:
    project = make_project(folder, {"orders": UPSERT}, {"max_rejected_share": 1.0})
    for number, content in enumerate(BATCHES):
        path = folder / f"{number}.csv"
        path.write_text(content)
        landing.land_file(project, "orders", path)
    return project


def work(project: Project) -> None:
    """Everything that commits: two batches, the second an upsert, and a compaction."""
    with runs.recorded(project, "process") as run:
        process(project, run=run)
    with runs.recorded(project, "maintain") as run:
        maintain(project, target=Target(64 << 20, 2), keep=NOTHING, run=run, young=NOTHING)


def assert_every_fault_converges(folder: Path, faults: Faults, moments: Callable[[int], list[int]]) -> None:
    calm = prepared(folder / "calm")
    work(calm)
    expected = lake_content(calm)
    total = faults.count
    for number in moments(total):
        for after in (False, True):
            for error in (lambda: ServiceUnavailableError("injected"), lambda: OSError(5, "injected")):
                project = prepared(folder / f"{number}-{after}-{error().__class__.__name__}")
                faults.count, faults.at, faults.after, faults.error = 0, number, after, error
                with contextlib.suppress(Exception):
                    work(project)
                # A run may make a request or two less than the calm one.
                assert faults.count >= min(number, total - 5)
                faults.at = None
                work(project)
                assert lake_content(project) == expected, (number, after)
                (audit,) = verify(project)
                assert audit.findings == [], (number, after)


def test_some_faults_converge(tmp_path: Path, faults: Faults) -> None:
    moments = random.Random(20_131_126)
    assert_every_fault_converges(tmp_path, faults, lambda total: sorted(moments.sample(range(1, total), 2)))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_fault_converges(tmp_path: Path, faults: Faults) -> None:
    assert_every_fault_converges(tmp_path, faults, lambda total: list(range(1, total + 1)))
