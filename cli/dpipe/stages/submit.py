"""Submit: files to the API of another machine, which needs no project here."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_base, wait_random_exponential

from dpipe import output
from dpipe.contract.columns import NAME
from dpipe.errors import UnavailableError, UsageError
from dpipe.stages.ingest import check

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from io import BufferedReader
    from pathlib import Path

KEY_VARIABLE = "DPIPE_API_KEY"
TYPES = {
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/jsonl",
    ".json": "application/json",
    ".csv": "text/csv",
    ".zip": "application/zip",
    ".parquet": "application/vnd.apache.parquet",
}
ENCODINGS = {".gz": "gzip", ".zst": "zstd"}
UNAUTHORIZED, FORBIDDEN, TOO_MANY = 401, 403, 429
LATER = frozenset({TOO_MANY, 502, 503, 504})
TRIES = 8
CONNECT_SECONDS, ANSWER_SECONDS = 10, 120
LONGEST_PAUSE_SECONDS = 60.0
# A server that says to come again later than that has no room today: it isn't waited for.
LONGEST_WAIT_SECONDS = 600.0


@dataclass(frozen=True)
class Submitted:
    """A file and the job that it became; `already` when it was one before, `job` as the API tells of it."""

    file: str
    already: bool
    job: dict[str, Any]


class LaterError(Exception):
    """The server can't take it now; `seconds` is when it says to come again, if it does."""

    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclass(frozen=True)
class Api:
    """An API, by its address and a key for it. Raises `UsageError` for an address that is none, or without a key."""

    url: str
    key: str | None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
            raise UsageError(
                f"`{self.url}` is no address of an API", hint="write `https://host` or `http://host:port`"
            )
        if not self.key:
            raise UsageError(
                "there is no key for the API", hint=f"give it in the environment: `{KEY_VARIABLE}=dpk_…`"
            )
        if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
            output.warn(f"key and records go to {parts.hostname} in plain text")

    def session(self) -> requests.Session:
        """A session for one thread."""
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {self.key}"
        return session


def submit(
    api: Api, dataset: str, paths: Sequence[Path], *, parallel: int, wait: float = 0
) -> list[Submitted]:
    """Send files as batches of a dataset, some at a time; a file that was sent before is not sent again.

    Each has its SHA-256 as `Idempotency-Key`, so that a command that broke off can be given again. With `wait` each
    answer waits so many seconds for what becomes of it. All paths are looked at before the first is sent. Raises
    `UsageError` for a path that can't be a batch and what the API refuses, `UnavailableError` when it doesn't answer.
    """
    if not NAME.fullmatch(dataset):
        raise UsageError(f"`{dataset}` is no dataset's name", hint="use a-z, 0-9 and `_`")
    for path in paths:
        check(dataset, path)
    total = sum(path.stat().st_size for path in paths)
    with (
        output.progress(f"submit {dataset}", total_bytes=total) as on_progress,
        ThreadPoolExecutor(parallel) as pool,
    ):
        sender = _Sender(api, dataset, wait, _Meter(on_progress))
        futures = [pool.submit(sender.send, path) for path in paths]
        try:
            return [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)


class _Meter:
    """Bytes that are sent, over all files."""

    def __init__(self, on_progress: Callable[[int, int], None]) -> None:
        self._on_progress = on_progress
        self._sent = 0
        self._lock = Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._sent += count
            self._on_progress(0, self._sent)


class _Metered:
    """A file that tells how much of it was read, of the length that it has at the beginning."""

    def __init__(self, file: BufferedReader, size: int, meter: _Meter) -> None:
        self._file, self._size, self._meter = file, size, meter
        self._read = 0

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._read += len(piece)
        self._meter.add(len(piece))
        return piece

    def take_back(self) -> None:
        """It is going to be sent once more."""
        self._meter.add(-self._read)


class _Pause(wait_base):
    """As long as the server says, else longer each time."""

    def __init__(self) -> None:
        self._grows = wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE_SECONDS)

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        if isinstance(error, LaterError) and error.seconds is not None:
            return min(error.seconds, LONGEST_PAUSE_SECONDS)
        return self._grows(retry_state)


@dataclass
class _Sender:
    """Sends files of one dataset."""

    api: Api
    dataset: str
    wait: float
    meter: _Meter

    def send(self, path: Path) -> Submitted:
        """Send a file unless it was sent before, with patience."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        retrying = Retrying(
            retry=retry_if_exception_type(LaterError),
            wait=_Pause(),
            stop=stop_after_attempt(TRIES),
            before_sleep=self._say,
            reraise=True,
        )
        with self.api.session() as session:
            try:
                found = retrying(self._known, session, digest)
                if found is not None:
                    self.meter.add(path.stat().st_size)
                    return Submitted(str(path), True, found)
                return Submitted(str(path), False, retrying(self._post, session, path, digest))
            except LaterError as error:
                raise UnavailableError(
                    f"`{self.api.url}` didn't take `{path}` in {TRIES} tries: {error}",
                    hint="give the command again later: what was sent is not sent again",
                ) from error

    def _say(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        output.note(f"`{self.api.url}` can't take files now, and is asked again: {error}")

    def _known(self, session: requests.Session, digest: str) -> dict[str, Any] | None:
        """The job that the file is already, if it is one."""
        named = {"dataset": self.dataset, "idempotency_key": digest}
        answer = _asked(lambda: session.get(f"{self.api.url}/v1/jobs", params=named, timeout=CONNECT_SECONDS))
        jobs: list[dict[str, Any]] = answer["jobs"]
        return jobs[0] if jobs else None

    def _post(self, session: requests.Session, path: Path, digest: str) -> dict[str, Any]:
        content_type, encoding = _media(path)
        headers = {"Content-Type": content_type, "Idempotency-Key": digest}
        if encoding:
            headers["Content-Encoding"] = encoding
        with path.open("rb") as file:
            body = _Metered(file, path.stat().st_size, self.meter)
            try:
                return _asked(
                    lambda: session.post(
                        f"{self.api.url}/v1/datasets/{self.dataset}/batches",
                        params={"wait": self.wait} if self.wait else {},
                        data=body,
                        headers=headers,
                        timeout=(CONNECT_SECONDS, ANSWER_SECONDS + self.wait),
                    )
                )
            except LaterError:
                body.take_back()
                raise


def _media(path: Path) -> tuple[str, str | None]:
    """`Content-Type` and `Content-Encoding` by the file's name; what is unknown, the server looks at."""
    name = path.name.lower()
    suffix = next((one for one in ENCODINGS if name.endswith(one)), "")
    plain = name.removesuffix(suffix)
    found = next((kind for one, kind in TYPES.items() if plain.endswith(one)), None)
    if found is None:
        return "application/octet-stream", None
    return found, ENCODINGS.get(suffix)


def _asked(request: Callable[[], requests.Response]) -> dict[str, Any]:
    """The answer's document. Raises `LaterError` for what may be asked again, `UsageError` for what the API refuses."""
    try:
        answer = request()
    except (requests.ConnectionError, requests.Timeout) as error:
        raise LaterError(str(error)) from error
    try:
        document: dict[str, Any] = answer.json()
    except ValueError:
        document = {}
    if answer.status_code in LATER:
        after = answer.headers.get("Retry-After", "")
        seconds = float(after) if after.isdigit() else None
        if seconds is not None and seconds > LONGEST_WAIT_SECONDS:
            raise UnavailableError(
                f"the API takes no more now: {document.get('detail') or answer.reason}",
                hint=f"give the command again in {timedelta(seconds=seconds)} h: what was sent is not sent again",
            )
        raise LaterError(f"{answer.status_code} {answer.reason}", seconds)
    if answer.ok and document:
        return document
    hint = document.get("hint")
    if answer.status_code in {UNAUTHORIZED, FORBIDDEN}:
        hint = f"check the key in `{KEY_VARIABLE}`: `dpipe keys list` on the server shows what it may do"
    raise UsageError(
        f"the API refuses: {document.get('detail') or f'{answer.status_code} {answer.reason}'}",
        hint=hint or "check the address, the dataset and the file",
    )
