"""Which landed batches are pending, asked again and again: landing's names first, the lake only for unknown ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dpipe.iceberg import dismissed, ledger, open_catalog
from dpipe.landing import batch_ids
from dpipe.state import refused

if TYPE_CHECKING:
    from dpipe.settings import Project


@dataclass
class Pending:
    """The batches that are known to be committed or dropped, by dataset. Neither is ever undone.

    A refusal may be, so that refused batches are asked for each time.
    """

    project: Project
    done: dict[str, set[str]] = field(default_factory=dict)

    def unknown(self, dataset: str) -> set[str]:
        """Landed batches of which only the lake can say whether they are pending."""
        new = batch_ids(self.project, dataset) - self.done.get(dataset, set())
        if new:
            new -= {batch.batch_id for batch in refused.listed(self.project, dataset)}
        return new

    def of(self, dataset: str) -> set[str]:
        """Landed batches that are neither committed, refused nor dropped."""
        unknown = self.unknown(dataset)
        if not unknown:
            return unknown
        catalog = open_catalog(self.project)
        if dataset in self.done:
            committed = ledger.known(catalog, dataset, unknown)
        else:
            committed = ledger.batch_ids(catalog, dataset)
        done = self.done.setdefault(dataset, set())
        done |= committed | dismissed.batches(catalog, dataset).keys()
        return unknown - done
