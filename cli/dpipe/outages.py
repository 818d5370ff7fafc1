"""Telling an outside system that doesn't answer, or not as it should, from a fault of our own."""

from __future__ import annotations

from dpipe.errors import UnavailableError

# By module and name, since these libraries are imported where they are used only.
NETWORK = ("requests.exceptions", "urllib3.exceptions", "botocore.exceptions")
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
    kind = type(error)
    return kind.__module__.startswith(NETWORK) or (
        kind.__module__ == "pyiceberg.exceptions" and kind.__name__ in MOMENTARY
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
    if kind.__module__ == "pyiceberg.exceptions" and kind.__name__ in OF_CATALOGS:
        return UnavailableError(
            f"the Iceberg catalog refuses: {said}",
            hint="check `catalog_uri`, `warehouse` and `DPIPE_CATALOG_CREDENTIAL` or `DPIPE_CATALOG_TOKEN`",
        )
    return None
