"""The kernel beside baselines: the same file, the same rules, the same result, then the clock."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpipe.bench import engines
from dpipe.bench.bandwidth import memory_bandwidth
from dpipe.bench.child import Run, run_in_child
from dpipe.bench.facts import difference, facts
from dpipe.bench.machine import machine
from dpipe.bench.work import Job, beyond_baselines, nested
from dpipe.errors import DpipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dpipe.bench.flights import Compression, Format
    from dpipe.contract import Plan


@dataclass(frozen=True)
class Input:
    """What is read. `bytes` is the file's size as it lies there; `made` says that the bench made it."""

    path: Path
    form: Format
    compression: Compression
    plan: Plan
    made: bool


@dataclass(frozen=True)
class EngineReport:
    """An engine's runs; speeds are those of the median run, a core's share is by the threads that it could use.

    `bandwidth_share` is the bytes of input a second, by those that as many threads can read from memory. `partly` says
    what of the work it does otherwise.
    """

    engine: str
    title: str
    versions: dict[str, str]
    partly: str | None
    seconds: list[float]
    median_seconds: float
    records_per_second: int
    megabytes_per_second: float
    megabytes_per_second_per_core: float
    bandwidth_share: float
    startup_seconds: float
    peak_memory_mb: int


@dataclass(frozen=True)
class KernelReport:
    """What was measured, on what, on which machine.

    `profile` says whether every engine took a profile. `ratios` are medians of the ratios of an engine's seconds to
    the kernel's in the same round, `spread` their least and greatest. `left_out` gives the reason for each baseline
    that wasn't compared. `machine` has the memory's bandwidth too, for one thread and for as many as there are cores.
    """

    bench: str
    ratios: dict[str, float]
    spread: dict[str, tuple[float, float]]
    input: dict[str, Any]
    result: dict[str, Any]
    profile: bool
    threads: int
    runs: int
    engines: list[EngineReport]
    left_out: dict[str, str]
    machine: dict[str, Any]


def bench_kernel(
    given: Input,
    *,
    against: Sequence[str],
    runs: int,
    threads: int,
    profile: bool = True,
    on_step: Callable[[str], None] = lambda _step: None,
) -> KernelReport:
    """Time the kernel and the baselines in turn, once their results are known to be the same.

    `profile` is whether all of them take a profile of the accepted values, or none.

    Raises `DpipeError` when a baseline's result differs on an input that the bench made. On the user's own it is
    left out with what differs, as is a baseline that can't express the contract.
    """
    with tempfile.TemporaryDirectory(prefix="dpipe-bench-") as name:
        bench = _Bench(given, threads, Path(name), profile=profile)
        on_step("checking that the results are the same")
        compared, left_out = bench.check(against)
        seconds = bench.time([engines.KERNEL, *compared], runs, on_step)
        return bench.report(seconds, left_out)


class _Bench:
    def __init__(self, given: Input, threads: int, folder: Path, *, profile: bool) -> None:
        self.given = given
        self.out = folder / "out"
        self.job = Job(given.plan, given.path, given.form, given.compression, threads, self.out, profile)
        self.expected = self._run(engines.KERNEL, check=True)

    def _run(self, name: str, *, check: bool = False) -> tuple[Run, Any]:
        """Run an engine; with its facts when they are to be checked."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        run = run_in_child(name, self.job)
        return run, facts(self.job, run.outcome) if check else None

    def check(self, against: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """The baselines that come to the kernel's result, and why others aren't compared."""
        compared: list[str] = []
        left_out: dict[str, str] = {}
        for name in against:
            reason = self._why_not(name)
            if reason is None:
                compared.append(name)
            else:
                left_out[name] = reason
        return compared, left_out

    def _why_not(self, name: str) -> str | None:
        if package := engines.missing(name):
            return f"`{package}` is not installed: {engines.HINT}"
        module = engines.engine(name)
        if reason := beyond_baselines(self.given.plan, self.given.form) or module.unable(
            self.given.plan, self.given.form
        ):
            return reason
        try:
            _, theirs = self._run(name, check=True)
        except DpipeError as error:
            if self.given.made:
                raise
            return error.message
        with_bytes = self.given.form in module.KEEPS_BYTES
        differs = difference(
            self.expected[1], theirs, with_bytes=with_bytes, distinct_off=module.DISTINCT_OFF
        )
        if differs and self.given.made:
            raise DpipeError(
                f"the results differ, so there is nothing to compare: of `{name}` {differs}",
                hint="please report it",
            )
        return differs and f"its result differs: {differs}"

    def time(self, names: Sequence[str], runs: int, on_step: Callable[[str], None]) -> dict[str, list[Run]]:
        """Runs of the engines, each in turn, so that what slows the machine down for a while slows all of them."""
        done: dict[str, list[Run]] = {name: [] for name in names}
        for number in range(1, runs + 1):
            for name in names:
                on_step(f"run {number} of {runs}: {name}")
                done[name].append(self._run(name)[0])
        return done

    def report(self, done: dict[str, list[Run]], left_out: dict[str, str]) -> KernelReport:
        ratios: dict[str, float] = {}
        spread: dict[str, tuple[float, float]] = {}
        kernel_runs = done[engines.KERNEL]
        for name, runs in done.items():
            if name == engines.KERNEL:
                continue
            paired = [theirs.seconds / ours.seconds for theirs, ours in zip(runs, kernel_runs, strict=True)]
            ratios[name] = round(statistics.median(paired), 2)
            spread[name] = (round(min(paired), 2), round(max(paired), 2))
        given, expected = self.given, self.expected[1]
        cores = os.cpu_count() or 1
        bandwidth = {threads: memory_bandwidth(threads) for threads in {1, self.job.workers, cores}}
        return KernelReport(
            bench="kernel",
            ratios=ratios,
            spread=spread,
            input={
                "dataset": given.plan.dataset,
                "shape": "nested" if nested(given.plan) else "flat",
                "source": "made" if given.made else str(given.path),
                "format": given.form,
                "compression": given.compression,
                "records": expected.counts["records_in"],
                "bytes": given.path.stat().st_size,
                "columns": len(given.plan.columns),
                "nested_columns": len(nested(given.plan)),
            },
            result={**expected.counts, "violations": expected.violations},
            profile=self.job.profile,
            threads=self.job.workers,
            runs=len(kernel_runs),
            engines=[self._engine(name, runs, bandwidth) for name, runs in done.items()],
            left_out=left_out,
            machine={
                **machine(),
                "memory_bandwidth_gb_s": round(bandwidth[cores] / 1e9, 2),
                "memory_bandwidth_one_thread_gb_s": round(bandwidth[1] / 1e9, 2),
            },
        )

    def _engine(self, name: str, runs: list[Run], bandwidth: dict[int, float]) -> EngineReport:
        module = engines.engine(name)
        median = statistics.median(run.seconds for run in runs)
        cores = self.job.workers if module.PARALLEL else 1
        megabytes = self.given.path.stat().st_size / 1e6
        return EngineReport(
            engine=name,
            title=module.TITLE,
            versions=engines.versions(name),
            partly=module.partly(self.given.form),
            seconds=[round(run.seconds, 4) for run in runs],
            median_seconds=round(median, 4),
            records_per_second=round(self.expected[1].counts["records_in"] / median),
            megabytes_per_second=round(megabytes / median, 1),
            megabytes_per_second_per_core=round(megabytes / median / cores, 1),
            bandwidth_share=round(megabytes * 1e6 / median / bandwidth[cores], 7),
            startup_seconds=round(statistics.median(run.startup_seconds for run in runs), 3),
            peak_memory_mb=round(max(run.peak_memory_mb for run in runs)),
        )
