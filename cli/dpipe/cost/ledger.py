"""The ledger: what every stage of every run used, priced, and put together by dataset, stage, day or run."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from dpipe.cost.model import warehouse_size
from dpipe.cost.money import GB, HOUR, Amounts, Cost, total_amounts, total_cost
from dpipe.cost.warehouse import Use, billed
from dpipe.errors import ConfigError
from dpipe.state import usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from dpipe.cost.model import PriceFile
    from dpipe.settings import Project

By = Literal["dataset", "stage", "day", "run"]
Row = dict[str, Any]

# What no dataset can be told to have caused; a dataset's name has no parenthesis.
SHARED = "(shared)"


@dataclass(frozen=True)
class Entry:
    """What a stage of a run used for a dataset, and what that costs; `fixed` is the share that records don't grow."""

    run: str
    command: str
    stage: str
    dataset: str | None
    day: str
    amounts: Amounts
    cost: Cost
    fixed: float


@dataclass(frozen=True)
class Group:
    """Entries put together, and what they would cost with so many times the records."""

    name: str
    amounts: Amounts
    cost: Cost
    projected: Mapping[int, Cost]


@dataclass(frozen=True)
class Bill:
    """What was used in all, by groups, and what has to be known about it."""

    by: By
    groups: list[Group]
    total: Group
    notes: list[str]


def bill(
    project: Project,
    file: PriceFile,
    *,
    by: By,
    since: datetime | None = None,
    times: Sequence[int] = (),
) -> Bill:
    """What the runs used and cost, of those stages that began since a time; `times` are numbers to project it to.

    The sum of the groups is the total, whichever they are. Raises `ConfigError` for a warehouse's size without a price.
    """
    rows: list[Row] = [dict(row) for row in usage.listed(project, since)]
    return together(rows, file, by=by, times=times, in_s3=_in_s3(project))


def together(
    rows: Sequence[Row], file: PriceFile, *, by: By, times: Sequence[int], in_s3: frozenset[str]
) -> Bill:
    """The same of rows as `usage.listed` gives them; `in_s3` are stages that leave what they write in S3."""
    entries = priced(rows, file, in_s3=in_s3)
    if by == "dataset":
        entries = divided(entries)
    grouped: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        grouped[_name(entry, by)].append(entry)
    groups = [_group(name, of_name, times) for name, of_name in grouped.items()]
    if by in {"dataset", "stage"}:
        groups.sort(key=lambda group: -group.cost.total)
    return Bill(by, groups, _group("total", entries, times), _notes(rows, by))


def _in_s3(project: Project) -> frozenset[str]:
    """Stages that leave what they write in S3 instead of on a disk."""
    places = {"ingest": project.settings.landing, "process": project.settings.warehouse}
    return frozenset(stage for stage, place in places.items() if place)


def priced(rows: Sequence[Row], file: PriceFile, *, in_s3: frozenset[str]) -> list[Entry]:
    """An entry for each row of `usage.listed`."""
    seconds, fixed = _billed(rows, file), _fixed(rows, file)
    return [
        _entry(row, file, billed_seconds, fixed[_work(row)], in_s3=row["stage"] in in_s3)
        for row, billed_seconds in zip(rows, seconds, strict=True)
    ]


def _work(row: Row) -> tuple[str, str, str | None]:
    """What takes its fixed seconds once, in however many rows."""
    return row["run_id"], row["stage"], row["dataset"]


def _fixed(rows: Sequence[Row], file: PriceFile) -> dict[tuple[str, str, str | None], float]:
    """The share of each work's processor time that more records don't add to."""
    taken: dict[tuple[str, str, str | None], float] = defaultdict(float)
    for row in rows:
        taken[_work(row)] += row["cpu_seconds"]
    fixed = {stage: figure.value for stage, figure in file.ledger.fixed_cpu_seconds.items()}
    return {
        work: min(fixed.get(work[1], 0.0) / seconds, 1.0) if seconds else 0.0
        for work, seconds in taken.items()
    }


def _entry(row: Row, file: PriceFile, billed_seconds: float, fixed: float, *, in_s3: bool) -> Entry:
    prices, assumed = file.prices, file.ledger
    credits_ = billed_seconds / HOUR * prices.snowflake_warehouses[_size(row, file)].price
    amounts = Amounts(
        seconds=row["seconds"],
        cpu_seconds=row["cpu_seconds"],
        records=row["records"] or 0,
        bytes_read=row["bytes_read"] or 0,
        bytes_written=row["bytes_written"] or 0,
        bytes_stored=row["bytes_stored"] or 0,
        bytes_scanned=row["bytes_scanned"] or 0,
        s3_writes=row["s3_writes"],
        s3_reads=row["s3_reads"],
        warehouse_seconds=billed_seconds,
        credits=credits_,
    )
    a_gb = (prices.s3_storage if in_s3 else prices.ebs_storage).price * assumed.storage_months.value
    return Entry(
        run=row["run_id"],
        command=row["command"],
        stage=row["stage"],
        dataset=row["dataset"],
        day=row["started_at"].date().isoformat(),
        amounts=amounts,
        cost=Cost(
            compute=amounts.cpu_seconds * cpu_second(file, assumed.vm, assumed.utilisation.value),
            storage=amounts.bytes_stored / GB * a_gb,
            requests=amounts.s3_writes / 1000 * prices.s3_writes.price
            + amounts.s3_reads / 1000 * prices.s3_reads.price,
            warehouse=credits_ * prices.snowflake_credit[assumed.edition].price,
        ),
        fixed=fixed,
    )


def cpu_second(file: PriceFile, vm: str, utilisation: float) -> float:
    """What a second of one processor of a machine costs that is in use for such a share of its time."""
    machine = file.prices.vms[vm]
    return machine.price / HOUR / machine.vcpus / utilisation


def _billed(rows: Sequence[Row], file: PriceFile) -> list[float]:
    uses = [Use(_size(row, file), row["started_at"], row["warehouse_seconds"] or 0.0) for row in rows]
    return billed(uses, file.ledger.auto_suspend_seconds.value)


def _size(row: Row, file: PriceFile) -> str:
    size = warehouse_size(row["warehouse_size"] or file.ledger.warehouse_size)
    if size not in file.prices.snowflake_warehouses:
        raise ConfigError(
            f"run `{row['run_id']}` used a warehouse of the size `{row['warehouse_size']}`, without a listed price",
            hint=f"add `{size}` to `prices.snowflake_warehouses` in `configs/prices.yaml`",
        )
    return size


def divided(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with those that are about no dataset divided among the datasets, by the bytes that each brought.

    They are those of the same run; where that brought none, those of all runs.
    """
    of_run: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    of_all: dict[str, float] = defaultdict(float)
    for entry in entries:
        if entry.dataset is not None and entry.amounts.bytes_read:
            of_run[entry.run][entry.dataset] += entry.amounts.bytes_read
            of_all[entry.dataset] += entry.amounts.bytes_read
    found: list[Entry] = []
    for entry in entries:
        found += [entry] if entry.dataset is not None else _parts(entry, of_run.get(entry.run) or of_all)
    return found


def _parts(entry: Entry, weights: Mapping[str, float]) -> list[Entry]:
    whole = sum(weights.values())
    if not whole:
        return [replace(entry, dataset=SHARED)]
    return [
        replace(
            entry,
            dataset=dataset,
            amounts=entry.amounts.share(weight / whole),
            cost=Cost(*(value * (weight / whole) for value in vars(entry.cost).values())),
        )
        for dataset, weight in weights.items()
    ]


def _name(entry: Entry, by: By) -> str:
    if by == "run":
        return f"{entry.run} ({entry.command})"
    return str(getattr(entry, by))


def _group(name: str, entries: Sequence[Entry], times: Iterable[int]) -> Group:
    return Group(
        name,
        total_amounts(entry.amounts for entry in entries),
        total_cost(entry.cost for entry in entries),
        {number: total_cost(entry.cost.grown(number, entry.fixed) for entry in entries) for number in times},
    )


def _notes(rows: Sequence[Row], by: By) -> list[str]:
    notes = []
    overlapped = sum(row["overlapped"] for row in rows)
    if overlapped:
        notes.append(
            f"{overlapped:,} stage(s) ran beside another run in one process: their sum is right, what each of them "
            "used of it isn't known"
        )
    if any(row["bytes_scanned"] is None for row in rows):
        notes.append("this system doesn't count the bytes that a process reads: those scanned are missing")
    if by == "dataset":
        notes.append(
            "what belongs to no single dataset is divided by the bytes that each brought in the run, or in all runs "
            "where that brought none"
        )
    return notes
