"""The reports of `dpipe bench pipeline` and `dpipe bench scaling`: their rows for people and their pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe.bench import svg
from dpipe.bench.kernel_page import FORMATS
from dpipe.bench.page import Section, page

if TYPE_CHECKING:
    from dpipe.bench.pipeline import PipelineReport
    from dpipe.bench.scaling import Axis, Point, ScalingReport

AXES: tuple[Axis, ...] = ("records", "columns", "threads", "partitions")
PIPELINE_COLUMNS = ("command", "median s", "least s", "most s", "records/s")
SCALING_COLUMNS = (
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


def pipeline_rows(report: PipelineReport) -> list[tuple[object, ...]]:
    """A row a stage, as `PIPELINE_COLUMNS` names them."""
    return [
        (stage.stage, stage.median_seconds, min(stage.seconds), max(stage.seconds), stage.records_per_second)
        for stage in report.stages
    ]


def pipeline_headline(report: PipelineReport) -> str:
    """What was taken how far."""
    given = report.input
    packed = "" if given["compression"] == "none" else f", {given['compression']}"
    return (
        f"{given['records']:,} records, {given['bytes'] / 1e6:,.1f} MB of {FORMATS[given['format']]}{packed}, "
        f"{report.stages[0].stage} to {report.stages[-1].stage} in {report.seconds:,.1f} s; {_runs(report.runs)}"
    )


def pipeline_chart(report: PipelineReport) -> str:
    """Seconds of every stage as bars."""
    values = [(stage.stage, stage.median_seconds, f"{stage.median_seconds:.2f} s") for stage in report.stages]
    return svg.bars(pipeline_headline(report), "wall seconds of the command, median", values, ours="process")


def pipeline_html(report: PipelineReport) -> str:
    """The page."""
    section = Section("Stages", PIPELINE_COLUMNS, pipeline_rows(report), [pipeline_chart(report)])
    return page("dpipe's commands", pipeline_headline(report), report.machine, [section])


def scaling_rows(report: ScalingReport) -> list[tuple[object, ...]]:
    """A row a point, as `SCALING_COLUMNS` names them."""
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


def scaling_headline(report: ScalingReport) -> str:
    """What was read."""
    sizes = report.input["records"]
    return f"{sizes[0]:,} to {sizes[-1]:,} records of {FORMATS[report.input['format']]}; {_runs(report.runs)}"


def scaling_charts(report: ScalingReport) -> dict[str, list[str]]:
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


def scaling_html(report: ScalingReport) -> str:
    """The page."""
    sections = [Section(heading, charts=charts) for heading, charts in scaling_charts(report).items()]
    sections.append(Section("Figures", SCALING_COLUMNS, scaling_rows(report)))
    return page("How dpipe's kernel scales", scaling_headline(report), report.machine, sections)


def _bars(points: list[Point], axis: Axis) -> str:
    values = [
        (f"{point.value}", point.median_seconds, f"{point.median_seconds:.2f} s, {point.peak_memory_mb:,} MB")
        for point in points
    ]
    records = points[0].records if points else 0
    return svg.bars(
        f"{records:,} records, by {axis}", "seconds, median; beside it the most MB resident", values, ours=""
    )


def _runs(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"
