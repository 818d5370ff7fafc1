"""How another contract judges data that is there: what it lets in that was kept out, and the other way round."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dpipe import output
from dpipe.contract import archive, contract_for
from dpipe.errors import DpipeError, UsageError
from dpipe.iceberg import ledger, open_catalog
from dpipe.iceberg.schema import RECORD_NO
from dpipe.landing import manifests, payload_file
from dpipe.stages.judge import judge_records
from dpipe.stages.replay import judged, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from dpipe.contract import Contract
    from dpipe.landing import Manifest
    from dpipe.settings import Project

EXAMPLES = 5


@dataclass
class Verdicts:
    """Records judged by two contracts: how many only the new one lets pass, and how many only the old one does.

    `breaks` are what the latter break by column and rule, of the quarantine what its records still break; `examples`
    are some of the latter, as rows of the quarantine table.
    """

    records: int = 0
    rescued: int = 0
    newly_rejected: int = 0
    breaks: list[dict[str, Any]] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class _Content:
    path: Path
    form: str | None = None
    compression: str | None = None


def last_committed(project: Project, dataset: str) -> Contract:
    """The contract that the dataset's last batch was committed under.

    Raises `UsageError` when there is no such dataset or batch, or that contract isn't kept.
    """
    contract_for(project, dataset)
    rows = ledger.rows(open_catalog(project), dataset)
    found = archive.kept(project, dataset, rows[-1]["contract"]) if rows else None
    if found is None:
        raise UsageError(
            f"there is no earlier contract of `{dataset}` to compare with",
            hint="name two files: `dpipe contract diff OLD NEW`",
        )
    return found


def against_landed(project: Project, old: Contract, new: Contract) -> Verdicts:
    """Judge all committed batches of the dataset, as they landed."""
    done = ledger.batch_ids(open_catalog(project), new.dataset)
    landed = [found for found in manifests(project, new.dataset, done) if found.origin is None]
    return _against(_contents(project, landed), old, new)


def against_quarantine(project: Project, new: Contract) -> Verdicts:
    """Judge the rejected records that nothing has become of yet; they pass or not, and none is newly rejected."""
    records, rescued, violations = judged(project, new)
    return Verdicts(records, rescued, breaks=violations)


def against_files(paths: Sequence[Path], old: Contract, new: Contract) -> Verdicts:
    """Judge the records of files."""
    return _against([_Content(path) for path in paths], old, new)


def _contents(project: Project, landed: Iterable[Manifest]) -> Iterator[_Content]:
    for one in landed:
        with payload_file(project, one) as path:
            yield _Content(path, one.format, one.compression)


def _against(contents: Iterable[_Content], old: Contract, new: Contract) -> Verdicts:
    verdicts = Verdicts()
    breaks: Counter[tuple[str | None, str]] = Counter()
    with output.progress("compare") as on_progress:
        for content in contents:
            records, rejected = _rejected(content, old)
            before = set(rejected[RECORD_NO].to_pylist())
            _, rejected = _rejected(content, new)
            still = 0
            for row in _rows(rejected):
                if row[RECORD_NO] in before:
                    still += 1
                    continue
                verdicts.newly_rejected += 1
                breaks.update({(one["column"], one["rule"]) for one in row["violations"]})
                if len(verdicts.examples) < EXAMPLES:
                    verdicts.examples.append(row)
            verdicts.records += records
            verdicts.rescued += len(before) - still
            on_progress(verdicts.records, 0)
    verdicts.breaks = listed(breaks)
    return verdicts


def _rejected(content: _Content, contract: Contract) -> tuple[int, pa.Table]:
    """How many records there are, and those that break a rule, in their order."""
    import pyarrow as pa

    from dpipe import _kernel

    try:
        counts, _, rejected = judge_records(
            contract,
            content.path,
            batch_id=content.path.name,
            form=content.form,
            compression=content.compression,
        )
    except _kernel.KernelError as error:
        raise DpipeError(
            f"`{content.path}` can't be judged: {error}", hint="name files of records"
        ) from error
    return counts["records_in"], pa.table(rejected)


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches():
        yield from batch.to_pylist()
