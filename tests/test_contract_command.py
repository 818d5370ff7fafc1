"""`dpipe contract lint` and `show`, run as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from contract_texts import CONTRACTS, contract, write
from dpipe.commands.contract import app
from dpipe.context import Globals
from dpipe.errors import UsageError
from support import make_project
from typer.testing import CliRunner

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from typer.testing import Result

ROOT = CONTRACTS.parent.parent


def dpipe(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, obj=Globals(project))


def test_lint_of_the_flights_project_finds_no_error() -> None:
    result = dpipe(ROOT, "lint")
    assert result.exit_code == 0
    assert "5 contracts, 0 errors" in result.stdout


def test_lint_names_the_place_and_the_fix_and_exits_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, contract("- {name: a, logicalType: map}"))
    monkeypatch.chdir(tmp_path)
    result = dpipe(tmp_path, "lint", "d.odcs.yaml")
    assert result.exit_code == 2
    assert result.stdout.splitlines() == [
        "d.odcs.yaml:10:32: error: dpipe doesn't read the type `map` yet",
        "  hint: give each key a column",
        "1 contract, 1 error, 0 warnings",
    ]


def test_lint_takes_a_dataset_by_name() -> None:
    result = dpipe(ROOT, "lint", "airlines", "airports", "--json")
    document = json.loads(result.stdout)
    assert [path.rsplit("/", 1)[-1] for path in document["contracts"]] == [
        "airlines.odcs.yaml",
        "airports.odcs.yaml",
    ]
    assert document["errors"] == 0


def test_lint_prints_findings_as_json(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    result = dpipe(tmp_path, "lint", str(path), "--json")
    assert result.exit_code == 2
    (finding,) = json.loads(result.stdout)["findings"]
    assert finding["message"] == "the file holds no contract"
    assert (finding["line"], finding["column"], finding["severity"]) == (1, 1, "error")


def test_lint_looks_at_files_that_no_dataset_is_named_after(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (project.contracts / "orders.odcs.yaml").rename(project.contracts / "orders.yaml")
    result = dpipe(tmp_path, "lint")
    assert result.exit_code == 2
    assert "call the file `orders.odcs.yaml`" in result.stdout


def test_lint_of_a_project_without_contracts_says_how_to_begin(tmp_path: Path) -> None:
    make_project(tmp_path, {})
    result = dpipe(tmp_path, "lint")
    assert isinstance(result.exception, UsageError)


def test_show_prints_the_compiled_contract() -> None:
    result = dpipe(ROOT, "show", "flights")
    assert result.exit_code == 0
    assert "key: year, month, day, carrier, flight, origin, sched_dep_time" in result.stdout
    assert "partition: year, month" in result.stdout
    assert "error: flights_has_rows: row count > 0" in result.stdout


def test_show_prints_json() -> None:
    document = json.loads(dpipe(ROOT, "show", "weather", "--json").stdout)
    assert document["plan"]["key"] == ["origin", "time_hour"]
    assert {rule["name"] for rule in document["quality"]} >= {"weather_has_rows"}


def test_the_command_imports_nothing_heavy() -> None:
    code = (
        "import sys, dpipe.commands.contract; "
        "print([name for name in ('pydantic', 'ruamel.yaml', 'duckdb', 'pyarrow', 'rich') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"TYPER_USE_RICH": "0"}
    )
    assert result.stdout.strip() == "[]"
