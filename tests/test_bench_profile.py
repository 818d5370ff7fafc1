"""The profile in `dpipe bench`: every engine takes the same one, and a wrong figure is told."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from dpipe.bench import engines, flights
from dpipe.bench.facts import Facts, difference, facts
from dpipe.bench.profile import SHARES, TRIAL, ColumnProfile
from dpipe.bench.profile import difference as difference_of
from dpipe.bench.work import Job
from dpipe.contract import Column, Plan

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.bench.flights import Format

COLUMNS = (
    Column("count", "int64", required=True),
    Column("value", "float64"),
    Column("name", "string"),
    Column("paid", "boolean"),
    Column("day", "date"),
    Column("at", "timestamp_ntz"),
    Column("seen_at", "timestamp"),
    Column("no_number", "int32"),
    Column("no_text", "string"),
    Column("no_day", "date"),
)


def rows(number: int) -> dict[str, Any]:
    """A record with nulls, negative numbers, texts of several lengths, times before 1970."""
    return {
        "count": number % 7 - 3,
        "value": None if number % 5 == 0 else (number % 90 - 40) / 8,
        "name": None if number % 11 == 0 else "é" * (number % 4) + str(number % 6),
        "paid": None if number % 3 == 0 else number % 2 == 0,
        "day": f"{1960 + number % 30}-02-{number % 28 + 1:02}",
        "at": f"1969-12-31T23:59:{number % 60:02}.{number % 1000:06}",
        "seen_at": f"2024-01-01T05:06:{number % 60:02}+02:00",
        "no_number": None,
        "no_text": None,
        "no_day": None,
    }


def job(folder: Path, records: list[dict[str, Any]], columns: tuple[Column, ...], form: Format) -> Job:
    path = folder / f"records.{form}"
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    if form == "csv":
        texts = [["" if value is None else _text(value) for value in record.values()] for record in records]
        lines = [",".join(column.name for column in columns), *(",".join(fields) for fields in texts)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Job(Plan("d", "0" * 64, columns), path, form, "none", 2, folder)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def same(given: Job) -> dict[str, Facts]:
    """What each engine makes of the job, once every one is shown to say what the kernel says."""
    found = {}
    for name in (engines.KERNEL, *engines.BASELINES):
        done = replace(given, out=given.out / name)
        done.out.mkdir()
        found[name] = facts(done, engines.engine(name).run(done))
    for name in engines.BASELINES:
        off = engines.engine(name).DISTINCT_OFF
        assert difference(found[engines.KERNEL], found[name], with_bytes=False, distinct_off=off) is None, (
            name
        )
    return found


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_every_engine_says_the_same_of_values_of_every_type(tmp_path: Path, form: Format) -> None:
    found = same(job(tmp_path, [rows(number) for number in range(500)], COLUMNS, form))

    profile = found["pure_python"].profile
    assert found["duckdb"].counts["accepted"] == 500
    assert profile["count"] == ColumnProfile(
        500,
        0,
        7,
        -3,
        3,
        sum(number % 7 - 3 for number in range(500)) / 500,
        (-3.0, -3.0, -2.0, 0.0, 2.0, 3.0, 3.0),
        tuple((value, 72 if value < 0 else 71) for value in range(-3, 4)),
    )
    assert profile["value"].nulls == 100
    assert profile["name"].lengths == (1, 4)
    assert profile["paid"] == ColumnProfile(500, 167)
    assert profile["day"].least == (date(1960, 2, 1) - date(1970, 1, 1)).days
    assert profile["at"].least == -60_000_000
    assert {profile[name] for name in ("no_number", "no_text", "no_day")} == {ColumnProfile(500, 500)}


def test_a_profile_of_no_rows_is_the_same_everywhere(tmp_path: Path) -> None:
    broken = [{**rows(number), "count": None} for number in range(20)]

    found = same(job(tmp_path, broken, COLUMNS, "ndjson"))

    for engine in found.values():
        assert engine.counts["accepted"] == 0
        assert set(engine.profile.values()) == {ColumnProfile(0, 0)}


def test_values_that_hardly_repeat_are_profiled_alike(tmp_path: Path) -> None:
    columns = (
        Column("id", "int64"),
        Column("share", "float64"),
        Column("text", "string"),
        Column("at", "timestamp"),
        Column("few", "int32"),
    )
    count = 3 * TRIAL
    records = [
        {
            "id": number * 7919 % 1_000_003 - 500_000,
            "share": math.sin(number),
            "text": f"{number * 104_729 % 1_000_003:x}",
            "at": f"2024-01-{number % 28 + 1:02}T{number % 24:02}:{number % 60:02}:{number % 59:02}.{number:06}Z",
            "few": number % 3,
        }
        for number in range(count)
    ]

    found = same(job(tmp_path, records, columns, "ndjson"))

    for engine in found.values():
        assert engine.profile["few"].distinct == 3
        assert engine.profile["id"].distinct == pytest.approx(count, rel=0.5)
    assert found["pure_python"].profile["id"].distinct == count


def test_baselines_that_count_every_value_say_the_very_same(tmp_path: Path) -> None:
    path = tmp_path / "flights.ndjson"
    flights.write(path, 3_000)
    found = same(Job(flights.plan(), path, "ndjson", "none", 2, tmp_path))

    expected = found.pop("pure_python").profile
    found.pop(engines.KERNEL)
    for engine in found.values():
        for name, profile in engine.profile.items():
            mine = expected[name]
            assert profile.mean == pytest.approx(mine.mean)
            assert [count for _, count in profile.top] == [count for _, count in mine.top]
            assert replace(profile, mean=None, top=()) == replace(mine, mean=None, top=())


def test_without_a_profile_no_engine_takes_one(tmp_path: Path) -> None:
    given = replace(job(tmp_path, [rows(1)], COLUMNS, "ndjson"), profile=False)

    assert all(not engine.profile and not engine.ranks for engine in same(given).values())


def test_the_answer_says_that_no_profile_was_taken() -> None:
    command = ("kernel", "--records", "1000", "--runs", "1", "--against", "duckdb", "--no-profile")

    told, shown = (
        subprocess.run(
            [sys.executable, "-m", "dpipe", "-q", "bench", *command, *more],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for more in (("--json",), ())
    )

    assert json.loads(told)["profile"] is False
    assert "without profile" in " ".join(shown.split())


NUMBERS = ColumnProfile(
    1000, 10, 300, 0, 100, 40.0, (1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0), ((7, 30), (8, 20))
)
TEXTS = ColumnProfile(
    1000, 0, 3, "a", "ccc", 2.0, top=(("a", 500), ("bb", 300), ("ccc", 200)), lengths=(1, 3)
)
RANKS = [(share - 0.005, share + 0.005) for share in SHARES]


@pytest.mark.parametrize(
    ("ours", "changes", "said"),
    [
        (NUMBERS, {"rows": 999}, "`rows` is 999"),
        (NUMBERS, {"nulls": 11}, "`nulls` is 11"),
        (NUMBERS, {"least": 1}, "`least` is 1 where the kernel has 0"),
        (NUMBERS, {"greatest": 101}, "`greatest` is 101"),
        (NUMBERS, {"mean": 40.6}, "the mean is 40.6"),
        (NUMBERS, {"mean": None}, "the mean is None"),
        (NUMBERS, {"distinct": 331}, "331 distinct values"),
        (NUMBERS, {"quantiles": ()}, "0 quantiles"),
        (TEXTS, {"distinct": 4}, "4 distinct values"),
        (TEXTS, {"lengths": (0, 3)}, "`lengths` is (0, 3)"),
        (TEXTS, {"mean": 2.1}, "the mean is 2.1"),
        (TEXTS, {"top": (("a", 500), ("bb", 300))}, "most frequent values"),
        (TEXTS, {"top": (("a", 501), ("bb", 300), ("ccc", 199))}, "most frequent values"),
        (TEXTS, {"top": (("b", 500), ("bb", 300), ("ccc", 200))}, "most frequent values"),
    ],
)
def test_a_wrong_figure_is_told(ours: ColumnProfile, changes: dict[str, Any], said: str) -> None:
    ranks = RANKS if ours.quantiles else []

    assert difference_of(ours, ours, (ranks, ranks), distinct_off=0.1) is None
    told = difference_of(ours, replace(ours, **changes), (ranks, ranks), distinct_off=0.1)
    assert said in str(told)


def test_a_quantile_elsewhere_among_the_values_is_told() -> None:
    moved = [*RANKS[:3], (0.57, 0.58), *RANKS[4:]]

    told = difference_of(NUMBERS, NUMBERS, (RANKS, moved), distinct_off=0.1)

    assert told == "the quantile of 0.5 lies elsewhere among the values"


def test_what_engines_may_say_otherwise_is_no_difference() -> None:
    """Rounding of a mean, an estimate's error, quantiles nearby, and which of equally frequent values are told."""
    top = tuple((value, 50 if value < 3 else 10) for value in range(10))
    tied = (*top[:3], *((value + 20, 10) for value in range(7)))
    few = replace(NUMBERS, distinct=40, top=top)
    near = [(below + 0.03, up_to + 0.03) for below, up_to in RANKS]

    assert (
        difference_of(few, replace(few, top=tied, mean=40.0 + 1e-8), (RANKS, near), distinct_off=0.1) is None
    )
    assert difference_of(NUMBERS, replace(NUMBERS, distinct=320), (RANKS, RANKS), distinct_off=0.1) is None
