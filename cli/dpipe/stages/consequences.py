"""What a changed contract comes to beyond its table: checks that come and go, and files that name what goes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpipe.contract import contract_for
from dpipe.errors import UsageError
from dpipe.quality.from_contract import contract_suite
from dpipe.stages.compare import last_committed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dpipe.contract import Contract
    from dpipe.settings import Project
    from dpipe.stages.evolve import Evolution

WRITTEN_BY_TOOLS = frozenset({"target", "logs", "dbt_packages", "__pycache__", ".venv"})
SUFFIXES = frozenset({".sql", ".yml", ".yaml", ".py"})


@dataclass(frozen=True)
class Mention:
    """A line of the project that names a column which the table won't have under that name any more."""

    column: str
    path: str
    line: int


@dataclass(frozen=True)
class Consequences:
    """Checks by rule and column that `dpipe validate` is going to make, or no longer, and files to be mended."""

    checks_added: tuple[str, ...]
    checks_removed: tuple[str, ...]
    mentions: tuple[Mention, ...]


def consequences(project: Project, evolution: Evolution) -> Consequences:
    """What else the dataset's contract changes; nothing of checks when no batch met an earlier one.

    Raises `UsageError` for an unknown dataset.
    """
    new = contract_for(project, evolution.dataset)
    after = _checks(new)
    try:
        before = _checks(last_committed(project, evolution.dataset))
    except UsageError:
        before = after
    gone = {change.column for change in evolution.changes if change.kind == "drop"}
    gone |= {change.before for change in evolution.changes if change.before}
    return Consequences(
        tuple(name for check, name in after.items() if check not in before),
        tuple(name for check, name in before.items() if check not in after),
        tuple(_mentions(project, sorted(gone))),
    )


def _checks(contract: Contract) -> dict[str, str]:
    """Checks by what they are, with what they are called."""
    return {
        json.dumps([check.rule, check.column, check.type, check.severity, check.arguments], default=str): (
            check.rule if check.column is None else f"{check.rule} of `{check.column}`"
        )
        for check in contract_suite(contract, "").checks
    }


def _mentions(project: Project, columns: list[str]) -> Iterator[Mention]:
    if not columns:
        return
    names = re.compile(rf"\b(?:{'|'.join(map(re.escape, columns))})\b")
    for folder in (project.transform, project.checks, project.ui):
        for path in _texts(folder):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            for number, line in enumerate(lines, start=1):
                for name in sorted(set(names.findall(line))):
                    yield Mention(name, path.relative_to(project.root).as_posix(), number)


def _texts(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in SUFFIXES
        and path.is_file()
        and not WRITTEN_BY_TOOLS.intersection(path.relative_to(folder).parts)
    )
