"""A validation in words."""

from __future__ import annotations

from itertools import groupby
from textwrap import indent
from typing import TYPE_CHECKING

from dpipe.quality.model import ROWS_SHOWN
from dpipe.quality.results import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dpipe.quality.model import CheckResult, ValidationReport


def lines(report: ValidationReport) -> Iterator[str]:
    """One line a relation, and below it what did not pass; the sum comes last."""
    width = max((len(result.relation) for result in report.results), default=0)
    for relation, results in groupby(report.results, key=lambda result: result.relation):
        yield from _relation(relation.ljust(width), list(results))
    yield from (f"skipped  {reason}" for reason in report.skipped)
    loading = f", {report.import_seconds:.1f} s of them to load Great Expectations"
    yield (
        f"{len(report.results):,} checks in {report.seconds:.1f} s{loading}: {report.passed:,} passed, "
        f"{report.failed:,} failed, {report.warnings:,} warnings, {report.errors:,} could not run"
    )


def _relation(title: str, results: Sequence[CheckResult]) -> Iterator[str]:
    passed = [result for result in results if result.status == "passed"]
    yield f"{title}  {len(passed):,} of {len(results):,} checks passed"
    for result in results:
        if result.status != "passed":
            yield from _broken(result)


def _broken(result: CheckResult) -> Iterator[str]:
    word = {("failed", "warning"): "warning"}.get((result.status, result.severity), result.status)
    about = f" ({result.description})" if result.description else ""
    yield f"  {word}: {result.name}{about}: {result.count}"
    for row in result.failing[:ROWS_SHOWN]:
        yield f"    {words(row)}"
    more = (result.unexpected_count or 0) - ROWS_SHOWN
    if result.failing and more > 0:
        yield f"    … and {more:,} more"
    if result.sql:
        yield from indent(f"sql: {result.sql}", "    ").splitlines()
