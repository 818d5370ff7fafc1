"""Replay: records out of the quarantine are judged again, by the contract as it is now or as they were mended.

Those that break nothing any more land as batches of kind `replay` and are processed like any other, but their rows keep
the batch and the number that the records came with. The others stay where they are.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from dpipe import output
from dpipe.contract import contract_for
from dpipe.errors import DpipeError, UsageError
from dpipe.iceberg import dismissed, ledger, open_catalog, quarantine, tables
from dpipe.iceberg.catalog import RAW
from dpipe.iceberg.evolved import evolved
from dpipe.iceberg.recovery import recover
from dpipe.iceberg.schema import BATCH_ID, RECORD_NO
from dpipe.landing import batch_ids, land_replay, manifests
from dpipe.stages.judge import judge_records
from dpipe.stages.locks import held
from dpipe.stages.process import process
from dpipe.stages.taken import TakenValues
from dpipe.state import refused

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import pyarrow as pa
    from pyiceberg.catalog import Catalog

    from dpipe.contract import Contract
    from dpipe.iceberg.dismissed import RecordId
    from dpipe.settings import Project
    from dpipe.stages.process import ProcessResult
    from dpipe.state import Run

# A replay's payload is put together in memory.
MOST_BYTES, MOST_RECORDS = 32 << 20, 100_000
# What is kept of such a record is not all of it.
INCOMPLETE = frozenset({"truncated", "unreadable", "too_large"})


@dataclass(frozen=True)
class Selection:
    """Which records are looked at: of batches whose id begins so, that broke the rule, with these numbers; or all.

    Raises `UsageError` for an empty text, which a variable without a value is.
    """

    batch: str | None = None
    rule: str | None = None
    record_nos: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if "" in {self.batch, self.rule}:
            raise UsageError(
                "an empty batch or rule chooses nothing", hint="name one, or leave the option out"
            )

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self == Selection()

    def rows(self, catalog: Catalog, dataset: str) -> Iterator[dict[str, Any]]:
        """The selected rows of the quarantine table, of records that nothing has become of yet."""
        for row in quarantine.open_records(catalog, dataset, batch=self.batch, rule=self.rule):
            if not self.record_nos or row[RECORD_NO] in self.record_nos:
                yield row


@dataclass
class ReplayResult:
    """What became of the records that were looked at; `replayed` of them landed in `batches`.

    `still_broken` break `violations` (records by column and rule) as before. Of `incomplete` ones the quarantine
    doesn't hold every byte. Of a patch, `unchanged` ones are as they are in the quarantine, and `not_open` ones are not
    there, or not any more. `process` is what the commit came to, None when nothing was replayed.
    """

    dataset: str
    looked_at: int = 0
    replayed: int = 0
    still_broken: int = 0
    incomplete: int = 0
    unchanged: int = 0
    not_open: int = 0
    violations: list[dict[str, Any]] = field(default_factory=list)
    batches: list[str] = field(default_factory=list)
    process: ProcessResult | None = None


@dataclass
class _Group:
    """Records of one batch that can be read together."""

    origin: str
    form: str
    header: bytes | None
    record_nos: list[int] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, record_no: int, record: bytes) -> None:
        self.record_nos.append(record_no)
        self.records.append(record)
        self.size += len(record)

    @property
    def is_full(self) -> bool:
        return self.size >= MOST_BYTES or len(self.records) >= MOST_RECORDS

    def only(self, kept: Sequence[int]) -> _Group:
        """Of the records those at these places."""
        part = _Group(self.origin, self.form, self.header)
        for at in kept:
            part.add(self.record_nos[at], self.records[at])
        return part

    @property
    def payload(self) -> bytes:
        """The records as a file of their format."""
        if self.form == "json":
            return b"[" + b",\n".join(self.records) + b"]\n"
        lines = [*([] if self.header is None else [self.header]), *self.records]
        return b"".join(line + b"\n" for line in lines)


def replay(
    project: Project,
    dataset: str,
    selection: Selection,
    *,
    run: Run,
    patches: Mapping[RecordId, bytes] | None = None,
    dry_run: bool = False,
) -> ReplayResult:
    """Judge the selected records again, and bring those into raw that break nothing any more.

    With `patches` only the records that they name are looked at, with their bytes instead. Doing it again adds nothing.
    With `dry_run` nothing is changed. Raises `UsageError` for an unknown dataset.
    """
    catalog = open_catalog(project)
    contract = _of_table(catalog, contract_for(project, dataset))
    result = ReplayResult(dataset)
    broken: Counter[tuple[str | None, str]] = Counter()
    with held(project, dataset), output.progress(f"replay {dataset}") as on_progress:
        recover(catalog, dataset)
        taken = _taken(catalog, contract)
        decided = _decided(project, catalog, dataset)
        rows = _open(project, catalog, dataset, decided, selection, patches)
        for group in _grouped(rows, patches, result):
            passing = _passing(contract, group, broken, taken)
            result.replayed += len(passing)
            result.still_broken += len(group.records) - len(passing)
            on_progress(result.looked_at, group.size)
            if passing and not dry_run:
                result.batches.append(_land(project, decided, contract, group.only(passing)))
    result.not_open = len(patches) - result.looked_at if patches is not None else 0
    result.violations = listed(broken)
    if result.batches:
        (result.process,) = process(project, [dataset], run=run)
    return result


def judged(project: Project, contract: Contract) -> tuple[int, int, list[dict[str, Any]]]:
    """How many records of the contract's dataset are open, how many it lets pass, and what the others break."""
    result = ReplayResult(contract.dataset)
    broken: Counter[tuple[str | None, str]] = Counter()
    catalog = open_catalog(project)
    rows = Selection().rows(catalog, contract.dataset)
    contract = _of_table(catalog, contract)
    taken = _taken(catalog, contract)
    for group in _grouped(rows, None, result):
        result.replayed += len(_passing(contract, group, broken, taken))
    return result.looked_at, result.replayed, listed(broken)


def dismiss(project: Project, dataset: str, selection: Selection, *, reason: str, run: Run) -> int:
    """Have the selected records count as settled without becoming rows; how many weren't yet."""
    contract_for(project, dataset)
    catalog = open_catalog(project)
    with held(project, dataset):
        recover(catalog, dataset)
        decided = _decided(project, catalog, dataset)
        rows = _open(project, catalog, dataset, decided, selection)
        records = [(row[BATCH_ID], row[RECORD_NO]) for row in rows]
        return dismissed.add(catalog, dataset, records, reason=reason, run_id=run.run_id)


def _of_table(catalog: Catalog, contract: Contract) -> Contract:
    """The contract with the columns that records brought into its table."""
    more = evolved(contract.plan, tables.load(catalog, (RAW, contract.dataset)))
    return replace(contract, plan=contract.plan.grown(more))


def _taken(catalog: Catalog, contract: Contract) -> TakenValues:
    return TakenValues(tables.load(catalog, (RAW, contract.dataset)), contract.plan)


def _decided(project: Project, catalog: Catalog, dataset: str) -> set[str]:
    """Batches that no run is going to take: committed, refused or dropped."""
    kept_out = {batch.batch_id for batch in refused.listed(project, dataset)}
    return kept_out | ledger.batch_ids(catalog, dataset) | dismissed.batches(catalog, dataset).keys()


def _open(
    project: Project,
    catalog: Catalog,
    dataset: str,
    decided: Collection[str],
    selection: Selection,
    patches: Mapping[RecordId, bytes] | None = None,
) -> Iterator[dict[str, Any]]:
    """The selected rows of the quarantine that no replay under way holds already."""
    waiting = batch_ids(project, dataset).difference(decided)
    under_way = {
        (manifest.origin, number)
        for manifest in manifests(project, dataset, (name for name in waiting if name.startswith("replay-")))
        for number in manifest.record_nos or ()
    }
    for row in selection.rows(catalog, dataset):
        identity = row[BATCH_ID], row[RECORD_NO]
        if identity not in under_way and (patches is None or identity in patches):
            yield row


def _grouped(
    rows: Iterator[dict[str, Any]], patches: Mapping[RecordId, bytes] | None, result: ReplayResult
) -> Iterator[_Group]:
    groups: dict[tuple[str, str, bytes | None], _Group] = {}
    held_bytes = 0
    for row in rows:
        result.looked_at += 1
        record = row["raw"] if patches is None else patches[row[BATCH_ID], row[RECORD_NO]]
        if patches is not None and record == row["raw"]:
            result.unchanged += 1
        elif patches is None and _is_incomplete(row):
            result.incomplete += 1
        else:
            key = row[BATCH_ID], row["raw_format"], row["raw_header"]
            group = groups.setdefault(key, _Group(*key))
            group.add(row[RECORD_NO], record)
            held_bytes += len(record)
            if group.is_full or held_bytes >= 4 * MOST_BYTES:
                full = key if group.is_full else max(groups, key=lambda one: groups[one].size)
                held_bytes -= groups[full].size
                yield groups.pop(full)
    yield from groups.values()


def listed(broken: Counter[tuple[str | None, str]]) -> list[dict[str, Any]]:
    """Records by the column and rule that they broke, as the kernel tells them, most first."""
    return [
        {"column": column, "rule": rule, "records": records}
        for (column, rule), records in broken.most_common()
    ]


def _is_incomplete(row: dict[str, Any]) -> bool:
    rules = {violation["rule"] for violation in row["violations"]}
    return bool(rules & INCOMPLETE) or row["raw_format"] == "unknown"


def _passing(
    contract: Contract, group: _Group, broken: Counter[tuple[str | None, str]], taken: TakenValues
) -> list[int]:
    """Places in the group of the records that break nothing; what the others break is added to `broken`.

    Only records that can't take in or fall into others are judged together, so that each stands for itself.
    """
    plain = [at for at, record in enumerate(group.records) if _is_plain(contract, group.form, record)]
    read, rows, violations = _judged(contract, group.only(plain))
    if read != len(plain):
        plain, rows, violations = [], None, []  # a blank line, or one that the contract takes for a comment
    passing, not_unique = _unique(taken, rows)
    violations += not_unique
    found = {plain[at] for at in passing}
    for at in sorted(set(range(len(group.records))) - set(plain)):
        read, rows, of_one = _judged(contract, group.only([at]), threads=1)
        passing, not_unique = _unique(taken, rows) if read == 1 else ([], [])
        violations += [*of_one, *not_unique]
        if passing:
            found.add(at)
    for violation in violations:
        broken[violation["column"], violation["rule"]] += violation["records"]
    return sorted(found)


def _unique(taken: TakenValues, rows: pa.Table | None) -> tuple[list[int], list[dict[str, Any]]]:
    """The places of rows whose unique values nobody has, and what the others break."""
    if rows is None:
        return [], []
    broken = taken.broken(rows)
    counts: Counter[tuple[str | None, str]] = Counter(
        (name, "unique") for names in broken.values() for name in names
    )
    return [number - 1 for number in rows[RECORD_NO].to_pylist() if number not in broken], listed(counts)


def _is_plain(contract: Contract, form: str, record: bytes) -> bool:
    """Whether the record, whatever it says, is at most one in a file of others."""
    if form == "json":
        try:
            json.loads(record)
        except (ValueError, RecursionError):
            return False
        return True
    return b"\n" not in record and not (form == "csv" and contract.plan.csv.quote.encode() in record)


def _judged(
    contract: Contract, group: _Group, *, threads: int = 0
) -> tuple[int, pa.Table | None, list[dict[str, Any]]]:
    """How many records the kernel reads, the rows of those that break no rule, and what the others break."""
    if not group.records:
        return 0, None, []
    import pyarrow as pa

    from dpipe import _kernel

    try:
        counts, accepted, _ = judge_records(
            contract,
            group.payload,
            batch_id=group.origin,
            form=group.form,
            compression="none",
            threads=threads,
        )
    except _kernel.KernelError as error:
        raise DpipeError(
            f"records of `{group.origin}` can't be judged again: {error}",
            hint="choose others with --batch, --rule or --record; nothing was changed",
        ) from error
    return counts["records_in"], pa.table(accepted), counts["violations"]


def _land(project: Project, decided: Collection[str], contract: Contract, group: _Group) -> str:
    """Land records that are open: if the same landed before, under one contract, and came to nothing, once more."""
    landings = (
        land_replay(
            project,
            contract.dataset,
            group.payload,
            origin=group.origin,
            record_nos=tuple(group.record_nos),
            format=group.form,
            identity=f"{contract.hash} {attempt}",
        ).manifest.batch_id
        for attempt in count()
    )
    return next(batch_id for batch_id in landings if batch_id not in decided)
