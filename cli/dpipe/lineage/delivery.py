"""Events on their way: appended to a file, or posted to a receiver, for which they wait while it doesn't answer.

Every run's events are first kept in a file of their own, then posted in the order of the runs; a file goes when all of
its events were taken. So an event is delivered at least once, a second time it says the same of the same run.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dpipe import output
from dpipe.errors import ConfigError
from dpipe.folders import make_private, replace_text, write_once

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import requests

    from dpipe.lineage.events import Event
    from dpipe.settings import Project

ENDPOINT = "/api/v1/lineage"
SUFFIX = ".ndjson"
REFUSED = "refused.jsonl"
FAILED = ".failed"
CONNECT_SECONDS, ANSWER_SECONDS = 3, 10
# A receiver that didn't answer isn't asked again before, so that a worker doesn't wait for it in every round.
PAUSE_SECONDS = 60
MOST_WAITING = 10_000
# What says of the event that it will never be taken; anything else may pass.
FINAL = frozenset({400, 413, 422})


class UndeliverableError(Exception):
    """The receiver doesn't take events now."""


@dataclass(frozen=True)
class Delivered:
    """How many events were taken and refused, and how many runs' files wait."""

    taken: int = 0
    refused: int = 0
    waiting: int = 0


def is_wanted(project: Project) -> bool:
    """Whether the settings ask for events."""
    return bool(project.settings.lineage_url or project.settings.lineage_file)


def check(project: Project) -> None:
    """Raise `ConfigError` when events could never be sent."""
    if project.settings.lineage_url:
        _address(project)


def deliver(project: Project, events: Sequence[Event]) -> None:
    """Write and send events. Nothing is raised for a file or a receiver that fails: it is warned of."""
    lines = [json.dumps(event, ensure_ascii=False) for event in events]
    if project.settings.lineage_file is not None:
        _append(project.root / project.settings.lineage_file, lines)
    if project.settings.lineage_url is not None:
        folder = make_private(project.undelivered_lineage)
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        write_once(folder / name, "".join(f"{line}\n" for line in lines).encode())
        _bound(folder)
        _try(project)


def flush(project: Project) -> Delivered:
    """Post what waits, now. Raises `UndeliverableError` when the receiver doesn't take it; the rest then waits on."""
    folder = make_private(project.undelivered_lineage)
    address, session = _address(project), _session(project)
    taken = refused = 0
    with session, _alone(folder) as is_alone:
        # Whoever holds the lock goes on with files that come meanwhile.
        while is_alone and (path := min(folder.glob(f"*{SUFFIX}"), default=None)) is not None:
            of_file = _post_file(session, address, path)
            taken, refused = taken + of_file.taken, refused + of_file.refused
    return Delivered(taken, refused, len(list(folder.glob(f"*{SUFFIX}"))))


def _try(project: Project) -> None:
    """Post what waits, unless that failed just now."""
    folder = project.undelivered_lineage
    mark = folder / FAILED
    if mark.exists() and 0 <= time.time() - mark.stat().st_mtime < PAUSE_SECONDS:
        return
    try:
        found = flush(project)
    except UndeliverableError as error:
        mark.touch()
        waiting = len(list(folder.glob(f"*{SUFFIX}")))
        output.warn(
            f"lineage events of {waiting} run(s) wait in `{folder}` until they can be delivered: {error}"
        )
        return
    mark.unlink(missing_ok=True)
    if found.refused:
        output.warn(f"{found.refused} lineage event(s) were refused, and kept in `{folder / REFUSED}`")


def _post_file(session: requests.Session, address: str, path: Path) -> Delivered:
    """Post a file's events; those that were taken are not posted again when a later one fails."""
    lines = path.read_text(encoding="utf-8").splitlines()
    refused: list[str] = []
    for number, line in enumerate(lines):
        try:
            answer = _post(session, address, line)
        except UndeliverableError:
            _keep(path, lines[number:], refused)
            raise
        if answer is not None:
            refused.append(json.dumps({"answer": answer, "event": json.loads(line)}, ensure_ascii=False))
    _keep(path, [], refused)
    return Delivered(taken=len(lines) - len(refused), refused=len(refused))


def _keep(path: Path, left: Sequence[str], refused: Sequence[str]) -> None:
    if refused:
        _append(path.with_name(REFUSED), refused)
    if not left:
        path.unlink()
        return
    replace_text(path, "".join(f"{line}\n" for line in left))


def _post(session: requests.Session, address: str, line: str) -> str | None:
    """Post an event; what the receiver says when it refuses it for good."""
    import requests

    try:
        answer = session.post(address, data=line.encode(), timeout=(CONNECT_SECONDS, ANSWER_SECONDS))
    except requests.RequestException as error:
        raise UndeliverableError(f"{type(error).__name__} at `{_shown(address)}`") from error
    if answer.ok:
        return None
    said = f"{answer.status_code} {answer.reason}"
    if answer.status_code not in FINAL:
        raise UndeliverableError(f"{said} from `{_shown(address)}`")
    return f"{said}: {answer.text[:500]}".removesuffix(": ")


def _session(project: Project) -> requests.Session:
    import requests

    session = requests.Session()
    session.headers["Content-Type"] = "application/json"
    if project.settings.lineage_api_key is not None:
        session.headers["Authorization"] = f"Bearer {project.settings.lineage_api_key.get_secret_value()}"
    return session


def _address(project: Project) -> str:
    url = project.settings.lineage_url or ""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise ConfigError(
            f"setting `lineage_url`: `{_shown(url)}` is no address of a receiver",
            hint="write `https://host` or `http://host:port`, and a key in `DPIPE_LINEAGE_API_KEY`",
        )
    return url if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}{ENDPOINT}"


def _shown(url: str) -> str:
    """The address without a name, a password or a query in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether no other process is posting; its turn lasts as long as the block."""
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _append(path: Path, lines: Sequence[str]) -> None:
    """Add whole lines in one write, so that those of processes at work beside each other don't mix."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, "".join(f"{line}\n" for line in lines).encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        output.warn(f"lineage events can't be written to `{path}`: {error.strerror}")


def _bound(folder: Path) -> None:
    """Leave no more files than `MOST_WAITING`: the oldest go, which `dpipe runs events` can make again."""
    waiting = sorted(folder.glob(f"*{SUFFIX}"))
    for path in waiting[:-MOST_WAITING]:
        path.unlink(missing_ok=True)
    if len(waiting) > MOST_WAITING:
        output.warn(
            f"more than {MOST_WAITING:,} runs' lineage events wait in `{folder}`: the oldest were dropped"
        )
