"""`docs/contracts.md` says what is so: its example lints clean, and its tables leave nothing out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from contract_texts import CONTRACTS, write
from dpipe.contract import lint
from dpipe.contract.custom import KNOWN
from dpipe.contract.limits import ENFORCED
from dpipe.contract.quality import OPERATORS

if TYPE_CHECKING:
    from pathlib import Path

DOC = (CONTRACTS.parent.parent / "docs" / "contracts.md").read_text(encoding="utf-8")
OPTIONS = {option for options in ENFORCED.values() for option in options}


def test_the_example_lints_clean(tmp_path: Path) -> None:
    example = DOC.partition("```yaml\n")[2].partition("```")[0]
    assert lint(write(tmp_path, example, "orders.odcs.yaml")) == []


@pytest.mark.parametrize("name", [*KNOWN, *sorted(OPTIONS), *OPERATORS, *ENFORCED])
def test_everything_that_is_enforced_is_documented(name: str) -> None:
    assert f"`{name}" in DOC


@pytest.mark.parametrize("name", KNOWN)
def test_the_place_of_a_property_is_documented(name: str) -> None:
    (row,) = [line for line in DOC.splitlines() if line.startswith(f"| `{name}`")]
    assert row.split(" | ")[1] == ", ".join(KNOWN[name].levels)
