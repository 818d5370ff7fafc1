"""`dpipe bench`: how fast, beside what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag

if TYPE_CHECKING:
    from dpipe.bench.kernel import BenchReport


def bench(
    records: Annotated[int, typer.Option(min=1_000, max=50_000_000, help="Records to make.")] = 1_000_000,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Timed runs of each engine, in turn.")] = 3,
    threads: Annotated[int, typer.Option(min=0, help="Kernel threads; 0 means every core.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Time the kernel beside pure Python on the same records, once their results are shown to be the same.

    Example: `dpipe bench --records 200000`
    """
    from dpipe.bench.kernel import bench_kernel

    report = bench_kernel(
        records, runs=runs, threads=threads, on_step=lambda step: output.note(f"bench: {step} …")
    )
    if as_json:
        output.emit_json(report)
    else:
        _print(report)


def _print(report: BenchReport) -> None:
    result = report.result
    output.table(
        ["engine", "median s", "min s", "max s", "records/s", "MB/s"],
        [
            (
                timing.engine,
                timing.median_seconds,
                min(timing.seconds),
                max(timing.seconds),
                round(timing.records_per_second),
                timing.megabytes_per_second,
            )
            for timing in report.timings
        ],
        title=f"{report.records:,} records, {report.bytes / 1e6:,.0f} MB of NDJSON, one in a hundred faulty",
    )
    output.emit(
        f"same result: {result['accepted']:,} accepted, {result['rejected']:,} rejected, "
        f"{result['duplicate']:,} duplicate"
    )
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    output.emit(f"machine: {machine}")
    output.emit(f"dpipe is {report.ratio:.1f} times as fast")
