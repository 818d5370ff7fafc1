"""What lint has to say about a contract, and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dpipe.contract.source import DocumentPath, Source

FindingSeverity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a contract.

    `line` and `column` start at 1; `at` is the way to the value (`schema[0].properties[1].name`), empty when the
    text as a whole is meant.
    """

    path: Path
    line: int
    column: int
    severity: FindingSeverity
    message: str
    hint: str
    at: str = ""

    @property
    def place(self) -> str:
        """`file:line:column`, as editors and terminals take it."""
        return f"{self.path}:{self.line}:{self.column}"

    def __str__(self) -> str:
        return f"{self.place}: {self.severity}: {self.message}\n  hint: {self.hint}"


@dataclass
class Report:
    """Collects findings about one document; places are given as paths into it."""

    source: Source
    findings: list[Finding] = field(default_factory=list)

    def error(self, at: DocumentPath, message: str, hint: str, *, key: bool = False) -> None:
        """Something that can't be carried out. `key` points at the key rather than its value."""
        self._add("error", at, message, hint, key=key)

    def warn(self, at: DocumentPath, message: str, hint: str, *, key: bool = False) -> None:
        """Something that has no effect, and breaks nothing."""
        self._add("warning", at, message, hint, key=key)

    @property
    def failed(self) -> bool:
        """Whether there is an error among the findings."""
        return any(finding.severity == "error" for finding in self.findings)

    def _add(
        self, severity: FindingSeverity, at: DocumentPath, message: str, hint: str, *, key: bool
    ) -> None:
        line, column = self.source.position(at, key=key)
        way = dotted(at)
        self.findings.append(Finding(self.source.path, line, column, severity, message, hint, way))


def dotted(at: DocumentPath) -> str:
    """The way to a value of a document: `schema[0].properties[1].name`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in at).removeprefix(".")


def listed(names: Iterable[str]) -> str:
    """Names in backticks with commas between them."""
    return ", ".join(f"`{name}`" for name in names)


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str | None = None) -> str:
    """A hint that offers the nearest known name, else `otherwise`, else every known one."""
    names = list(known)
    by_lower = {candidate.lower(): candidate for candidate in names}
    near = get_close_matches(name.lower(), by_lower, n=1)
    if near:
        return f"did you mean `{by_lower[near[0]]}`?"
    return otherwise or f"known here: {listed(names) or 'none'}"
