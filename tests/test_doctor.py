"""`dpipe doctor` says what is there, what is missing and what is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from dpipe.doctor import EXTRAS, examine
from dpipe.errors import UsageError
from dpipe.settings import Project, load_project
from support import make_project, run_dpipe

if TYPE_CHECKING:
    import pytest


def findings(project: Project) -> dict[str, tuple[str, str]]:
    """Status and detail of each check by its name."""
    return {check.name: (check.status, check.detail) for check in examine(lambda: project)}


def test_a_sound_project_has_nothing_broken(tmp_path: Path) -> None:
    found = findings(make_project(tmp_path))

    assert {status for status, _ in found.values()} == {"ok"}
    assert found["contracts"][1] == "orders"
    assert found["catalog"][1] == "none yet; the first run makes it"


def test_looking_changes_nothing(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    findings(project)

    assert sorted(tmp_path.rglob("*")) == before


def test_a_broken_contract_is_named(tmp_path: Path) -> None:
    found = findings(make_project(tmp_path, contracts={"orders": "kind: [not a contract"}))

    assert found["contracts"][0] == "broken"
    assert "orders.odcs.yaml" in found["contracts"][1]


def test_a_data_folder_below_a_file_is_broken(tmp_path: Path) -> None:
    project = make_project(tmp_path, settings={"data_dir": "file/var"})
    (tmp_path / "file").write_text("not a folder")

    assert findings(project)["data folder"][0] == "broken"


def test_a_catalog_that_does_not_answer_is_broken(tmp_path: Path) -> None:
    project = make_project(tmp_path, settings={"catalog_uri": "sqlite:////nowhere/at/all/catalog.db"})

    assert findings(project)["catalog"][0] == "broken"


def test_a_missing_extra_is_no_fault_and_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXTRAS, "ui", (("no_such_package.at_all",), "`dpipe dash`"))
    project = make_project(tmp_path)

    check = next(check for check in examine(lambda: project) if check.name == "extra ui")

    assert (check.status, check.hint) == ("missing", "pip install 'dpipe[ui]'")


def test_without_a_project_the_installation_is_looked_at_still(tmp_path: Path) -> None:
    def none_here() -> Project:
        raise UsageError("no project", hint="make one")

    checks = list(examine(none_here))

    assert checks[0].name == "python"
    assert (checks[-1].name, checks[-1].status, checks[-1].hint) == ("project", "broken", "make one")


def test_the_command_ends_with_2_and_one_document_when_something_is_broken(tmp_path: Path) -> None:
    project = make_project(tmp_path, contracts={"orders": "kind: [not a contract"})

    done = run_dpipe(project, "doctor", "--json")

    assert done.returncode == 2
    statuses = {check["name"]: check["status"] for check in json.loads(done.stdout)["checks"]}
    assert statuses["contracts"] == "broken"
    assert statuses["project"] == "ok"


def test_the_flights_project_is_sound() -> None:
    root = Path(__file__).parent.parent

    found = findings(load_project(root))

    assert not [name for name, (status, _) in found.items() if status == "broken"]
