"""Whether the datasets' contracts can be carried out; a file is read again when it has changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dpipe.contract import contract_path, load_contract
from dpipe.errors import DpipeError

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project

Version = tuple[int, int, int]


@dataclass
class Contracts:
    """The last verdict on each dataset's contract, and the version of the file that it is about."""

    project: Project
    verdicts: dict[str, tuple[Version, DpipeError | None]] = field(default_factory=dict)

    def broken(self, dataset: str) -> DpipeError | None:
        """What is wrong with the contract, None when it can be carried out. Raises `UsageError` when there is none."""
        path = contract_path(self.project, dataset)
        version = _version(path)
        known = self.verdicts.get(dataset)
        if known is not None and known[0] == version:
            return known[1]
        try:
            load_contract(path)
            verdict = None
        except DpipeError as error:
            verdict = error
        self.verdicts[dataset] = (version, verdict)
        return verdict


def _version(path: Path) -> Version:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
