"""Trying a commit again when another process was quicker or holds the catalog's lock, or the catalog didn't answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pyiceberg.exceptions import CommitFailedException
from sqlalchemy.exc import OperationalError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from dpipe.errors import UnavailableError
from dpipe.outages import is_momentary

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PATIENCE_SECONDS = 120.0


def with_retries(step: Callable[[], T], table: str) -> T:
    """Run `step` until it isn't beaten to the commit; it must load the table and look for its work each time.

    So a try whose answer was lost does no harm. Raises `UnavailableError` when that takes longer than two minutes.
    """
    retrying = Retrying(
        retry=retry_if_exception(is_transient),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_delay(PATIENCE_SECONDS),
        reraise=True,
    )
    try:
        return retrying(step)
    except Exception as error:
        if not is_transient(error):
            raise
        raise UnavailableError(
            f"the table `{table}` was busy, or its catalog didn't answer, for {PATIENCE_SECONDS:.0f} s: {error}",
            hint="run the command again when it answers and other writers are done; nothing was lost",
        ) from error


def is_transient(error: BaseException) -> bool:
    """Whether the step may be tried again: it was refused, or nobody can tell before the table is looked at."""
    return (
        isinstance(error, CommitFailedException)
        or (isinstance(error, OperationalError) and "database is locked" in str(error))
        or is_momentary(error)
    )
