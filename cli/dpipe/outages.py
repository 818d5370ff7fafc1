"""Telling an outside system that doesn't answer, or not as it should, from a fault of our own."""

from __future__ import annotations

import random

from dpipe.errors import DpipeError, UnavailableError

# By module and name, since these libraries are imported where they are used only.
NETWORK = ("requests.exceptions", "urllib3.exceptions")
SERVER_ERROR = 500
THROTTLING = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded", "SlowDown"})
OF_CATALOGS = frozenset(
    {
        "AuthorizationExpiredError",
        "BadRequestError",
        "CommitStateUnknownException",
        "ForbiddenError",
        "OAuthError",
        "RESTError",
        "ServerError",
        "ServiceUnavailableError",
        "UnauthorizedError",
    }
)
MOMENTARY = frozenset({"CommitStateUnknownException", "ServerError", "ServiceUnavailableError"})
# pyarrow and DuckDB say what they got from S3 in words.
OF_STORAGE = (
    "AWS Error",
    "HTTP Error",
    "HTTP GET error",
    "HTTP HEAD error",
    "Could not establish connection",
)


def is_momentary(error: BaseException) -> bool:
    """Whether a catalog or the way to it failed, and may answer when it is asked again."""
    if _is_of_aws(error):
        answer = getattr(error, "response", {})
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        return status >= SERVER_ERROR or answer.get("Error", {}).get("Code") in THROTTLING
    kind = type(error)
    # A wrong URL is a ValueError, too.
    of_network = kind.__module__.startswith(NETWORK) and not isinstance(error, ValueError)
    return of_network or (kind.__module__ == "pyiceberg.exceptions" and kind.__name__ in MOMENTARY)


def pause(failures: int, first: float, most: float) -> float:
    """Seconds until something is tried again that failed so many times before in a row.

    Each failure doubles them, from `first` to `most`; they are jittered, so that those who failed together don't come
    back together.
    """
    return min(most, first * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1)  # noqa: S311


def _is_of_aws(error: BaseException) -> bool:
    """Exceptions of a service are classes that botocore makes as it goes, below its own."""
    return any(kind.__module__.startswith("botocore.") for kind in type(error).__mro__)


def told(error: Exception) -> DpipeError:
    """What to tell of any error: itself, an outside system's, or a fault of our own."""
    if isinstance(error, DpipeError):
        return error
    return unavailable(error) or DpipeError(
        f"internal error: {type(error).__name__}: {error}",
        hint="run it again with `dpipe -v …` for the traceback, and please report it",
    )


def unavailable(error: BaseException) -> UnavailableError | None:
    """What to tell of an error that comes from outside; None when it doesn't."""
    kind = type(error)
    said = f"{kind.__name__}: {error}"
    if is_momentary(error) or any(words in str(error) for words in OF_STORAGE):
        return UnavailableError(
            f"an outside system did not answer: {said}",
            hint="check the network, `catalog_uri` and `AWS_ENDPOINT_URL_S3`, then run it again; nothing was lost",
        )
    refused = kind.__module__ == "pyiceberg.exceptions" and kind.__name__ in OF_CATALOGS
    if refused or _is_of_aws(error) or kind.__module__.startswith(NETWORK):
        return UnavailableError(
            f"the catalog or its storage refuses: {said}",
            hint="check `catalog_uri`, `warehouse` and the credentials (`DPIPE_CATALOG_CREDENTIAL`, AWS's chain)",
        )
    return None
