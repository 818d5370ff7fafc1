"""Errors that a user meets. Each carries an exit code and says what to do next."""


class DpipeError(Exception):
    """Base of every error that dpipe raises on purpose.

    `exit_code` is what the command ends with: 1 the data broke a contract or a check, 2 usage, configuration or
    an internal fault, 3 an outside system is unavailable and the command may be tried again.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DpipeError):
    """A wrong flag, path or name."""


class ConfigError(DpipeError):
    """`configs/dpipe.yaml`, the environment or a contract says something that can't be carried out."""


class SourceError(DpipeError):
    """A source that was handed over in memory failed while it was read."""


class DataError(DpipeError):
    """The data broke a contract or a check."""

    exit_code = 1


class UnavailableError(DpipeError):
    """An outside system did not answer; trying again may help."""

    exit_code = 3
