"""The report of `dpipe bench api`: its rows for people, its chart, its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe import svg
from dpipe.bench.kernel_page import timed
from dpipe.bench.page import Section, page

if TYPE_CHECKING:
    from dpipe.bench.api import ApiReport

COLUMNS = (
    "server",
    "records/request",
    "requests/s",
    "records/s",
    "p50 ms",
    "p99 ms",
    "CPU us/request",
    "of bare",
)


def rows(report: ApiReport) -> list[tuple[object, ...]]:
    """A row a server and size, as `COLUMNS` names them."""
    return [
        (
            load.engine,
            load.records_a_request,
            load.median_requests_per_second,
            load.records_per_second,
            round(load.p50_seconds * 1000, 1),
            round(load.p99_seconds * 1000, 1),
            load.cpu_microseconds_a_request,
            f"{report.ratios[str(load.records_a_request)]:.0%}" if load.engine == "dpipe" else "",
        )
        for load in report.loads
    ]


def headline(report: ApiReport) -> str:
    """What was measured how."""
    return (
        f"{report.requests:,} requests over {report.connections:,} connections, accepted durably with key, name and "
        f"job, beside an endpoint that only syncs; {timed(report.runs)}; the server's memory "
        f"{report.resident_mb_before:,.0f} MB before, {report.resident_mb_after:,.0f} MB after"
    )


def chart(report: ApiReport) -> str:
    """Requests a second as bars."""
    values = [
        (
            f"{load.engine}, {load.records_a_request:,} a request",
            load.median_requests_per_second,
            f"{load.median_requests_per_second:,.0f}/s",
        )
        for load in report.loads
    ]
    ours = next(name for name, *_ in values if name.startswith("dpipe"))
    return svg.bars("Requests a second", "requests a second, median", values, ours=ours)


def html(report: ApiReport) -> str:
    """The page."""
    section = Section("Requests", COLUMNS, rows(report), [chart(report)])
    return page("dpipe's API", headline(report), report.machine, [section])
