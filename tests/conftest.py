"""The order of the tests, where they write, and the servers that some of them share."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dpipe import output, s3
from dpipe.streams.kinesis import _client
from servers import BUCKET, REGION, Kinesalite, SeaweedFS, kinesalite, seaweedfs
from stream_support import Kinesis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

# A memory file system, and the bytes that must be free in it: a commit waits for a disk dozens of times.
MEMORY = "/dev/shm"
ENOUGH_MEMORY = 8 << 30

# Files that one process takes, one after the other, since they share what takes long to make.
TOGETHER = {"tests/test_dash_browser.py": "tests/test_dash_pages.py"}

# They take longest, and come first, the longest one at the head, so that no process is left alone with one at the end.
SLOWEST = (
    "test_whole_path.py",
    "test_transform.py",
    "test_dash_browser.py",
    "test_dash_pages.py",
    "test_replay.py",
    "test_upsert.py",
    "test_staging_files.py",
    "test_run_follow.py",
    "test_worker.py",
    "test_worker_streams.py",
    "test_transform_new_york.py",
    "test_validate_flights.py",
    "test_tpch.py",
    "test_faults.py",
    "test_packaging.py",
    "test_process.py",
)


def pytest_configure() -> None:
    """Have temporary folders in memory where there is plenty, unless the environment says where.

    Interrupts are heard also in the background of a script, where they are ignored: tests send them.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
        if min(shutil.disk_usage(MEMORY).free, kilobytes << 10) >= ENOUGH_MEMORY:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the slowest files to the front, in their order; the order within and among the others stays."""
    place = {name: number for number, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Give files out one by one, as `--dist loadfile` does, but for those that belong together."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc] # it has no types
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return TOGETHER.get(file, file)

    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(autouse=True)
def _flags_end_with_their_test() -> Iterator[None]:
    """A command that a test runs in this process leaves its `--quiet` behind."""
    before = dict(vars(output.options))
    yield
    vars(output.options).update(before)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A SeaweedFS for all tests of a process."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as running:
        yield running


@pytest.fixture
def aws(server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS's chain leads to the server, in this process and in those that it starts."""
    for name, value in server.catalog_environment.items():
        monkeypatch.setenv(name, value)
    s3.client.cache_clear()
    yield
    s3.client.cache_clear()


@pytest.fixture(scope="session")
def kinesalite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinesalite]:
    """An emulator of Kinesis for all tests of a process."""
    with kinesalite(tmp_path_factory.mktemp("kinesalite")) as running:
        yield running


@pytest.fixture
def kinesis(kinesalite_server: Kinesalite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kinesis]:
    """Streams; AWS's chain leads to the emulator, in this process and in those that it starts."""
    yield from _streams(kinesalite_server, monkeypatch)


@pytest.fixture
def own_kinesalite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Kinesalite, Kinesis]]:
    """An emulator that a test may kill, and its streams, to which AWS's chain leads."""
    with kinesalite(tmp_path / "kinesalite") as running:
        yield from ((running, streams) for streams in _streams(running, monkeypatch))


def _streams(server: Kinesalite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kinesis]:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    _client.cache_clear()
    yield Kinesis(_client(REGION))
    _client.cache_clear()


_numbers = itertools.count()


@pytest.fixture
def bucket(aws: None) -> Callable[[], dict[str, str]]:
    """Settings of a project that lands and has its tables in a place of its own in S3, with a catalog in SQLite."""

    def place() -> dict[str, str]:
        prefix = f"s3://{BUCKET}/{next(_numbers)}"
        return {"landing": f"{prefix}/landing", "warehouse": f"{prefix}/lake"}

    return place


@pytest.fixture
def rest(aws: None, server: SeaweedFS) -> Callable[[], dict[str, str]]:
    """The same with a REST catalog, each of which is given once."""

    def place() -> dict[str, str]:
        return {
            "landing": f"s3://{BUCKET}/{next(_numbers)}/landing",
            "warehouse": f"s3://{server.catalog_buckets.pop()}",
            "catalog_uri": server.catalog,
        }

    return place
