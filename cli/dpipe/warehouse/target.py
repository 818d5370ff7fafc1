"""Where marts are built and published: what a transform and a publication need of a warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dpipe.warehouse.batches import Batch, Contents
    from dpipe.warehouse.build_folder import BuildFolder
    from dpipe.warehouse.dbt_results import DbtReport


class Target(Protocol):
    """A warehouse with a candidate, which nobody reads, and what is published."""

    @property
    def folder(self) -> BuildFolder:
        """Where dbt's files are."""

    @property
    def candidate(self) -> str:
        """Where the candidate is, for people."""

    @property
    def build(self) -> str:
        """Where it is built before it is the candidate, for people."""

    @property
    def published(self) -> str:
        """Where the published marts are, for people."""

    def contents(self) -> Contents | None:
        """What the candidate was made of, None without one."""

    def validated(self, candidate_id: str) -> bool | None:
        """Whether the candidate passed its checks, None when nobody looked."""

    def published_contents(self) -> Contents | None:
        """What the published marts were made of, None without any."""

    def published_tables(self) -> set[str]:
        """The tables that a build upon the published marts begins with, `<schema>.<table>`."""

    def load(self, locations: Mapping[str, str]) -> None:
        """Have the build see the lake as it is at `locations`."""

    def loaded(self) -> dict[str, Any] | None:
        """What a run keeps of that load, also of one that broke off; None where the lake is read in place."""

    def begin(self, to_transform: Iterable[Batch], *, upon_published: bool) -> None:
        """Have the build be a copy of what is published, or empty but for what can't be built anew, and say there which
        batches it is to take in.
        """

    def run_dbt(self, command: Sequence[str], *, lock: int) -> DbtReport:
        """Run a dbt command such as `["build"]` on the build; what failed is in the report."""

    def raise_for_failures(self, report: DbtReport, *, hint: str | None) -> None:
        """Raise `ConfigError` or `DataError` for what failed; `hint` replaces the advice on what could not run."""

    def finish(self, project_hash: str, run_id: str) -> None:
        """Have the build be the candidate."""

    def mart_rows(self) -> dict[str, int]:
        """Rows of each of the candidate's marts, by `marts.<table>`."""

    def candidate_bytes(self) -> int:
        """What the candidate takes."""

    def detail(self) -> dict[str, Any]:
        """What a run keeps of the build beside its result; `dpipe.cost` has the names of what it cost."""

    def publish(self) -> None:
        """Have the candidate's marts take the place of those that are published, at once."""

    def published_rows(self) -> dict[str, int]:
        """Rows of each published mart, by `marts.<table>`."""

    def published_bytes(self) -> int:
        """What the published marts take; 0 without any."""
