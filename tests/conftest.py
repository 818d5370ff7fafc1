"""The order of the tests, and the servers that some of them share."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from dpipe import s3
from servers import BUCKET, SeaweedFS, seaweedfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# They take minutes, and come first so that no process is left alone with one at the end.
SLOWEST = {
    "test_whole_path.py",
    "test_faults.py",
    "test_transform.py",
    "test_transform_new_york.py",
    "test_validate_flights.py",
    "test_dash_browser.py",
    "test_dash_pages.py",
    "test_replay.py",
    "test_worker.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the slowest files to the front; the order within and among them stays."""
    items.sort(key=lambda item: item.path.name not in SLOWEST)


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
