"""What an audit says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Check = Literal["chain", "balance", "landing", "files", "records"]


@dataclass(frozen=True)
class Finding:
    """Something that doesn't hold: of which dataset, of what (a batch, a commit or a file), and in a sentence."""

    dataset: str
    check: Check
    subject: str
    message: str


@dataclass
class DatasetAudit:
    """What was looked at of a dataset, by the ledger's counts, and what doesn't hold.

    Replays count apart: `replayed` are the records that they brought into raw, out of those that were rejected.
    `superseded` are rows whose place later records took.
    `recounted` batches were counted again from their landed bytes; of the others the contract isn't kept.
    `files` and `bytes` are those of the lake's live files, which were read to their ends.
    """

    dataset: str
    commits: int = 0
    batches: int = 0
    records_in: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicate: int = 0
    replayed: int = 0
    superseded: int = 0
    recounted: int = 0
    files: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether everything does."""
        return not self.findings

    def find(self, check: Check, subject: str, message: str) -> None:
        """Take down what doesn't hold."""
        self.findings.append(Finding(self.dataset, check, subject, message))
