"""dpipe carries records from submission to dashboard under one data contract.

In a program: `dpipe.process(source, contract)`, `dpipe.Contract`, `dpipe.profile(source)`; see `docs/python.md`.
"""

__version__ = "0.1.0"

__all__ = [
    "Check",
    "ColumnProfile",
    "ConfigError",
    "Contract",
    "DpipeError",
    "Frequency",
    "Lengths",
    "Profile",
    "Result",
    "SourceError",
    "UsageError",
    "Violation",
    "__version__",
    "process",
    "profile",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dpipe.contract import Contract
    from dpipe.errors import ConfigError, DpipeError, SourceError, UsageError
    from dpipe.library import (
        Check,
        ColumnProfile,
        Frequency,
        Lengths,
        Profile,
        Result,
        Violation,
        process,
        profile,
    )
else:

    def __getattr__(name: str) -> object:
        """Import what a program asks for when it does; the command line never does."""
        if name not in __all__:
            raise AttributeError(f"module `dpipe` has no attribute `{name}`")
        from importlib import import_module

        home = "dpipe.errors" if name.endswith("Error") else "dpipe.library"
        value = globals()[name] = getattr(import_module(home), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
