"""Patterns that are taken mean the same in every engine, and the others are refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import duckdb
import pytest
from dpipe.contract.patterns import PatternError, check
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator

TAKEN = [
    "",
    "^[0-9A-Z]{2}$",
    "^(?:a|b)+?c*$",
    r"^\(\d\)$".replace(r"\d", "[0-9]"),
    r"[\]\[^-]",
    r"[^\n\t]{1,1000}",
    r"\x41\.\-\/",
    "é+",
    "a||b",
    "(a(b(c)))",
    "[a-]",
    "[-a]",
]
REFUSED = {
    "(?=a)": "look-around",
    "(?<!a)b": "look-around",
    r"(a)\1": "backreference",
    "(?P<n>a)": "engines read differently",
    "(?i)a": "engines read differently",
    "(?#x)": "engines read differently",
    r"\d": r"`\d`",
    r"[\w]": r"`\w`",
    r"[\D]": r"`\D`",
    r"a\b": r"the escape `\b`",
    r"\Aa\Z": r"the escape `\A`",
    r"\u0041": r"the escape `\u`",
    r"\p{L}": r"the escape `\p`",
    "a\\": "the escape",
    "[a": "not closed",
    "[]a]": "a bare `]`",
    "[[:alpha:]]": "a bare `[`",
    "[a&&b]": "`&&` in a class",
    "[z-a]": "doesn't compile",
    "a]": "a bare `]`",
    "a}": "a bare `}`",
    "(a": "not closed",
    "a)": "a bare `)`",
    "*a": "nothing to repeat",
    "^*": "nothing to repeat",
    "a**": "nothing to repeat",
    "a++": "nothing to repeat",
    "a{": "no repetition",
    "a{,2}": "no repetition",
    "a{3,2}": "counts down",
    "a{1001}": "more than 1,000 repetitions",
    "(a{100}){100}": "more than 1,000 repetitions",
    "((a{50}b){3}|c){20}": "more than 1,000 repetitions",
    "(" * 60 + ")" * 60: "nested deeper",
    "a" * 2_001: "2,001 characters",
}


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def re2(engine: duckdb.DuckDBPyConnection, pattern: str, text: str) -> bool:
    row = engine.execute("select regexp_matches(?, ?)", [text, pattern]).fetchone()
    assert row is not None
    return bool(row[0])


@pytest.mark.parametrize("pattern", TAKEN)
def test_a_portable_pattern_is_taken(pattern: str, engine: duckdb.DuckDBPyConnection) -> None:
    check(pattern)
    re2(engine, pattern, "a")


@pytest.mark.parametrize(("pattern", "said"), REFUSED.items(), ids=[name[:20] for name in REFUSED])
def test_another_pattern_is_refused_with_a_fix(pattern: str, said: str) -> None:
    with pytest.raises(PatternError, match=re.escape(said)) as caught:
        check(pattern)
    assert caught.value.hint


def test_the_place_in_the_pattern_is_told() -> None:
    with pytest.raises(PatternError, match="at character 4"):
        check(r"ab\d")


LETTERS = "ab01^$.|()[]{}*+?\\-,:=!<>&~dwsxA "


@settings(max_examples=500, deadline=None)
@given(st.text(LETTERS, max_size=12), st.lists(st.text("ab01- ", max_size=6), max_size=5))
def test_what_is_taken_gives_one_verdict_in_python_and_re2(
    engine: duckdb.DuckDBPyConnection, pattern: str, texts: list[str]
) -> None:
    try:
        check(pattern)
    except PatternError:
        return
    for text in texts:
        assert re2(engine, pattern, text) == bool(re.search(pattern, text))
