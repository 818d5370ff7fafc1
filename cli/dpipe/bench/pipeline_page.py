"""The report of `dpipe bench pipeline`: its rows for people, its chart, its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe import svg
from dpipe.bench.kernel_page import FORMATS, timed
from dpipe.bench.page import Section, page

if TYPE_CHECKING:
    from dpipe.bench.pipeline import PipelineReport

COLUMNS = ("command", "median s", "least s", "most s", "records/s")


def rows(report: PipelineReport) -> list[tuple[object, ...]]:
    """A row a stage, as `COLUMNS` names them."""
    return [
        (stage.stage, stage.median_seconds, min(stage.seconds), max(stage.seconds), stage.records_per_second)
        for stage in report.stages
    ]


def headline(report: PipelineReport) -> str:
    """What was taken how far."""
    given = report.input
    packed = "" if given["compression"] == "none" else f", {given['compression']}"
    return (
        f"{given['records']:,} records, {given['bytes'] / 1e6:,.1f} MB of {FORMATS[given['format']]}{packed}, "
        f"{report.stages[0].stage} to {report.stages[-1].stage} in {report.seconds:,.1f} s; {timed(report.runs)}"
    )


def chart(report: PipelineReport) -> str:
    """Seconds of every stage as bars."""
    values = [(stage.stage, stage.median_seconds, f"{stage.median_seconds:.2f} s") for stage in report.stages]
    return svg.bars(headline(report), "wall seconds of the command, median", values, ours="process")


def html(report: PipelineReport) -> str:
    """The page."""
    section = Section("Stages", COLUMNS, rows(report), [chart(report)])
    return page("dpipe's commands", headline(report), report.machine, [section])
