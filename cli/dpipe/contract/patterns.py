"""Regular expressions that mean the same wherever a contract is checked.

ODCS writes ECMA-262; the kernel runs Rust's `regex`, DuckDB runs RE2. Taken is what they read alike:
literals, `.`, classes, groups, `|`, `^`, `$`, quantifiers. `\\d` and its kind are left out because Rust gives
them Unicode's meaning and the others ASCII's.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field

MAX_LENGTH = 2_000
MAX_DEPTH = 50
MAX_REPEAT = 1_000

_CONTROL = set("fnrtv")
_PUNCTUATION = set("!\"#$%&'()*+,-./:;=?@[\\]^_`{|}~")
_COUNT = re.compile(r"\{([0-9]{1,4})(,([0-9]{1,4})?)?\}")
_HEX = re.compile(r"x[0-7][0-9A-Fa-f]")
_CLASS_HINTS = {
    "d": "`[0-9]`",
    "D": "`[^0-9]`",
    "w": "`[A-Za-z0-9_]`",
    "W": "`[^A-Za-z0-9_]`",
    "s": "`[ \\t]`, or the spaces that you mean",
    "S": "`[^ \\t]`, or the spaces that you mean",
}


class PatternError(ValueError):
    """A pattern that engines would read differently or not at all; `hint` says what to write."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def check(pattern: str) -> None:
    """Raise `PatternError` unless Rust's `regex`, RE2 and ECMA-262 read the pattern alike."""
    if len(pattern) > MAX_LENGTH:
        raise PatternError(f"a pattern of {len(pattern):,} characters", f"stay within {MAX_LENGTH:,}")
    _Scanner(pattern).run()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern)
    except (re.error, Warning, OverflowError, RecursionError) as error:
        raise PatternError(f"the pattern doesn't compile: {error}", "mend the expression") from error


@dataclass
class _Scanner:
    """Walks over a pattern once; `repeats` holds the largest repetition inside each open group."""

    pattern: str
    at: int = 0
    repeats: list[int] = field(default_factory=lambda: [1])

    def run(self) -> None:
        atom = 0  # how often the last atom repeats what is inside it; 0: nothing to quantify
        while self.at < len(self.pattern):
            letter = self.pattern[self.at]
            if letter in "*+?{":
                self.quantifier(letter, atom)
                atom = 0
            else:
                atom = self.atom(letter)
        if len(self.repeats) > 1:
            raise PatternError("a group is not closed", "add `)`, or escape the bracket: `\\(`")

    def atom(self, letter: str) -> int:
        self.at += 1
        if letter == "(":
            return self.open_group()
        if letter == ")":
            return self.close_group()
        if letter in "|^$":
            return 0
        if letter == "\\":
            self.escape(in_class=False)
        elif letter == "[":
            self.character_class()
        elif letter in "]}":
            raise self.wrong(f"a bare `{letter}`", f"escape it: `\\{letter}`")
        return 1

    def open_group(self) -> int:
        rest = self.pattern[self.at : self.at + 3]
        if rest.startswith(("?=", "?!", "?<=", "?<!")):
            raise self.wrong("look-around, which Rust's `regex` doesn't have", "say it with several rules")
        if rest.startswith("?:"):
            self.at += 2
        elif rest.startswith("?"):
            raise self.wrong(
                f"`({rest}`, which engines read differently", "use a plain group: `(…)` or `(?:…)`"
            )
        self.repeats.append(1)
        if len(self.repeats) > MAX_DEPTH:
            raise self.wrong(f"groups nested deeper than {MAX_DEPTH}", "write a simpler expression")
        return 0

    def close_group(self) -> int:
        if len(self.repeats) == 1:
            raise self.wrong("a bare `)`", "escape it: `\\)`")
        inner = self.repeats.pop()
        self.repeats[-1] = max(self.repeats[-1], inner)
        return inner

    def quantifier(self, letter: str, atom: int) -> None:
        count = _COUNT.match(self.pattern, self.at) if letter == "{" else None
        if letter == "{" and not count:
            raise self.wrong(
                "a `{` that is no repetition", "write `{2}`, `{2,}` or `{2,5}`, or escape it: `\\{`"
            )
        if not atom:
            raise self.wrong(f"`{letter}` with nothing to repeat", f"escape it: `\\{letter}`")
        if count:
            least, most = int(count[1]), int(count[3] or count[1])
            if most < least:
                raise self.wrong(f"`{count[0]}` counts down", "put the smaller number first")
            if most * atom > MAX_REPEAT:
                raise self.wrong(
                    f"more than {MAX_REPEAT:,} repetitions", "use `minLength` and `maxLength` for the length"
                )
            self.repeats[-1] = max(self.repeats[-1], most * atom)
        self.at += len(count[0]) if count else 1
        if self.pattern.startswith("?", self.at):
            self.at += 1

    def escape(self, *, in_class: bool) -> None:
        """Move past the letters after a backslash."""
        letter = self.pattern[self.at : self.at + 1]
        if _HEX.match(self.pattern, self.at):
            self.at += 3
        elif letter and (letter in _CONTROL or letter in _PUNCTUATION):
            self.at += 1
        elif letter in _CLASS_HINTS and letter:
            hint = "a class of its own" if in_class and letter.isupper() else _CLASS_HINTS[letter]
            raise self.wrong(f"`\\{letter}`, which means other characters in other engines", f"write {hint}")
        elif letter.isdigit():
            raise self.wrong(
                "a backreference, which Rust's `regex` doesn't have", "say it without repeating a group"
            )
        else:
            raise self.wrong(
                f"the escape `\\{letter}`", "write the character itself, or `^` and `$` for the ends"
            )

    def character_class(self) -> None:
        if self.pattern.startswith("^", self.at):
            self.at += 1
        first = self.at
        while (letter := self.pattern[self.at : self.at + 1]) != "]" or self.at == first:
            if not letter:
                raise self.wrong("a `[` that is not closed", "add `]`, or escape it: `\\[`")
            if letter in "[]":
                raise self.wrong(f"a bare `{letter}` in a class", f"escape it: `\\{letter}`")
            if self.pattern[self.at : self.at + 2] in {"&&", "--", "~~", "||"}:
                raise self.wrong(f"`{letter * 2}` in a class", f"escape it: `\\{letter}`")
            self.at += 1
            if letter == "\\":
                self.escape(in_class=True)
        self.at += 1

    def wrong(self, what: str, hint: str) -> PatternError:
        return PatternError(f"{what} at character {min(self.at, len(self.pattern)) + 1}", hint)
