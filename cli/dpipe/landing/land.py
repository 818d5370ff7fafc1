"""Putting a batch into landing: all of it or nothing, once."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from dpipe import failpoints
from dpipe.errors import DpipeError, UsageError
from dpipe.folders import make_private, sweep, sync_folder, temporary_folder, write_durably
from dpipe.landing import remote
from dpipe.landing.disk import TEMPORARY_PREFIX, writing
from dpipe.landing.manifest import MANIFEST_NAME, Manifest, Position
from dpipe.landing.store import landed, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from io import RawIOBase
    from pathlib import Path

    from dpipe.s3 import Location
    from dpipe.settings import Project

    Claim = Callable[[Manifest, Path], object]

BLOCK_BYTES = 8 << 20
LONGEST_NAME = 120


def _unclaimed(_manifest: Manifest, _path: Path) -> None:
    """Nobody wants to know what is about to land."""


class OtherBytesError(UsageError):
    """A batch has landed under the same id with other bytes."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(
            f"`{manifest.batch_id}` of `{manifest.dataset}` has landed with other bytes",
            hint="a batch never changes; submit these bytes under an id of their own",
        )


@dataclass(frozen=True)
class Landed:
    """A batch in landing; `already` when it had landed before."""

    manifest: Manifest
    already: bool


def land_file(
    project: Project, dataset: str, path: Path, on_bytes: Callable[[int], None] | None = None
) -> Landed:
    """Copy a file into landing under the identity (dataset, SHA-256 of its bytes).

    `on_bytes` gets the number of bytes copied so far. Raises `UsageError` for what can't be a batch (missing,
    a folder, unreadable, empty) and `DpipeError` when landing can't be written; then nothing of the batch is
    left.
    """
    if path.is_dir():
        raise UsageError(
            f"`{path}` is a folder", hint=f"name its files, e.g. `dpipe ingest {dataset} {path}/*`"
        )
    try:
        source = path.open("rb")
    except OSError as error:
        raise UsageError(
            f"`{path}` can't be read: {error.strerror}", hint="check the path and the file's permissions"
        ) from error
    with source:
        draft = _draft(dataset, "file", path.name, str(path.resolve()))
        return _land(project, draft, _read(source.read, path), on_bytes)


def submission(
    dataset: str,
    *,
    name: str,
    job_id: str,
    source: str = "api",
    format: str | None = None,  # noqa: A002 - the manifest's word
    compression: str | None = None,
) -> Manifest:
    """What is known of a submission before its bytes; its identity is its job's, 32 hex digits, a UUID."""
    return Manifest(
        batch_id=f"job-{job_id}",
        dataset=dataset,
        kind="job",
        name=sanitised(name),
        bytes=0,
        sha256="",
        received_at=_now(),
        source=source,
        format=format,
        compression=compression,
    )


def with_payload(draft: Manifest, payload: bytes) -> Manifest:
    """The manifest of a batch with these bytes, which is to land in a segment. Raises `UsageError` without any."""
    return _complete(draft, hashlib.sha256(payload).hexdigest(), len(payload))


def land_stream(
    project: Project,
    draft: Manifest,
    chunks: Iterable[bytes],
    *,
    claim: Claim = _unclaimed,
) -> Landed:
    """Land a submission; the same job lands once.

    `claim` gets the manifest and a file with the bytes when all are there and nothing has landed. An exception from it
    or from `chunks` goes on to the caller and leaves nothing behind. Raises `UsageError` for an empty body.
    """
    return _land(project, draft, chunks, claim=claim)


def land_replay(
    project: Project,
    dataset: str,
    payload: bytes,
    *,
    origin: str,
    record_nos: tuple[int, ...],
    format: str,  # noqa: A002 - the manifest's word
    identity: str,
) -> Landed:
    """Land records out of the quarantine: the same ones land once under an `identity`.

    `record_nos` are their numbers in the batch `origin`, in the order of the payload.
    """
    content = [dataset, origin, list(record_nos), identity, hashlib.sha256(payload).hexdigest()]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    draft = _draft(dataset, "replay", f"records.{format}", f"quarantine of {origin}")
    draft = replace(draft, batch_id=f"replay-{digest[:32]}", origin=origin, record_nos=record_nos)
    return _land(project, replace(draft, format=format, compression="none"), [payload])


def land_records(
    project: Project, dataset: str, payload: Iterable[bytes], position: Position, *, source: str
) -> Landed:
    """Land records of a stream's shard, one a line, under the identity of the first one's place there.

    Whoever comes second, with as many records or not, gets the batch that has landed: its position says where the
    next one begins.
    """
    draft = _draft(dataset, "stream", "records.ndjson", source)
    batch_id = stream_batch_id(position.stream, position.shard, position.first)
    draft = replace(draft, batch_id=batch_id, position=position, format="ndjson", compression="none")
    try:
        return _land(project, draft, payload)
    except OtherBytesError:
        there = landed(project, dataset, batch_id)
        if there is None:
            raise
        return Landed(there, already=True)


def stream_batch_id(stream: str, shard: str, first: str) -> str:
    """The id of the batch that begins with the record of this sequence number."""
    digest = hashlib.sha256(json.dumps([stream, shard, first]).encode()).hexdigest()
    return f"stream-{digest[:32]}"


def _read(read: Callable[[int], bytes], path: Path) -> Iterator[bytes]:
    try:
        while block := read(BLOCK_BYTES):
            yield block
    except OSError as error:
        raise DpipeError(
            f"`{path}` can't be read to its end: {error.strerror}", hint="check the disk that it is on"
        ) from error


def _draft(
    dataset: str, kind: Literal["file", "job", "replay", "stream"], name: str, source: str
) -> Manifest:
    """A manifest without what only the bytes can tell."""
    return Manifest("", dataset, kind, sanitised(name), 0, "", _now(), source)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _land(
    project: Project,
    draft: Manifest,
    blocks: Iterable[bytes],
    on_bytes: Callable[[int], None] | None = None,
    claim: Claim = _unclaimed,
) -> Landed:
    """Land a batch in a folder or in S3; files are named by their hash."""
    if project.landing_bucket is not None:
        return _land_remotely(project, project.landing_bucket, draft, blocks, on_bytes, claim)
    return _land_here(project, draft, blocks, on_bytes, claim)


def _land_remotely(
    project: Project,
    bucket: Location,
    draft: Manifest,
    blocks: Iterable[bytes],
    on_bytes: Callable[[int], None] | None,
    claim: Claim,
) -> Landed:
    """Hold the batch on this machine's disk until its bytes are known, then put it there."""
    with temporary_folder(project.spool) as folder:
        path = folder / draft.name
        with writing(draft.name, folder):
            target = path.open("xb", buffering=0)
        with target:
            sha256, size = _copy(blocks, target, on_bytes, lambda: writing(draft.name, folder))
        manifest = _complete(draft, sha256, size)
        claim(manifest, path)
        failpoints.reach("after-landing-copy")
        if remote.publish(bucket, path, manifest):
            return Landed(manifest, already=False)
    return _there(project, manifest)


def _land_here(
    project: Project,
    draft: Manifest,
    blocks: Iterable[bytes],
    on_bytes: Callable[[int], None] | None,
    claim: Claim,
) -> Landed:
    """Build the batch in a hidden folder beside its place, then rename that."""
    folder = make_private(project.landing / draft.dataset)
    sweep(folder, TEMPORARY_PREFIX)
    temporary = folder / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        with writing(draft.name, folder):
            temporary.mkdir(mode=0o700)
            target = (temporary / draft.name).open("xb", buffering=0)
        with target:
            sha256, size = _copy(blocks, target, on_bytes, lambda: writing(draft.name, folder))
        manifest = _complete(draft, sha256, size)
        claim(manifest, temporary / draft.name)
        with writing(draft.name, folder):
            write_durably(temporary / MANIFEST_NAME, manifest.to_json().encode())
            sync_folder(temporary)
            failpoints.reach("after-landing-copy")
            return _publish(project, temporary, manifest)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _complete(draft: Manifest, sha256: str, size: int) -> Manifest:
    """The manifest with what the bytes tell. Raises `UsageError` when there are none."""
    if size == 0:
        raise UsageError(
            f"`{draft.name}` is empty", hint="a batch needs at least one byte; leave the file out"
        )
    batch_id = draft.batch_id or f"file-{sha256[:32]}"
    return draft.changed(batch_id=batch_id, bytes=size, sha256=sha256)


def _there(project: Project, manifest: Manifest) -> Landed:
    """The batch that has landed under the manifest's id already. Raises `UsageError` when it has other bytes."""
    there = read_manifest(project, manifest.dataset, manifest.batch_id)
    if there.sha256 != manifest.sha256:
        raise OtherBytesError(manifest)
    return Landed(there, already=True)


def _copy(
    blocks: Iterable[bytes],
    target: RawIOBase,
    on_bytes: Callable[[int], None] | None,
    writing: Callable[[], AbstractContextManager[None]],
) -> tuple[str, int]:
    """Write the blocks durably and return their SHA-256 (hex) and number of bytes."""
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        view = memoryview(block)
        with writing():
            while view:
                view = view[target.write(view) or 0 :]
        size += len(block)
        if on_bytes is not None:
            on_bytes(size)
    with writing():
        os.fsync(target.fileno())
    return digest.hexdigest(), size


def _publish(project: Project, temporary: Path, manifest: Manifest) -> Landed:
    """Give the finished folder its name in one step; a batch that is there already stays as it is."""
    final = temporary.parent / manifest.batch_id
    try:
        temporary.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        there = _there(project, manifest)
        # Whoever renamed it may have died before it made the name durable.
        sync_folder(temporary.parent)
        return there
    sync_folder(temporary.parent)
    return Landed(manifest, already=False)


@lru_cache
def sanitised(name: str) -> str:
    """A plain file name of letters, digits, `.`, `_` and `-`: not hidden, its last 120 characters at most."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[-LONGEST_NAME:].lstrip(".-")
    return f"payload-{plain}" if plain in ("", MANIFEST_NAME) else plain
