"""The report of `dpipe bench kernel`: its rows for people, its chart, its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe import svg
from dpipe.bench.page import Section, page

if TYPE_CHECKING:
    from dpipe.bench.kernel import EngineReport, KernelReport

FORMATS = {"ndjson": "NDJSON", "csv": "CSV", "parquet": "Parquet"}
COLUMNS = (
    "engine",
    "times as long",
    "spread",
    "median s",
    "records/s",
    "MB/s",
    "MB/s a core",
    "% of bandwidth",
    "peak MB",
    "start-up s",
)


def rows(report: KernelReport) -> list[tuple[object, ...]]:
    """A row an engine, as `COLUMNS` names them."""
    return [
        (
            engine.title,
            report.ratios.get(engine.engine),
            " to ".join(f"{end:,g}" for end in report.spread.get(engine.engine, ())),
            engine.median_seconds,
            engine.records_per_second,
            engine.megabytes_per_second,
            engine.megabytes_per_second_per_core,
            round(100 * engine.bandwidth_share, 2),
            engine.peak_memory_mb,
            engine.startup_seconds,
        )
        for engine in report.engines
    ]


def headline(report: KernelReport) -> str:
    """What was read, how."""
    given = report.input
    packed = "" if given["compression"] == "none" else f", {given['compression']}"
    nested = f" ({given['nested_columns']} nested)" if given["nested_columns"] else ""
    threads = "1 thread" if report.threads == 1 else f"{report.threads} threads"
    return (
        f"{given['records']:,} records, {given['columns']} columns{nested}, {given['bytes'] / 1e6:,.1f} MB of "
        f"{FORMATS[given['format']]}{packed}; {profiled(report)}, {threads}, {timed(report.runs)}"
    )


def profiled(report: KernelReport) -> str:
    """Whether a profile is part of the work."""
    return "with profile" if report.profile else "without profile"


def timed(runs: int) -> str:
    """How often."""
    return "1 run" if runs == 1 else f"{runs} runs"


def notes(report: KernelReport) -> list[str]:
    """What must be said beside the figures."""
    result = report.result
    same = "Same result" if report.ratios else "Result"
    counts = (f"{result[name]:,} {name}" for name in ("accepted", "rejected", "duplicate"))
    said = [f"{same}: {', '.join(counts)}."]
    said.append(_of_memory(report))
    said += [f"{engine.title} {engine.partly}." for engine in report.engines if engine.partly]
    said += [f"Left out: {name}, {reason}." for name, reason in report.left_out.items()]
    return said


def _of_memory(report: KernelReport) -> str:
    """The kernel's speed beside that of the memory."""
    kernel = report.engines[0]
    threads = "one thread reads" if report.threads == 1 else f"{report.threads} threads read"
    bandwidth = kernel.megabytes_per_second / kernel.bandwidth_share / 1000
    return (
        f"{kernel.title} takes in {kernel.megabytes_per_second:,.0f} MB/s, {kernel.bandwidth_share:.1%} of the "
        f"{bandwidth:.1f} GB/s that {threads} from this machine's memory."
    )


def chart(report: KernelReport) -> str:
    """Seconds of every engine as bars, the quickest first."""
    engines = sorted(report.engines, key=lambda engine: engine.median_seconds)
    values = [(engine.title, engine.median_seconds, _beside(report, engine)) for engine in engines]
    where = f"{report.machine['cpu']}, {report.machine['cores']} cores"
    return svg.bars(headline(report), f"seconds, median; less is better ({where})", values, ours="dpipe")


def _beside(report: KernelReport, engine: EngineReport) -> str:
    ratio = report.ratios.get(engine.engine)
    if ratio is None:
        return f"{engine.median_seconds:.2f} s"
    return f"{engine.median_seconds:.2f} s, {ratio:.1f} times as long"


def html(report: KernelReport) -> str:
    """The page."""
    versions = {package: number for engine in report.engines for package, number in engine.versions.items()}
    memory = [
        (engine.title, float(engine.peak_memory_mb), f"{engine.peak_memory_mb:,} MB")
        for engine in sorted(report.engines, key=lambda engine: engine.peak_memory_mb)
    ]
    broken = list(report.result["violations"].items())
    return page(
        "dpipe's kernel beside the same work elsewhere",
        headline(report),
        {**report.machine, **versions},
        [
            Section("Time", COLUMNS, rows(report), [chart(report)], notes(report)),
            Section(
                "Memory",
                charts=[
                    svg.bars(
                        "Most memory at once", "MB resident, mapped files included", memory, ours="dpipe"
                    )
                ],
            ),
            Section("What the records broke", ("rule", "records"), broken),
        ],
    )
