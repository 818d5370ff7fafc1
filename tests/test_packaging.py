"""The wheel and the source archive carry the whole project, and the wheel works on its own."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dpipe.settings import load_project
from dpipe.stages.init import PARTS, init

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent
MATURIN = [sys.executable, "-m", "maturin"]


def run(words: Sequence[str], folder: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    """Run a command that must succeed and return what it printed."""
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=540, check=False
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in the checkout, so that it shares the extension's build with everything else."""
    folder = tmp_path_factory.mktemp("wheel")
    run([*MATURIN, "build", "--release", "--locked", "--out", str(folder)])
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def project_files(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What `dpipe init` copies out of the checkout, by its path below `dpipe/project/`."""
    made = init(tmp_path_factory.mktemp("init") / "shop")
    return {name for name in made.files if name.split("/")[0] in PARTS}


def test_the_wheel_has_the_project_and_the_sample_as_real_files(wheel: Path, project_files: set[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    carried = {name.removeprefix("dpipe/project/") for name in sizes if name.startswith("dpipe/project/")}

    assert carried == project_files
    assert sizes["dpipe/project/configs/dpipe.yaml"] == (ROOT / "configs/dpipe.yaml").stat().st_size
    assert sizes["dpipe/sample/data/flights.csv"] > 100_000
    own = {
        str(path.relative_to(ROOT / "cli"))
        for path in (ROOT / "cli/dpipe/empty").rglob("*")
        if path.is_file()
    }
    assert own
    assert own <= set(sizes)


def test_the_wheel_holds_nothing_outside_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}

    assert tops == {"dpipe", "dpipe-0.1.0.dist-info"}


def test_the_wheel_serves_every_python_from_3_11_on(wheel: Path) -> None:
    assert "cp311-abi3" in wheel.name


def test_the_source_archive_has_the_project_as_real_files(tmp_path: Path, project_files: set[str]) -> None:
    run([*MATURIN, "sdist", "--out", str(tmp_path)])

    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        members = archive.getmembers()
    below = "dpipe-0.1.0/cli/dpipe/project/"
    carried = {member.name.removeprefix(below) for member in members if member.name.startswith(below)}
    assert carried == project_files
    assert all(member.isfile() for member in members)


@pytest.mark.timeout(900)
def test_the_installed_wheel_runs_a_new_project(wheel: Path, tmp_path: Path) -> None:
    import duckdb

    uv = shutil.which("uv")
    assert uv, "the test needs `uv`: pip install uv"
    extras = ("--extra", "dbt", "--extra", "quality")
    locked = tmp_path / "locked.txt"
    locked.write_text(
        run([uv, "export", "-q", "--frozen", *extras, "--no-dev", "--no-emit-project", "--no-hashes"])
    )
    venv = tmp_path / "venv"
    run([uv, "venv", "--python", sys.executable, str(venv)])
    run([uv, "pip", "install", "--python", str(venv), "-c", str(locked), f"{wheel}[dbt,quality]"])

    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DPIPE_", "PYTHON"))}
    dpipe = str(venv / "bin/dpipe")
    run([dpipe, "init", "shop"], tmp_path, clean)
    run([dpipe, "run", "--json"], tmp_path / "shop", clean)

    with duckdb.connect(str(load_project(tmp_path / "shop").marts), read_only=True) as marts:
        assert marts.sql("select count(*) from marts.fct_flights").fetchall() == [(1785,)]


@pytest.mark.parametrize("folder", ["dags", "ui"])
def test_dags_and_pages_import_no_stage(folder: str) -> None:
    for path in (ROOT / folder).glob("**/*.py"):
        if ".venv" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            assert not [name for name in names if name.startswith("dpipe.stages")], path
            assert folder == "ui" or not [name for name in names if name.split(".")[0] == "dpipe"], path
