"""The order of the tests: files that take minutes come first, so that no process is left alone with one at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

SLOWEST = {
    "test_whole_path.py",
    "test_faults.py",
    "test_transform.py",
    "test_transform_new_york.py",
    "test_validate_flights.py",
    "test_dash_browser.py",
    "test_dash_pages.py",
    "test_replay.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the slowest files to the front; the order within and among them stays."""
    items.sort(key=lambda item: item.path.name not in SLOWEST)
