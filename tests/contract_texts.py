"""Small contracts for the contract tests: one dataset `d`, and places marked in their text."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

from dpipe.contract import Finding, lint

MARK = "‸"
CONTRACTS = Path(__file__).parent.parent / "configs" / "contracts"

HEAD = """\
apiVersion: v3.1.0
kind: DataContract
id: d
version: 1.0.0
status: active
"""
COLUMN = "- {name: a, logicalType: string}"


def contract(columns: str = COLUMN, *, dataset: str = "", top: str = "", head: str = HEAD) -> str:
    """A contract of the dataset `d` with these items of `properties`, keys of the schema object, keys at the top."""
    return f"{head}{top}schema:\n  - name: d\n{indent(dataset, ' ' * 4)}\n    properties:\n{indent(columns, ' ' * 6)}\n"


def write(folder: Path, text: str | bytes, name: str = "d.odcs.yaml") -> Path:
    """A contract's file with the text, without its marks."""
    path = folder / name
    path.write_bytes(text.replace(MARK, "").encode() if isinstance(text, str) else text)
    return path


def findings(folder: Path, text: str | bytes) -> list[Finding]:
    """What lint says of the text."""
    return lint(write(folder, text))


def marked(text: str) -> tuple[int, int]:
    """Line and column of the mark, from 1."""
    before = text[: text.index(MARK)]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
