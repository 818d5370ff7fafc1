"""The report of `dpipe bench scaling`: its rows for people, its charts, its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe import svg
from dpipe.bench.kernel_page import FORMATS, timed
from dpipe.bench.page import Section, page

if TYPE_CHECKING:
    from dpipe.bench.scaling import Axis, Point, ScalingReport

AXES: tuple[Axis, ...] = ("records", "columns", "threads", "partitions")
COLUMNS = (
    "over",
    "records",
    "key",
    "columns",
    "threads",
    "partitions",
    "median s",
    "least s",
    "most s",
    "records/s",
    "peak MB",
)


def rows(report: ScalingReport) -> list[tuple[object, ...]]:
    """A row a point, as `COLUMNS` names them."""
    return [
        (
            point.axis,
            point.records,
            "yes" if point.key else "no",
            point.columns,
            point.threads,
            point.partitions,
            point.median_seconds,
            min(point.seconds),
            max(point.seconds),
            point.records_per_second,
            point.peak_memory_mb,
        )
        for point in sorted(
            report.points, key=lambda point: (AXES.index(point.axis), point.value, not point.key)
        )
    ]


def headline(report: ScalingReport) -> str:
    """What was read."""
    sizes = report.input["records"]
    return f"{sizes[0]:,} to {sizes[-1]:,} records of {FORMATS[report.input['format']]}; {timed(report.runs)}"


def charts(report: ScalingReport) -> dict[str, list[str]]:
    """Charts by what they are over."""
    over = {
        axis: sorted((point for point in report.points if point.axis == axis), key=lambda point: point.value)
        for axis in AXES
    }
    records = {
        "with a key": [point for point in over["records"] if point.key],
        "without": [point for point in over["records"] if not point.key],
    }
    seconds = {
        name: [(point.value / 1e6, point.median_seconds) for point in line] for name, line in records.items()
    }
    memory = {
        name: [(point.value / 1e6, point.peak_memory_mb) for point in line] for name, line in records.items()
    }
    return {
        "Records": [
            svg.lines("Time over records", "million records", "seconds, median", seconds),
            svg.lines("Memory over records", "million records", "most MB resident", memory),
        ],
        "Columns": [_bars(over["columns"], "columns")],
        "Threads": [_bars(over["threads"], "threads")],
        "Partitions": [_bars(over["partitions"], "partitions")],
    }


def html(report: ScalingReport) -> str:
    """The page."""
    sections = [Section(heading, charts=drawn) for heading, drawn in charts(report).items()]
    sections.append(Section("Figures", COLUMNS, rows(report)))
    return page("How dpipe's kernel scales", headline(report), report.machine, sections)


def _bars(points: list[Point], axis: Axis) -> str:
    values = [
        (f"{point.value}", point.median_seconds, f"{point.median_seconds:.2f} s, {point.peak_memory_mb:,} MB")
        for point in points
    ]
    records = points[0].records if points else 0
    return svg.bars(
        f"{records:,} records, by {axis}", "seconds, median; beside it the most MB resident", values, ours=""
    )
