"""Objects in S3, or what speaks like it: endpoint, region and credentials by the usual chain of AWS.

That is `AWS_ENDPOINT_URL_S3`, `AWS_REGION`, `AWS_ACCESS_KEY_ID` and their sisters, the profile of `~/.aws`, or the
machine's role.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from dpipe.errors import ConfigError, UnavailableError
from dpipe.meter import METER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

T = TypeVar("T")

SCHEME = "s3://"
OF_AWS = re.compile(r"s3([.-][a-z0-9-]+)?\.amazonaws\.com(\.cn)?")
ROLES = frozenset({"iam-role", "container-role", "assume-role-with-web-identity"})
MOST_DELETED = 1000
MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
THERE_ALREADY = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
TRIES = 10


@dataclass(frozen=True)
class Access:
    """What a client of its own needs: `endpoint` is None for AWS itself, keys are None where there are none."""

    endpoint: str | None
    region: str
    access_key_id: str | None
    secret_access_key: str | None
    session_token: str | None
    of_role: bool
    """Whether they are the machine's role's, which it gets anew before they end."""

    def __repr__(self) -> str:
        return f"Access(endpoint={self.endpoint!r}, region={self.region!r})"


class Location:
    """A place in a bucket, under which objects have names: `s3://bucket/some/prefix`."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        if f"{parts.scheme}://" != SCHEME or not parts.netloc or parts.query or parts.fragment:
            raise ConfigError(
                f"`{uri}` is no place in S3", hint="write `s3://bucket` or `s3://bucket/prefix`"
            )
        self.bucket = parts.netloc
        self._prefix = parts.path.strip("/")

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self._prefix}".rstrip("/")

    def key(self, name: str) -> str:
        """The key of the object with this name."""
        return f"{self._prefix}/{name}" if self._prefix else name

    def put_once(self, name: str, content: bytes) -> bool:
        """Make an object, durably, unless there is one; whether it was made.

        An answer that is lost and asked for again says no although it was: compare what is there.
        """
        for attempt in range(TRIES):
            time.sleep(attempt / 10)
            made = self._asked(
                lambda: client().put_object(
                    Bucket=self.bucket, Key=self.key(name), Body=content, IfNoneMatch="*"
                ),
                unless=THERE_ALREADY,
            )
            if made is not None:
                return True
            # Where it isn't, another request for it was under way and hasn't come to an end.
            if self.size(name) is not None:
                return False
        raise UnavailableError(
            f"`{self}/{name}` can't be made: other requests for it don't come to an end",
            hint="try again later",
        )

    def upload(self, path: Path, name: str) -> None:
        """Make an object of a file, in parts when it is large; an object that is there is replaced."""
        self._asked(lambda: client().upload_file(str(path), self.bucket, self.key(name)))

    def read(self, name: str) -> bytes | None:
        """An object's content, None when there is none."""
        return self._asked(
            lambda: bytes(client().get_object(Bucket=self.bucket, Key=self.key(name))["Body"].read()),
            unless=MISSING,
        )

    def read_part(self, name: str, first: int, size: int) -> bytes | None:
        """So many bytes of an object from `first` on, or so many of its end if that is negative; None without one.

        Where it has less, as many as there are.
        """
        wanted = f"bytes=-{size}" if first < 0 else f"bytes={first}-{first + size - 1}"
        return self._asked(
            lambda: bytes(
                client().get_object(Bucket=self.bucket, Key=self.key(name), Range=wanted)["Body"].read()
            ),
            unless=MISSING,
        )

    def size(self, name: str) -> int | None:
        """An object's bytes, None when there is none."""
        return self._asked(
            lambda: int(client().head_object(Bucket=self.bucket, Key=self.key(name))["ContentLength"]),
            unless=MISSING,
        )

    def download(self, name: str, path: Path) -> bool:
        """Copy an object's content into a file; whether there was one."""
        with path.open("wb") as file:
            done = self._asked(
                lambda: client().download_fileobj(self.bucket, self.key(name), file) or True, unless=MISSING
            )
        return done is not None

    def names(self, prefix: str = "") -> list[str]:
        """Names of the objects that begin so."""
        own = len(self.key(""))

        def listed() -> list[str]:
            pages = client().get_paginator("list_objects_v2")
            found = pages.paginate(Bucket=self.bucket, Prefix=self.key(prefix))
            return [one["Key"][own:] for page in found for one in page.get("Contents", ())]

        return self._asked(listed) or []

    def _asked(self, step: Callable[[], T], unless: frozenset[str] = frozenset()) -> T | None:
        return asked(str(self), step, unless)


def delete(uris: Sequence[str]) -> None:
    """Delete objects by their URIs; one that is gone already is fine."""
    by_bucket: dict[str, list[str]] = {}
    for uri in uris:
        bucket, _, key = uri.removeprefix(SCHEME).partition("/")
        by_bucket.setdefault(bucket, []).append(key)
    for bucket, keys in by_bucket.items():
        for first in range(0, len(keys), MOST_DELETED):
            _delete(bucket, keys[first : first + MOST_DELETED])


def _delete(bucket: str, keys: Sequence[str]) -> None:
    wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
    answer = asked(f"{SCHEME}{bucket}", lambda: client().delete_objects(Bucket=bucket, Delete=wanted))
    for error in (answer or {}).get("Errors", ()):
        raise UnavailableError(
            f"`{SCHEME}{bucket}/{error['Key']}` can't be deleted: {error['Code']}",
            hint="check that the credentials may delete there, then run the command again",
        )


def asked(what: str, step: Callable[[], T], unless: frozenset[str] = frozenset()) -> T | None:
    """What S3 answers, None for a refusal with one of these codes. Raises `UnavailableError` for any other."""
    client()
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return step()
    except (Boto3Error, BotoCoreError, ClientError) as error:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] in unless:
            return None
        raise UnavailableError(
            f"`{what}` can't be used: {error}",
            hint="check that the bucket is there, and endpoint, region and credentials (`AWS_ENDPOINT_URL_S3`, "
            "`AWS_REGION`, `AWS_ACCESS_KEY_ID` …)",
        ) from error


@cache
def client() -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    """The client of this process, safe for threads. Raises `ConfigError` without the extra `aws`."""
    # boto3 itself looks at `AWS_DEFAULT_REGION` only, others of AWS's libraries at this one.
    made = client_of("s3", attempts=5, region=os.environ.get("AWS_REGION"))
    made.meta.events.register("before-send.s3", _count)
    return made


def _count(event_name: str, request: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
    """Count a request, and each repetition of it, by what AWS charges for it; deletions are free."""
    operation = event_name.rpartition(".")[2]
    if not operation.startswith("Delete"):
        is_read = request.method in {"GET", "HEAD"} and not operation.startswith("List")
        METER.request("read" if is_read else "write")


def client_of(service: str, *, attempts: int, region: str | None = None, **config: Any) -> Any:  # noqa: ANN401
    """A client of a service of AWS that asks so many times; `config` is botocore's.

    Raises `ConfigError` without the extra `aws`.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise ConfigError("AWS needs a library that isn't installed", hint="install `dpipe[aws]`") from error
    try:
        return boto3.client(
            service,
            region_name=region,
            config=Config(retries={"total_max_attempts": attempts, "mode": "standard"}, **config),
        )
    except BotoCoreError as error:
        raise ConfigError(
            f"AWS's settings can't be used: {error}", hint="check `AWS_REGION`, `AWS_PROFILE` and `~/.aws`"
        ) from error


def access() -> Access:
    """What the chain gives, for libraries that have clients of their own."""
    own = client()
    endpoint = own.meta.endpoint_url
    credentials = own._request_signer._credentials  # noqa: SLF001 - the client's, whatever they came from
    frozen = credentials.get_frozen_credentials() if credentials else None
    return Access(
        endpoint=None if OF_AWS.fullmatch(urlsplit(endpoint).hostname or "") else endpoint,
        region=own.meta.region_name or "us-east-1",
        access_key_id=frozen.access_key if frozen else None,
        secret_access_key=frozen.secret_key if frozen else None,
        session_token=frozen.token if frozen else None,
        of_role=credentials is not None and credentials.method in ROLES,
    )
