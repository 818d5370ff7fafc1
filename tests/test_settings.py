"""Where a project may be, and what the databases in it are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dpipe.errors import ConfigError
from dpipe.iceberg import open_catalog
from dpipe.state import open_state
from support import make_project

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["100%20 & more", "%", "é+ö"])
def test_a_folder_of_any_plain_name_holds_its_databases(tmp_path: Path, name: str) -> None:
    project = make_project(tmp_path / name)
    open_catalog(project)
    open_state(project)
    assert {path.name for path in project.data_dir.glob("*.db")} == {"catalog.db", "state.db"}


@pytest.mark.parametrize("character", ["#", "?"])
def test_a_folder_that_no_location_can_name_is_refused(tmp_path: Path, character: str) -> None:
    with pytest.raises(ConfigError, match=r"the path `.*` has a") as caught:
        make_project(tmp_path / f"a{character}b")
    assert "another name" in str(caught.value.hint)


def test_a_data_folder_that_no_location_can_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has a `#`"):
        make_project(tmp_path, settings={"data_dir": "var#1"})
