"""What the same records would cost a month in other architectures, by the assumptions in `configs/prices.yaml`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dpipe.cost.ledger import cpu_second
from dpipe.cost.model import OnGlue, OnVm, Rate
from dpipe.cost.money import DAYS_A_MONTH, GB, HOUR, HOURS_A_MONTH, TB
from dpipe.cost.warehouse import LEAST_SECONDS
from dpipe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dpipe.cost.model import Architecture, Figure, InWarehouse, PriceFile

DAY = 24 * HOUR
DPIPE = "dpipe"
# What a shard of a Kinesis stream takes in a second.
SHARD_BYTES, SHARD_RECORDS = 1_000_000, 1_000


@dataclass(frozen=True)
class Monthly:
    """Money a month by what it is for: `loading` is Snowpipe, `stream` Kinesis."""

    compute: float
    loading: float
    storage: float
    requests: float
    stream: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.compute + self.loading + self.storage + self.requests + self.stream

    @property
    def processing(self) -> float:
        """What it takes to load, check and model the records."""
        return self.compute + self.loading

    def to_dict(self) -> dict[str, float]:
        """By name, with the total."""
        return {**vars(self), "total": self.total}


@dataclass(frozen=True)
class Estimate:
    """What an architecture costs a month.

    `busy_hours` is for how long machines, DPUs' jobs or the warehouse are at work; `machines` are virtual ones that are
    needed at once, None where there are none. `checking_cpu_seconds` is what checking the records alone takes of
    them.
    """

    name: str
    title: str
    cost: Monthly
    busy_hours: float
    machines: int | None
    checking_cpu_seconds: float | None
    basis: str


@dataclass(frozen=True)
class Saving:
    """What dpipe's kernel saves a month `of` an architecture `beside` one with another engine on the same machines.

    `worth` is the price of the processor time that checking takes less, `bill` by how much less there is to pay.
    """

    of: str
    beside: str
    cpu_seconds: float
    worth: float
    bill: float


@dataclass(frozen=True)
class Comparison:
    """Every architecture at a workload, what the kernel saves, and the money that processing takes as records grow."""

    records_per_day: float
    estimates: list[Estimate]
    savings: list[Saving]
    growth: Mapping[str, list[tuple[float, float]]]


def compare(file: PriceFile, records_per_day: float | None = None) -> Comparison:
    """Compare the file's architectures, at so many records a day or at those of the file's workload.

    Raises `UsageError` for less than one record a day.
    """
    records = file.workload.records_per_day.value if records_per_day is None else records_per_day
    if records < 1:
        raise UsageError(
            "there are no records a day to compare costs at",
            hint="give `--records-per-day`, or `workload.records_per_day.value` in `configs/prices.yaml`",
        )
    estimates = [estimate(file, name, records) for name in file.architectures]
    return Comparison(records, estimates, list(_savings(file, estimates)), _growth(file))


def estimate(file: PriceFile, name: str, records: float) -> Estimate:
    """What one architecture costs a month at so many records a day."""
    one = file.architectures[name]
    if isinstance(one, OnVm):
        return _on_vm(file, name, one, records)
    if isinstance(one, OnGlue):
        return _on_glue(file, name, one, records)
    return _in_warehouse(file, name, one, records)


def _on_vm(file: PriceFile, name: str, one: OnVm, records: float) -> Estimate:
    runs, machine, path = file.workload.runs_per_day.value, file.prices.vms[one.vm], file.rest_of_path
    checking = records / one.records_per_second_per_core.value
    cpu = (
        checking
        + runs * path.fixed_cpu_seconds_per_run.value
        + records / 1e6 * path.cpu_seconds_per_million_records.value
    )
    seconds = cpu / (machine.vcpus * one.utilisation.value)
    if one.billing == "always_on":
        machines = max(1, math.ceil(seconds / DAY))
        hours = machines * HOURS_A_MONTH
    else:
        a_run = max(LEAST_SECONDS, one.boot_seconds.value + seconds / runs)
        machines = max(1, math.ceil(a_run * runs / DAY))
        hours = a_run * runs / HOUR * DAYS_A_MONTH
    disk = machines * one.disk_gb.value * file.prices.ebs_storage.price
    cost = Monthly(
        compute=hours * machine.price,
        loading=0.0,
        storage=_lake(file, records) + disk,
        requests=_requests(file, path.s3_writes_per_run, path.s3_reads_per_run),
        stream=_stream(file, records),
    )
    busy = seconds / HOUR * DAYS_A_MONTH
    return Estimate(name, one.title, cost, busy, machines, checking * DAYS_A_MONTH, _basis(one))


def _on_glue(file: PriceFile, name: str, one: OnGlue, records: float) -> Estimate:
    runs, dpus = file.workload.runs_per_day.value, one.dpus.value
    work = records / (one.records_per_second_per_dpu.value * dpus)
    a_run = max(LEAST_SECONDS, one.startup_seconds.value + work / runs)
    hours = a_run * runs / HOUR * DAYS_A_MONTH
    cost = Monthly(
        compute=hours * dpus * file.prices.glue.price,
        loading=0.0,
        storage=_lake(file, records),
        requests=_requests(file, one.s3_writes_per_run, one.s3_reads_per_run),
        stream=_stream(file, records),
    )
    return Estimate(name, one.title, cost, hours, None, None, _basis(one))


def _in_warehouse(file: PriceFile, name: str, one: InWarehouse, records: float) -> Estimate:
    workload, prices = file.workload, file.prices
    runs, credit = workload.runs_per_day.value, prices.snowflake_credit[one.edition].price
    busy = one.fixed_seconds_per_run.value * runs + records / one.records_per_second.value
    idle = file.ledger.auto_suspend_seconds.value * runs
    # Between runs that come one upon the other it isn't suspended, and never runs for more than the day.
    a_day = max(busy, min(DAY, max(busy + idle, LEAST_SECONDS * runs)))
    hours = a_day / HOUR * DAYS_A_MONTH
    loaded = records * workload.bytes_per_record.value * DAYS_A_MONTH
    raw = loaded * one.raw_bytes_ratio.value * workload.table_months.value
    tables = records * DAYS_A_MONTH * workload.table_bytes_per_record.value * workload.table_months.value
    cost = Monthly(
        compute=hours * prices.snowflake_warehouses[one.size].price * credit,
        loading=loaded / GB * prices.snowpipe.price * credit,
        storage=_landed(file, records) + (raw + tables) / TB * prices.snowflake_storage.price,
        requests=_requests(file, one.s3_writes_per_run, one.s3_reads_per_run),
        stream=_stream(file, records),
    )
    return Estimate(name, one.title, cost, hours, None, None, _basis(one))


def _landed(file: PriceFile, records: float) -> float:
    """Storing the bytes as they came."""
    workload = file.workload
    kept = records * DAYS_A_MONTH * workload.bytes_per_record.value * workload.landed_bytes_ratio.value
    return kept * workload.landed_months.value / GB * file.prices.s3_storage.price


def _lake(file: PriceFile, records: float) -> float:
    """Storing the bytes as they came, and the tables beside them."""
    workload = file.workload
    tables = records * DAYS_A_MONTH * workload.table_bytes_per_record.value * workload.table_months.value
    return _landed(file, records) + tables / GB * file.prices.s3_storage.price


def _requests(file: PriceFile, writes: Figure, reads: Figure) -> float:
    runs = file.workload.runs_per_day.value * DAYS_A_MONTH
    prices = file.prices
    return runs / 1000 * (writes.value * prices.s3_writes.price + reads.value * prices.s3_reads.price)


def _stream(file: PriceFile, records: float) -> float:
    """What comes through Kinesis instead of as files."""
    workload, prices = file.workload, file.prices
    streamed = records * workload.streamed_share.value
    if not streamed:
        return 0.0
    at_most = streamed / DAY * workload.peak_to_mean.value
    units = streamed / workload.records_per_put_unit.value
    shards = max(
        1,
        math.ceil(at_most * workload.bytes_per_record.value / SHARD_BYTES),
        math.ceil(at_most / workload.records_per_put_unit.value / SHARD_RECORDS),
    )
    return (
        shards * HOURS_A_MONTH * prices.kinesis_shard.price
        + units * DAYS_A_MONTH / 1e6 * prices.kinesis_put_units.price
    )


def _basis(one: Architecture) -> str:
    """Whether the architecture's rate was measured or is assumed."""
    if isinstance(one, OnVm):
        return one.records_per_second_per_core.basis
    return (one.records_per_second_per_dpu if isinstance(one, OnGlue) else one.records_per_second).basis


def _savings(file: PriceFile, estimates: Sequence[Estimate]) -> Iterator[Saving]:
    """The kernel beside each other engine on the same machine that is billed alike."""
    on_vms = [(found, one) for found in estimates if isinstance(one := file.architectures[found.name], OnVm)]
    for ours, own in on_vms:
        for theirs, other in on_vms:
            alike = (own.vm, own.billing) == (other.vm, other.billing)
            if own.engine != DPIPE or other.engine == DPIPE or not alike:
                continue
            saved = (theirs.checking_cpu_seconds or 0.0) - (ours.checking_cpu_seconds or 0.0)
            yield Saving(
                of=ours.name,
                beside=theirs.name,
                cpu_seconds=saved,
                worth=saved * cpu_second(file, own.vm, own.utilisation.value),
                bill=theirs.cost.total - ours.cost.total,
            )


def _growth(file: PriceFile) -> dict[str, list[tuple[float, float]]]:
    """Records a day and the money a month that processing takes, from a hundred thousand to ten billion."""
    steps = [10 ** (exponent / 4) for exponent in range(20, 41)]
    return {
        one.title: [(records, estimate(file, name, records).cost.processing) for records in steps]
        for name, one in file.architectures.items()
    }


def with_bench(file: PriceFile, report: Mapping[str, Any]) -> PriceFile:
    """The assumptions with the rates that `dpipe bench kernel --json` measured in the place of the file's.

    Raises `UsageError` for another document.
    """
    try:
        made = f"bench kernel: {report['input']['records']:,} records, {report['machine']['cpu']}"
        measured = {engine["engine"]: _rate(engine, made) for engine in report["engines"]}
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:  # pydantic's are ValueErrors
        raise UsageError(
            "the file with measurements isn't what `dpipe bench kernel` prints",
            hint="make it so: `dpipe bench kernel --json > bench.json`",
        ) from error
    changed = {
        name: one.model_copy(update={"records_per_second_per_core": measured[one.engine]})
        if isinstance(one, OnVm) and one.engine in measured
        else one
        for name, one in file.architectures.items()
    }
    return file.model_copy(update={"architectures": changed})


def _rate(engine: Mapping[str, Any], made: str) -> Rate:
    """An engine's records a second and core, by the share of a core in its speed."""
    a_core = engine["megabytes_per_second_per_core"] / engine["megabytes_per_second"]
    return Rate(value=round(engine["records_per_second"] * a_core), basis="measured", note=made[:400])
