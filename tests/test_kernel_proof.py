"""`docs/kernel-proof.md` names tests that exist, and every `unsafe` there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/kernel-proof.md").read_text(encoding="utf-8")
SOURCES = [path for part in ("kernel/src", "py/src") for path in (ROOT / "rust_ext" / part).rglob("*.rs")]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:tests|rust_ext)/[^`\s]+)`", PAGE))))
def test_what_the_page_names_exists(name: str) -> None:
    path, _, function = name.partition("::")
    assert (ROOT / path).exists()
    if function:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"(?m)^ *(?:fn|def) {function}\(", text)


def test_every_unsafe_block_is_on_the_page() -> None:
    blocks = {
        str(path.relative_to(ROOT)): len(re.findall(r"\bunsafe\b(?!_)", path.read_text(encoding="utf-8")))
        for path in SOURCES
    }
    rows = PAGE.split("## `unsafe`")[1].split("\n## ")[0]
    named = re.findall(r"(?m)^\| `([^`]+)` \| (\d+) \|", rows)
    assert {path: count for path, count in blocks.items() if count} == {
        path: int(count) for path, count in named
    }
