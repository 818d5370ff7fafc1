"""Segments: many small batches in one file, `<dataset>/segment-<32 hex digits>`, in a folder or in S3.

The batches' bytes come first, back to back, then their manifests as JSON, then that index's length and a mark. A
segment is written under a hidden name and renamed, so that whoever sees it sees all of it, and it never changes. It
takes two syncs for however many batches; a batch with a folder of its own takes five.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from dpipe import failpoints
from dpipe.errors import DpipeError
from dpipe.folders import make_private, sweep, sync_folder, write_durably
from dpipe.landing.disk import TEMPORARY_PREFIX, writing
from dpipe.landing.manifest import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dpipe.landing.manifest import Manifest
    from dpipe.s3 import Location
    from dpipe.settings import Project

SEGMENT = re.compile(r"segment-[0-9a-f]{32}")
TRAILER = struct.Struct("<Q8s")
MARK = b"dpipeseg"
JOB_ID = re.compile(r"job-[0-9a-f]{32}")
PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
FORMATS = frozenset({None, "ndjson", "json", "csv", "parquet"})
COMPRESSIONS = frozenset({None, "none", "gzip", "zstd", "zip"})
# A look into a bucket brings so much of an object's end; most indexes are shorter.
TAIL_BYTES = 256 << 10
INDEXES_HELD = 64


@dataclass(frozen=True)
class Segment:
    """Batches of one dataset in one file, whose name it carries itself; their manifests say where they are in it."""

    name: str
    dataset: str
    content: bytes
    manifests: tuple[Manifest, ...]


def packed(batches: Sequence[tuple[Manifest, bytes]]) -> Segment:
    """A new segment of batches of one dataset."""
    name, offset, placed = f"segment-{uuid.uuid4().hex}", 0, []
    for manifest, payload in batches:
        placed.append(manifest.changed(segment=name, offset=offset))
        offset += len(payload)
    index = json.dumps([manifest.document() for manifest in placed]).encode()
    content = b"".join([*(payload for _, payload in batches), index, TRAILER.pack(len(index), MARK)])
    return Segment(name, placed[0].dataset, content, tuple(placed))


def unpacked(content: bytes, dataset: str) -> Segment | None:
    """The segment of submissions to the dataset that these bytes are, down to each one's hash; None when they are none.

    They may come from anybody.
    """
    if not content.endswith(MARK):
        return None
    try:
        documents, end = _read_index(content)
        found = [parse(one) for one in documents]
        name = found[0].segment if found else None
        offset = 0
        for one in found:
            payload = content[offset : offset + one.bytes]
            if (one.dataset, one.segment, one.offset) != (dataset, name, offset) or not _is_submission(one):
                return None
            if hashlib.sha256(payload).hexdigest() != one.sha256:
                return None
            offset += one.bytes
    except (ValueError, TypeError, KeyError, RecursionError, struct.error):
        return None
    ids = {one.batch_id for one in found}
    if not isinstance(name, str) or not SEGMENT.fullmatch(name) or offset != end or len(ids) != len(found):
        return None
    return Segment(name, dataset, content, tuple(found))


def _is_submission(manifest: Manifest) -> bool:
    """Whether a manifest says what one of the API does, and nothing that would surprise whoever reads it."""
    return (
        JOB_ID.fullmatch(manifest.batch_id) is not None
        and manifest.kind == "job"
        and manifest.bytes > 0
        and PLAIN_NAME.fullmatch(manifest.name) is not None
        and manifest.format in FORMATS
        and manifest.compression in COMPRESSIONS
        and datetime.fromisoformat(manifest.received_at).tzinfo is not None
    )


def land_packed(project: Project, segment: Segment) -> bool:
    """Land a segment, once; False when another one has landed under its name, which stays as it is.

    Its batches are durable when this returns, and none of them is there when it raises: `DpipeError` for this machine's
    disk, `UnavailableError` for a bucket, after which it may be there all the same.
    """
    bucket = project.landing_bucket
    if bucket is not None:
        name = f"{segment.dataset}/{segment.name}"
        return bucket.put_once(name, segment.content) or bucket.read(name) == segment.content
    folder = make_private(project.landing / segment.dataset)
    sweep(folder, TEMPORARY_PREFIX)
    final = folder / segment.name
    temporary = folder / f"{TEMPORARY_PREFIX}{segment.name}-{uuid.uuid4().hex}"
    try:
        with writing(segment.name, folder):
            if final.exists():
                sync_folder(folder)  # whoever renamed it may have died before it made the name durable
                return final.read_bytes() == segment.content
            write_durably(temporary, segment.content)
            failpoints.reach("after-landing-copy")
            temporary.rename(final)
            sync_folder(folder)
            return True
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def land_segment(project: Project, batches: Sequence[tuple[Manifest, bytes]]) -> Sequence[Manifest]:
    """Land batches of one dataset together, see `land_packed`. None of them may have landed before."""
    segment = packed(batches)
    land_packed(project, segment)
    return segment.manifests


def batch_ids(project: Project, dataset: str, segments: Iterable[str]) -> set[str]:
    """Ids of the batches in these segments of a dataset, which must be all that are there.

    Raises `DpipeError` for a segment that can't be read.
    """
    return set(_known(project, dataset, segments))


def find(project: Project, dataset: str, batch_id: str) -> Manifest | None:
    """The manifest of a batch that is in one of the dataset's segments as of the last `batch_ids`."""
    place = _Place.of(project)
    segment = _of_dataset(place, dataset).where.get(batch_id)
    return None if segment is None else _index(place, dataset, segment)[batch_id]


def payload(project: Project, manifest: Manifest) -> bytes:
    """The bytes of a batch that is in a segment. Raises `DpipeError` when they are gone."""
    first = manifest.offset or 0
    found = _Place.of(project).read(manifest.dataset, str(manifest.segment), first, manifest.bytes)
    if len(found) != manifest.bytes:
        raise _damaged(manifest.dataset, str(manifest.segment), f"it ends before `{manifest.batch_id}` does")
    return found


@dataclass(frozen=True)
class _Place:
    """Where segments are: a folder, or a bucket."""

    folder: Path
    bucket: Location | None = field(compare=False)
    address: str

    @staticmethod
    def of(project: Project) -> _Place:
        bucket = project.landing_bucket
        return _Place(project.landing, bucket, str(bucket or project.landing))

    def read(self, dataset: str, segment: str, first: int, size: int) -> bytes:
        """So many bytes of a segment from `first` on, or of its end if that is negative; less if it has less."""
        if self.bucket is not None:
            return self.bucket.read_part(f"{dataset}/{segment}", first, size) or b""
        try:
            with (self.folder / dataset / segment).open("rb") as file:
                length = file.seek(0, 2)
                file.seek(max(0, length + first) if first < 0 else first)
                return file.read(size)
        except OSError as error:
            raise _damaged(dataset, segment, error.strerror or str(error)) from error


@dataclass
class _Dataset:
    """Which batch is in which segment; each segment is read once in a process."""

    names: frozenset[str] = frozenset()
    where: dict[str, str] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)


_datasets: dict[tuple[_Place, str], _Dataset] = {}


def _of_dataset(place: _Place, dataset: str) -> _Dataset:
    return _datasets.setdefault((place, dataset), _Dataset())


def _known(project: Project, dataset: str, segments: Iterable[str]) -> dict[str, str]:
    place = _Place.of(project)
    known = _of_dataset(place, dataset)
    now = frozenset(segments)
    with known.lock:
        if not known.names <= now:  # somebody has taken a segment away
            known.names, known.where = frozenset(), {}
        # The new map takes the old one's place, so that whoever goes through that one can go on.
        where = dict(known.where) if now != known.names else known.where
        for segment in sorted(now - known.names):
            for batch_id, sha256 in _hashes(place, dataset, segment).items():
                # Two servers that are asked for the same submission at once may land the same bytes twice.
                other = where.setdefault(batch_id, segment)
                if other != segment and _hashes(place, dataset, other)[batch_id] != sha256:
                    raise _damaged(dataset, segment, f"`{batch_id}` is in `{other}` too, with other bytes")
        known.names, known.where = now, where
        return where


def _hashes(place: _Place, dataset: str, segment: str) -> dict[str, str]:
    """The SHA-256 of each batch in a segment; whoever asks which batches there are needs no more of them."""
    found = _documents(place, dataset, segment)
    try:
        if any((one["dataset"], one["segment"]) != (dataset, segment) for one in found):
            raise ValueError("it was written for another place")  # noqa: TRY301
        return {one["batch_id"]: one["sha256"] for one in found}
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(dataset, segment, str(error)) from error


@lru_cache(INDEXES_HELD)
def _index(place: _Place, dataset: str, segment: str) -> dict[str, Manifest]:
    """The manifests in a segment, by batch id. Raises `DpipeError` unless it is as it was landed."""
    try:
        return {one.batch_id: one for one in map(parse, _documents(place, dataset, segment))}
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(dataset, segment, str(error)) from error


def _documents(place: _Place, dataset: str, segment: str) -> list[dict[str, Any]]:
    tail = place.read(dataset, segment, -TAIL_BYTES, TAIL_BYTES)
    try:
        size = _index_bytes(tail) + TRAILER.size
        if size > len(tail):
            tail = place.read(dataset, segment, -size, size)
        found, _ = _read_index(tail)
    except (ValueError, TypeError, struct.error) as error:
        raise _damaged(dataset, segment, str(error)) from error
    return found


def _read_index(content: bytes) -> tuple[list[dict[str, Any]], int]:
    """The manifests' documents at the end of a segment, and where they begin. Raises `ValueError` or `TypeError`."""
    end = len(content) - TRAILER.size
    start = end - _index_bytes(content)
    if start < 0:
        raise ValueError("its index is longer than it")
    found = json.loads(content[start:end])
    if not isinstance(found, list):
        raise TypeError("its index is no list")
    return found, start


def _index_bytes(tail: bytes) -> int:
    size, mark = TRAILER.unpack(tail[-TRAILER.size :])
    if mark != MARK:
        raise ValueError("it has no index at its end")
    return int(size)


def _damaged(dataset: str, segment: str, problem: str) -> DpipeError:
    return DpipeError(
        f"the segment `{segment}` of `{dataset}` is damaged: {problem}",
        hint="restore it, or move it out of landing and have its submissions sent again",
    )
