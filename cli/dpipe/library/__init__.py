"""dpipe in a program: one source under one contract, in memory, with no project (`docs/python.md`)."""

from dpipe.contract import Contract
from dpipe.library.processing import process
from dpipe.library.profiling import profile
from dpipe.library.result import Check, ColumnProfile, Frequency, Lengths, Profile, Result, Violation

__all__ = [
    "Check",
    "ColumnProfile",
    "Contract",
    "Frequency",
    "Lengths",
    "Profile",
    "Result",
    "Violation",
    "process",
    "profile",
]
