"""`dpipe init` writes a whole project, or touches nothing."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml
from dpipe.errors import UsageError
from dpipe.settings import load_project
from dpipe.stages.init import PARTS, init
from support import run_dpipe

ROOT = Path(__file__).parent.parent


def test_the_new_project_has_every_part_of_this_one(tmp_path: Path) -> None:
    made = init(tmp_path / "shop")

    for part in PARTS:
        assert (made.folder / part).is_dir()
        assert any(name.startswith(f"{part}/") for name in made.files)
    for name in ("README.md", ".gitignore", "data/flights.csv", "data/NOTICE", "configs/dpipe.yaml"):
        assert name in made.files


def test_its_files_are_real_files_and_none_is_a_leftover(tmp_path: Path) -> None:
    made = init(tmp_path / "shop")

    assert not [path for path in made.folder.rglob("*") if path.is_symlink()]
    assert not [name for name in made.files if set(Path(name).parts) & {".venv", "__pycache__", "logs"}]


def test_it_is_named_after_its_folder(tmp_path: Path) -> None:
    init(tmp_path / "My Shop")

    assert load_project(tmp_path / "My Shop").settings.name == "my_shop"


def test_every_source_of_its_settings_is_there(tmp_path: Path) -> None:
    made = init(tmp_path / "shop")

    sources = yaml.safe_load((made.folder / "configs/dpipe.yaml").read_text())["sources"]
    assert set(sources) == set(load_project(ROOT).settings.sources)
    for pattern in sources.values():
        assert list(made.folder.glob(pattern)), pattern


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()

    assert init(tmp_path / "shop").files


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mine.txt").write_text("mine")

    with pytest.raises(UsageError, match="not empty") as refused:
        init(tmp_path / "shop")

    assert refused.value.hint == "name a folder that is missing or empty"
    assert [path.name for path in tmp_path.rglob("*")] == ["shop", "mine.txt"]


def test_a_file_in_the_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("a file")

    with pytest.raises(UsageError, match="not a folder"):
        init(tmp_path / "shop")


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")

    with pytest.raises(UsageError, match="can't be written"):
        init(tmp_path / "file" / "shop")


def test_the_sample_has_the_gaps_of_the_real_data() -> None:
    def rows(name: str) -> list[dict[str, str]]:
        with (ROOT / "cli/dpipe/sample/data" / name).open(newline="") as file:
            return list(csv.DictReader(file))

    flights = rows("flights.csv")
    airports = {row["faa"] for row in rows("airports.csv")}
    planes = {row["tailnum"] for row in rows("planes.csv")}

    assert len(flights) == 1785
    assert {row["dest"] for row in flights} - airports == {"BQN", "PSE", "SJU", "STT"}
    assert sum(row["dep_time"] == "NA" for row in flights) == 12
    assert any(row["tailnum"] == "NA" for row in flights)
    assert any(row["tailnum"] not in planes for row in flights)


def test_the_sample_is_small() -> None:
    size = sum(path.stat().st_size for path in (ROOT / "cli/dpipe/sample").rglob("*") if path.is_file())
    assert size < 400_000


def test_an_empty_project_knows_nothing_of_flights(tmp_path: Path) -> None:
    made = init(tmp_path / "My Shop", empty=True)

    project = load_project(made.folder)
    assert (project.settings.name, project.settings.sources, project.datasets()) == ("my_shop", {}, [])
    dbt = yaml.safe_load((project.transform / "dbt_project.yml").read_text())
    assert (dbt["name"], list(dbt["models"])) == ("my_shop", ["my_shop"])
    assert {"dags/my_shop_daily.py", "ui/app.py", "ui/views/overview.py", "README.md"} <= set(made.files)
    texts = {name: (made.folder / name).read_text() for name in made.files if name != "dags/uv.lock"}
    assert [name for name, text in texts.items() if "flight" in text.lower()] == []
    assert not [name for name in made.files if name.endswith(".odcs.yaml") or "flights" in name]


@pytest.mark.parametrize("name", ["2026", "on", "null"])
def test_a_folder_may_be_called_what_yaml_takes_for_no_text(tmp_path: Path, name: str) -> None:
    assert load_project(init(tmp_path / name).folder).settings.name == name


def test_an_empty_project_of_digits_has_a_name_that_dbt_takes(tmp_path: Path) -> None:
    project = load_project(init(tmp_path / "2026", empty=True).folder)

    assert project.settings.name == "2026"
    assert yaml.safe_load((project.transform / "dbt_project.yml").read_text())["name"] == "project_2026"


@pytest.mark.parametrize("command", ["process", "contract lint", "contract apply", "ingest x y.csv", "run"])
def test_an_empty_project_says_how_to_begin(tmp_path: Path, command: str) -> None:
    project = load_project(init(tmp_path / "shop", empty=True).folder)

    said = run_dpipe(project, *command.split())

    assert said.returncode == 2
    assert "`dpipe contract infer FILE… --write`" in said.stderr
