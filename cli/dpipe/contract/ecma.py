"""A contract's patterns as ECMA-262 reads them with the flag `u`, which JSON Schema asks for.

What `patterns.check` takes means the same there but for two things. `.` is every character but the line feed, while
ECMA-262 leaves out three more line ends. And with `u` only syntax may be escaped, so `\\!` is no expression.
"""

from __future__ import annotations

from dpipe.contract import patterns

_SYNTAX = set("^$\\.*+?()[]{}|/")
_CONTROL = set("fnrtv")


def to_ecma(pattern: str) -> str:
    """The pattern for ECMA-262; `PatternError` when it is none that every engine reads alike."""
    patterns.check(pattern)
    parts: list[str] = []
    in_class = False
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "\\":
            letter = pattern[at]
            at += 1
            parts.append(_escaped(letter, in_class=in_class))
        elif letter == "." and not in_class:
            parts.append(r"[^\n]")
        else:
            # A class holds no bare bracket, as the check has seen.
            in_class = letter == "[" or (in_class and letter != "]")
            parts.append(letter)
    return "".join(parts)


def _escaped(letter: str, *, in_class: bool) -> str:
    if letter in _SYNTAX or letter in _CONTROL or letter == "x" or (in_class and letter == "-"):
        return f"\\{letter}"
    # Bare in a class, two of them could be an operator: `&&`.
    return f"\\x{ord(letter):02x}" if in_class else letter
