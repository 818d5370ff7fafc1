"""What the documents say is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    ROOT / "dags/README.md",
    ROOT / "cli/dpipe/sample/README.md",
    ROOT / "cli/dpipe/empty/README.md",
    *(ROOT / "examples").glob("*/README.md"),
]


def recipes() -> set[str]:
    text = (ROOT / "justfile").read_text(encoding="utf-8")
    return set(re.findall(r"(?m)^([a-z][a-z-]*)(?: [^:\n]+)?:(?!=)", text))


def commands() -> dict[str, set[str]]:
    """Each command's path (`dpipe quarantine list`) and the options it knows."""
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    sections = page.split("\n## ")[1:]
    return {section.split("\n", 1)[0]: set(re.findall(r"--[a-z-]+", section)) for section in sections}


def said(pattern: str) -> list[tuple[str, re.Match[str]]]:
    """Every match in code (inline or fenced) of a document written by hand, with the document's name."""
    found = []
    for path in DOCUMENTS:
        if path.name == "cli.md":
            continue
        text = path.read_text(encoding="utf-8")
        code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`|(?m:^    [^\n]+$)", text, flags=re.DOTALL))
        found += [(str(path.relative_to(ROOT)), match) for match in re.finditer(pattern, code)]
    return found


def test_the_command_reference_is_what_the_commands_say(tmp_path: Path) -> None:
    before = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    program = "import runpy, sys; print(runpy.run_path(sys.argv[1])['page'](), end='')"
    now = subprocess.run(
        [sys.executable, "-c", program, str(ROOT / "docs/generate_cli.py")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )

    assert now.stdout == before, "run `just docs`"


def test_every_recipe_that_a_document_names_exists() -> None:
    for document, match in said(r"\bjust ([a-z][a-z-]*)"):
        assert match[1] in recipes(), f"{document}: {match[0]}"


def test_every_command_that_a_document_names_exists() -> None:
    known = commands()
    for document, match in said(r"(?<![\w/.-])dpipe ([a-z]+)(?: ([a-z]+))?"):
        names = f"dpipe {match[1]}"
        assert names in known, f"{document}: {match[0]}"
        if any(command.startswith(f"{names} ") for command in known) and match[2]:
            assert f"{names} {match[2]}" in known, f"{document}: {match[0]}"


def test_every_option_that_a_document_gives_a_command_exists() -> None:
    known = commands()
    for document, match in said(r"(?<![\w/.-])dpipe ([a-z]+)((?: [^\s`#|&;]+)*)"):
        words = [f"dpipe {match[1]}", *match[2].split()]
        path = words[0]
        if len(words) > 1 and f"{path} {words[1]}" in known:
            path = f"{path} {words[1]}"
        for option in re.findall(r"--[a-z-]+", match[2]):
            assert option in known[path], f"{document}: {match[0]}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


def test_the_readme_is_one_screen_and_begins_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    fenced = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)

    assert len(text.splitlines()) <= 60
    assert fenced[0].splitlines() == ["pip install uv rust-just && just demo", "just test"]


def test_every_place_on_the_map_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = text.split("\n## Rooms\n")[1].split("\n## ")[0]
    places = re.findall(r"(?m)^\| `([^`]+)` \|", rooms)
    assert places
    assert [place for place in places if not (ROOT / place).exists()] == []
