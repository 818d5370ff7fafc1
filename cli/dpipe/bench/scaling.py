"""The kernel's time and memory as records, columns, threads and partitions grow, each run in its own process."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dpipe.bench import engines, flights
from dpipe.bench.child import run_in_child
from dpipe.bench.machine import machine
from dpipe.bench.work import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dpipe.bench.flights import Format
    from dpipe.contract import Plan

Axis = Literal["records", "columns", "threads", "partitions"]
WIDTHS = (5, 10, 19)


@dataclass(frozen=True)
class Point:
    """One setting and what it took; `value` is the axis', `peak_memory_mb` the most of all runs."""

    axis: Axis
    value: int
    key: bool
    records: int
    columns: int
    threads: int
    partitions: int
    seconds: list[float]
    median_seconds: float
    records_per_second: int
    peak_memory_mb: int


@dataclass(frozen=True)
class ScalingReport:
    """What was measured; axes but that of records have the least number of them."""

    bench: str
    input: dict[str, Any]
    runs: int
    points: list[Point]
    machine: dict[str, Any]


@dataclass(frozen=True)
class _Setting:
    axis: Axis
    value: int
    plan: Plan
    source: Path
    records: int
    threads: int
    partitions: int = 1


def bench_scaling(
    sizes: Sequence[int],
    *,
    form: Format,
    runs: int,
    on_step: Callable[[str], None] = lambda _step: None,
) -> ScalingReport:
    """Run the kernel on made-up flights of these numbers of records, and on the least of them in other ways."""
    with tempfile.TemporaryDirectory(prefix="dpipe-bench-") as name:
        folder = Path(name)
        points = [
            _measure(setting, form, folder / "out", runs)
            for setting in _settings(sorted(sizes), form, folder, on_step)
        ]
    return ScalingReport(
        bench="scaling",
        input={"format": form, "records": sorted(sizes)},
        runs=runs,
        points=points,
        machine=machine(),
    )


def _settings(
    sizes: Sequence[int], form: Format, folder: Path, on_step: Callable[[str], None]
) -> Iterator[_Setting]:
    """Every setting, its source made just before, in the place of the one before."""
    cores, least = os.cpu_count() or 1, sizes[0]

    def made(records: int, width: int = max(WIDTHS)) -> Path:
        on_step(f"making {records:,} records of {width} columns")
        path = folder / f"flights.{form}"
        flights.write(path, records, form=form, width=width)
        return path

    for records in reversed(sizes):
        source = made(records)
        for key in (True, False):
            on_step(f"{records:,} records, {'with' if key else 'without'} a key")
            yield _Setting("records", records, flights.plan(key=key), source, records, cores)
    # The source with the fewest records is the last one made.
    for threads in _threads(cores):
        on_step(f"{threads} threads")
        yield _Setting("threads", threads, flights.plan(), source, least, threads)
    for partitions in flights.PARTITIONS:
        on_step(f"{partitions} partitions")
        plan = flights.plan(partitions=partitions)
        yield _Setting("partitions", partitions, plan, source, least, cores, partitions)
    for width in WIDTHS:
        source = made(least, width)
        on_step(f"{width} columns")
        yield _Setting("columns", width, flights.plan(key=False, width=width), source, least, cores)


def _threads(cores: int) -> list[int]:
    """Powers of two below the number of cores, and that number."""
    return [*(1 << power for power in range(cores.bit_length()) if 1 << power < cores), cores]


def _measure(setting: _Setting, form: Format, out: Path, runs: int) -> Point:
    job = Job(setting.plan, setting.source, form, "none", setting.threads, out)
    done = []
    for _ in range(runs):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        done.append(run_in_child(engines.KERNEL, job))
    median = statistics.median(run.seconds for run in done)
    return Point(
        axis=setting.axis,
        value=setting.value,
        key=bool(setting.plan.key),
        records=setting.records,
        columns=len(setting.plan.columns),
        threads=setting.threads,
        partitions=setting.partitions,
        seconds=[round(run.seconds, 4) for run in done],
        median_seconds=round(median, 4),
        records_per_second=round(done[0].outcome.records_in / median),
        peak_memory_mb=round(max(run.peak_memory_mb for run in done)),
    )
