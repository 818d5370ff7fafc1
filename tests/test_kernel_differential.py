"""The kernel against `reference.py`: random plans, random files, every disposition, value, rule, byte and place."""

from __future__ import annotations

import struct
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import reference
from dpipe.contract import Column, Plan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_inputs import sources
from kernel_runs import Refused, Run, run_sources

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMS = ["ndjson", "json", "csv"]
BATCH_SIZES = [1, 2, 3, 7, 100_000]
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def exact(value: Any) -> Any:
    """A value with its type, to be compared bit by bit."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, datetime) and value.tzinfo:
        return ("instant", value.astimezone(UTC).replace(tzinfo=None))
    return (type(value), value)


def as_seen(record: dict[str, Any] | Refused | reference.Accepted | reference.Refused) -> Any:
    """A record in the one form in which both sides are compared."""
    if isinstance(record, reference.Accepted):
        record = record.values
    if isinstance(record, dict):
        return {name: exact(value) for name, value in record.items()}
    violations = tuple(sorted(record.violations, key=repr))
    return (record.disposition, violations, record.raw, record.offset, record.line, record.winner)


def says_the_same(found: dict[str, Any] | Refused, wanted: reference.Accepted | reference.Refused) -> bool:
    if as_seen(found) == as_seen(wanted):
        return True
    # A record that is both: the kernel names what comes first, the reference has only seen that it is no JSON.
    is_both = (
        isinstance(found, Refused)
        and isinstance(wanted, reference.Refused)
        and [rule for _, rule in found.violations] == ["duplicate_field"]
        and wanted.violations == ((None, "malformed"),)
    )
    return is_both and as_seen(found)[2:] == as_seen(wanted)[2:]


def assert_agrees(
    plan: Plan, contents: Mapping[str, bytes], run: Run, wanted: dict[str, reference.Expected]
) -> None:
    for batch, counts in zip(contents, run.batches, strict=True):
        found = run.of_batch(batch)
        assert len(found) == len(wanted[batch].records), batch
        for number, pair in enumerate(zip(found, wanted[batch].records, strict=True), start=1):
            assert says_the_same(*pair), f"record {number} of {batch}: {pair[0]} instead of {pair[1]}"
        assert counts["unknown_fields"] == dict(wanted[batch].unknown_fields)
        broken = Counter(
            violation
            for record in found
            if isinstance(record, Refused)
            for violation in set(record.violations)
        )
        reported = {(count["column"], count["rule"]): count["records"] for count in counts["violations"]}
        assert reported == dict(broken)


def compare(drawn: tuple[Plan, dict[str, bytes]], form: str, batch_size: int, threads: int) -> None:
    plan, contents = drawn
    run = run_sources(plan, contents, form, batch_size=batch_size, threads=threads)
    assert_agrees(plan, contents, run, reference.expected(plan, contents, form))


@pytest.mark.parametrize("form", FORMS)
def test_the_kernel_makes_of_any_file_what_the_reference_makes_of_it(form: str) -> None:
    @settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
    @given(sources(form), st.sampled_from(BATCH_SIZES), st.integers(1, 2))
    def check(drawn: tuple[Plan, dict[str, bytes]], batch_size: int, threads: int) -> None:
        compare(drawn, form, batch_size, threads)

    check()


def test_blank_lines_have_no_column_that_the_contract_does_not_know() -> None:
    plan = Plan("d", "0" * 64, (Column("a", "int32", required=False),), key=(), partition=())
    for content in (b"a,z\n\n\n", b"a,z\n\n1,2\n\n"):
        compare((plan, {"b": content}), "csv", 1, 1)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("form", FORMS)
def test_the_same_of_many_more_and_longer_files(form: str) -> None:
    @settings(max_examples=2000, deadline=None, suppress_health_check=SLOW)
    @given(sources(form, most=40), st.sampled_from(BATCH_SIZES), st.integers(1, 2))
    def check(drawn: tuple[Plan, dict[str, bytes]], batch_size: int, threads: int) -> None:
        compare(drawn, form, batch_size, threads)

    check()
