"""What `configs/prices.yaml` holds: prices with their sources, and every assumption that a cost rests on."""

from __future__ import annotations

import re
from datetime import date  # noqa: TC003 - pydantic reads the annotations
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Basis = Literal["given", "measured", "assumed"]
Engine = Literal["dpipe", "pure_python", "pydantic", "duckdb", "polars"]
Edition = Literal["standard", "enterprise", "business_critical"]
MOST = 1e15

Text = Annotated[str, StringConstraints(min_length=1, max_length=400)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Number = Annotated[float, Field(ge=0, le=MOST)]
Share = Annotated[float, Field(ge=0, le=1)]
PartOfTime = Annotated[float, Field(ge=1e-3, le=1)]
Positive = Annotated[float, Field(ge=1e-6, le=MOST)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Price(_Strict):
    """A list price for a unit, and who says so when; `unverified` when the source was not seen to say it."""

    price: Number
    unit: Text
    source: Annotated[str, StringConstraints(pattern=r"^https?://\S+$", max_length=400)]
    as_of: date = Field(strict=False)
    unverified: bool = False
    note: Text | None = None


class Hourly(Price):
    """A price for an hour."""

    unit: Literal["hour"]


class Vm(Hourly):
    """A virtual machine."""

    vcpus: Annotated[int, Field(ge=1, le=1024)]


class GbMonth(Price):
    """A price for 2³⁰ bytes that are kept for a month."""

    unit: Literal["GB-month"]


class TbMonth(Price):
    """A price for 2⁴⁰ bytes that are kept for a month."""

    unit: Literal["TB-month"]


class Thousand(Price):
    """A price for 1,000 requests."""

    unit: Literal["1,000 requests"]


class Million(Price):
    """A price for a million units of 25 KB."""

    unit: Literal["1,000,000 units"]


class DpuHour(Price):
    """A price for an hour of a Glue data processing unit."""

    unit: Literal["DPU-hour"]


class Credit(Price):
    """A price for a Snowflake credit."""

    unit: Literal["credit"]


class CreditsPerGb(Price):
    """Snowflake credits, not money, for 2³⁰ bytes."""

    unit: Literal["credits per GB"]


class CreditsPerHour(Price):
    """Snowflake credits, not money, for an hour of a warehouse that is running."""

    unit: Literal["credits per hour"]


class Prices(_Strict):
    """The price list."""

    vms: Annotated[dict[Name, Vm], Field(min_length=1, max_length=100)]
    ebs_storage: GbMonth
    s3_storage: GbMonth
    s3_writes: Thousand
    s3_reads: Thousand
    kinesis_shard: Hourly
    kinesis_put_units: Million
    glue: DpuHour
    snowflake_credit: dict[Edition, Credit]
    snowflake_warehouses: Annotated[dict[Name, CreditsPerHour], Field(min_length=1, max_length=20)]
    snowflake_storage: TbMonth
    snowpipe: CreditsPerGb


class Figure(_Strict):
    """A number that a result rests on, and what that number rests on."""

    value: Number
    basis: Basis
    note: Text | None = None


class Part(Figure):
    """A part of a whole, more than nothing."""

    value: PartOfTime


class Fraction(Figure):
    """A part of a whole, which may be nothing."""

    value: Share


class Rate(Figure):
    """A number that others are divided by."""

    value: Positive


class Ledger(_Strict):
    """How `dpipe cost` prices what runs used.

    `fixed_cpu_seconds` are by stage what it takes in a run however few records there are, for projections; a stage
    without them grows as the records do. `storage_months` is for how long what a run left is paid for in its price.
    """

    vm: Name
    utilisation: Part
    storage_months: Figure
    edition: Edition
    warehouse_size: Name
    auto_suspend_seconds: Figure
    fixed_cpu_seconds: Annotated[dict[Name, Figure], Field(max_length=100)]


class Workload(_Strict):
    """What every architecture has to carry."""

    records_per_day: Figure
    bytes_per_record: Figure
    landed_bytes_ratio: Figure
    table_bytes_per_record: Figure
    runs_per_day: Rate
    landed_months: Figure
    table_months: Figure
    streamed_share: Fraction
    records_per_put_unit: Rate
    peak_to_mean: Figure


class RestOfPath(_Strict):
    """What a run takes on a virtual machine beside checking its records, whoever checks them."""

    fixed_cpu_seconds_per_run: Figure
    cpu_seconds_per_million_records: Figure
    s3_writes_per_run: Figure
    s3_reads_per_run: Figure


class OnVm(_Strict):
    """Processes on virtual machines, as many as the load takes; `always_on`, or started for each run."""

    kind: Literal["vm"]
    title: Text
    engine: Engine
    vm: Name
    billing: Literal["always_on", "by_run"]
    records_per_second_per_core: Rate
    utilisation: Part
    boot_seconds: Figure
    disk_gb: Figure


class OnGlue(_Strict):
    """A Spark job on AWS Glue for each run; the rate is of the whole path."""

    kind: Literal["glue"]
    title: Text
    dpus: Rate
    records_per_second_per_dpu: Rate
    startup_seconds: Figure
    s3_writes_per_run: Figure
    s3_reads_per_run: Figure


class InWarehouse(_Strict):
    """Snowpipe loads raw records, and a warehouse checks and models them; the rate is of all that it does."""

    kind: Literal["warehouse"]
    title: Text
    size: Name
    edition: Edition
    records_per_second: Rate
    fixed_seconds_per_run: Figure
    raw_bytes_ratio: Figure
    s3_writes_per_run: Figure
    s3_reads_per_run: Figure


Architecture = Annotated[OnVm | OnGlue | InWarehouse, Field(discriminator="kind")]


class PriceFile(_Strict):
    """The whole file."""

    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    region: Text
    prices: Prices
    ledger: Ledger
    workload: Workload
    rest_of_path: RestOfPath
    architectures: Annotated[dict[Name, Architecture], Field(min_length=1, max_length=20)]


def warehouse_size(name: str) -> str:
    """A warehouse's size as the price list calls it: `X-Small` and `XSMALL` are `xsmall`, `XXLARGE` is `2xlarge`."""
    short = re.sub(r"[^a-z0-9]", "", name.lower())
    xs = re.fullmatch(r"(x{2,6})large", short)
    if xs:
        return f"{len(xs[1])}xlarge"
    return re.sub(r"^x([2-6])large$", r"\1xlarge", short)
