"""Whether the datasets' contracts can be carried out; a file is read again when it has changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dpipe.contract import contract_path, load_contract
from dpipe.contract.contract import file_version
from dpipe.errors import DpipeError

if TYPE_CHECKING:
    from dpipe.contract.contract import FileVersion
    from dpipe.settings import Project


@dataclass
class Contracts:
    """The last verdict on each dataset's contract, and the version of the file that it is about."""

    project: Project
    verdicts: dict[str, tuple[FileVersion, DpipeError | None]] = field(default_factory=dict)

    def broken(self, dataset: str) -> DpipeError | None:
        """What is wrong with the contract, None when it can be carried out. Raises `UsageError` when there is none."""
        path = contract_path(self.project, dataset)
        version = file_version(path)
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
