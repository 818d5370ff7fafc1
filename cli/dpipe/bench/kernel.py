"""The kernel beside pure Python: the same file, the same rules, the same result, then the clock."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpipe.bench import flights, pure_python
from dpipe.errors import DpipeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dpipe.contract import Plan

BATCH_ID = "file-" + "0" * 32


@dataclass(frozen=True)
class Timing:
    """Wall seconds of an engine's runs, and its speed by the quickest of them."""

    engine: str
    seconds: list[float]
    median_seconds: float
    records_per_second: float
    megabytes_per_second: float


@dataclass(frozen=True)
class BenchReport:
    """What was measured on which machine; `ratio` is median by median."""

    records: int
    bytes: int
    result: dict[str, int]
    machine: dict[str, Any]
    timings: list[Timing]
    ratio: float


def bench_kernel(records: int, *, runs: int, threads: int, on_step: Callable[[str], None]) -> BenchReport:
    """Time the kernel and pure Python over `records` made-up flights, one in a hundred faulty.

    Raises `DpipeError` when their results differ: then there is nothing to compare.
    """
    plan = flights.plan()
    with tempfile.TemporaryDirectory(prefix="dpipe-bench-") as folder:
        source = Path(folder) / "flights.ndjson"
        on_step(f"making {records:,} records")
        flights.write(source, records)
        on_step("checking that the results are the same")
        result = _check_equal(plan, source, Path(folder), threads)
        seconds: dict[str, list[float]] = {"dpipe kernel": [], "pure Python": []}
        for number in range(1, runs + 1):
            on_step(f"run {number} of {runs}")
            seconds["dpipe kernel"].append(
                _timed(lambda out: _run_kernel(plan, source, out, threads), Path(folder))
            )
            seconds["pure Python"].append(
                _timed(lambda out: pure_python.process(plan, source, out, BATCH_ID), Path(folder))
            )
        size = source.stat().st_size
    timings = [_timing(engine, taken, result["records_in"], size) for engine, taken in seconds.items()]
    return BenchReport(
        records=result["records_in"],
        bytes=size,
        result=result,
        machine=_machine(threads),
        timings=timings,
        ratio=round(timings[1].median_seconds / timings[0].median_seconds, 1),
    )


def _run_kernel(plan: Plan, source: Path, out: Path, threads: int) -> dict[str, Any]:
    from dpipe import _kernel

    return _kernel.process(
        plan.to_json(),
        [{"batch_id": BATCH_ID, "path": str(source), "format": "ndjson", "compression": "none"}],
        data_dir=str(out / "data"),
        quarantine_dir=str(out / "quarantine"),
        threads=threads,
    )


def _timed(run: Callable[[Path], object], folder: Path) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as out:
        started = time.perf_counter()
        run(Path(out))
        return time.perf_counter() - started


def _check_equal(plan: Plan, source: Path, folder: Path, threads: int) -> dict[str, int]:
    """Counts, violations, accepted rows and quarantined bytes of both, compared."""
    with tempfile.TemporaryDirectory(dir=folder) as ours, tempfile.TemporaryDirectory(dir=folder) as theirs:
        answer = _run_kernel(plan, source, Path(ours), threads)
        baseline = pure_python.process(plan, source, Path(theirs), BATCH_ID)
        batch = answer["batches"][0]
        violations = {(broken["column"], broken["rule"]): broken["records"] for broken in batch["violations"]}
        counts = {name: batch[name] for name in ("records_in", "accepted", "rejected", "duplicate")}
        expected = asdict(baseline)
        same = counts == {name: expected[name] for name in counts} and violations == baseline.violations
        if not (same and _same_rows(Path(ours), Path(theirs))):
            raise DpipeError(
                f"the kernel's result differs from pure Python's: {counts} beside {expected}",
                hint="please report it",
            )
        return counts


def _same_rows(ours: Path, theirs: Path) -> bool:
    import pyarrow.parquet as pq

    accepted = pq.read_table(ours / "data"), pq.read_table(theirs / "accepted.parquet")
    columns = ["_dpipe_record_no", "byte_offset", "line", "raw", "disposition", "duplicate_kind"]
    columns.append("winner_record_no")
    kept = [
        pq.read_table(folder, columns=columns)
        for folder in (ours / "quarantine", theirs / "quarantine.parquet")
    ]
    same_values = all(
        mine.cast(other.type).equals(other)
        for pair in (accepted, tuple(kept))
        for mine, other in zip(pair[0].columns, pair[1].columns, strict=True)
    )
    return same_values and accepted[0].column_names == accepted[1].column_names


def _timing(engine: str, seconds: list[float], records: int, size: int) -> Timing:
    quickest = min(seconds)
    return Timing(
        engine=engine,
        seconds=[round(second, 3) for second in seconds],
        median_seconds=round(statistics.median(seconds), 3),
        records_per_second=round(records / quickest),
        megabytes_per_second=round(size / quickest / 1e6, 1),
    )


def _machine(threads: int) -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "threads": threads or os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
