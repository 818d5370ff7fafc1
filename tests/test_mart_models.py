"""What the YAML files of the flights project's marts promise to those who read them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from warehouse_lake import CHECKOUT

MODELS = CHECKOUT / "transform" / "models"
NUMERIC = {"integer", "bigint", "double"}
ADDITIVITY = {"additive", "semi-additive", "non-additive", "attribute"}


def marts() -> dict[str, dict[str, Any]]:
    """The marts as they are described, by name."""
    documents = [yaml.safe_load(path.read_text()) for path in sorted((MODELS / "marts").glob("*.yml"))]
    return {model["name"]: model for document in documents for model in document.get("models") or ()}


@pytest.mark.parametrize("name", sorted(marts()))
def test_every_number_of_a_mart_says_how_it_adds_up_and_nothing_else_does(name: str) -> None:
    numbers = {
        column["name"]: column.get("config", {}).get("meta", {}).get("additivity")
        for column in marts()[name]["columns"]
    }
    said = {name: word for name, word in numbers.items() if word is not None}
    assert set(said.values()) <= ADDITIVITY
    assert said.keys() == {
        column["name"]
        for column in marts()[name]["columns"]
        if column["data_type"] in NUMERIC and not column["name"].endswith("_id")
    }


def test_every_column_of_a_mart_is_described_and_typed() -> None:
    for name, model in marts().items():
        assert model["description"].startswith("One row per"), name
        for column in model["columns"]:
            assert column["description"], (name, column["name"])
            assert column["data_type"], (name, column["name"])


def test_exposures_name_the_marts_that_the_pages_read() -> None:
    exposures = yaml.safe_load((MODELS / "marts" / "exposures.yml").read_text())["exposures"]
    named = {mart for exposure in exposures for mart in re.findall(r"\w+", " ".join(exposure["depends_on"]))}
    pages = "".join(path.read_text() for path in (CHECKOUT / "ui").rglob("*.py"))
    assert named - {"ref"} == set(re.findall(r"\bmarts\.(\w+)", pages)) & marts().keys()
