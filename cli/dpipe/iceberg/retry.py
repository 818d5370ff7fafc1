"""Trying a commit again when another process was quicker or holds the catalog's lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pyiceberg.exceptions import CommitFailedException
from sqlalchemy.exc import OperationalError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from dpipe.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PATIENCE_SECONDS = 120.0


def with_retries(step: Callable[[], T], table: str) -> T:
    """Run `step` until it isn't beaten to the commit; it must load the table and look for its work each time.

    Raises `UnavailableError` when that takes longer than two minutes.
    """
    retrying = Retrying(
        retry=retry_if_exception(is_transient),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_delay(PATIENCE_SECONDS),
        reraise=True,
    )
    try:
        return retrying(step)
    except (CommitFailedException, OperationalError) as error:
        if not is_transient(error):
            raise
        raise UnavailableError(
            f"the table `{table}` was busy for {PATIENCE_SECONDS:.0f} s: {error}",
            hint="run the command again when the other writers are done; nothing was lost",
        ) from error


def is_transient(error: BaseException) -> bool:
    """Whether the commit certainly did not happen and may be tried again."""
    return isinstance(error, CommitFailedException) or (
        isinstance(error, OperationalError) and "database is locked" in str(error)
    )
