"""Segments: many small batches in one file, `<dataset>/segment-<32 hex digits>`, in a folder or in S3.

The batches' bytes come first, back to back, then their manifests as JSON, then that index's length and a mark. A
segment is written under a hidden name and renamed, so that whoever sees it sees all of it, and it never changes. It
takes two syncs for however many batches; a batch with a folder of its own takes five.
"""

from __future__ import annotations

import json
import re
import struct
import uuid
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

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
# A look into a bucket brings so much of an object's end; most indexes are shorter.
TAIL_BYTES = 256 << 10
INDEXES_HELD = 64


def land_segment(project: Project, batches: Sequence[tuple[Manifest, bytes]]) -> list[Manifest]:
    """Land batches of one dataset together; their manifests, which now say where they are.

    They are durable when this returns, and none of them is there when it raises: `DpipeError` for this machine's
    disk, `UnavailableError` for a bucket. That none of them has landed before is the caller's to know.
    """
    name = f"segment-{uuid.uuid4().hex}"
    content, landed = _packed(name, batches)
    dataset = landed[0].dataset
    if project.landing_bucket is not None:
        project.landing_bucket.put_once(f"{dataset}/{name}", content)
        return landed
    folder = make_private(project.landing / dataset)
    sweep(folder, TEMPORARY_PREFIX)
    temporary = folder / f"{TEMPORARY_PREFIX}{name}"
    try:
        with writing(name, folder):
            write_durably(temporary, content)
            failpoints.reach("after-landing-copy")
            temporary.rename(folder / name)
            sync_folder(folder)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    return landed


def _packed(name: str, batches: Sequence[tuple[Manifest, bytes]]) -> tuple[bytes, list[Manifest]]:
    offset, landed = 0, []
    for manifest, payload in batches:
        landed.append(replace(manifest, segment=name, offset=offset))
        offset += len(payload)
    index = json.dumps([manifest.document() for manifest in landed]).encode()
    return b"".join([*(payload for _, payload in batches), index, TRAILER.pack(len(index), MARK)]), landed


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
            for batch_id, manifest in _index(place, dataset, segment).items():
                # Two servers that are asked for the same submission at once may land the same bytes twice.
                other = where.setdefault(batch_id, segment)
                if _index(place, dataset, other)[batch_id].sha256 != manifest.sha256:
                    raise _damaged(dataset, segment, f"`{batch_id}` is in `{other}` too, with other bytes")
        known.names, known.where = now, where
        return where


@lru_cache(INDEXES_HELD)
def _index(place: _Place, dataset: str, segment: str) -> dict[str, Manifest]:
    """The manifests in a segment, by batch id. Raises `DpipeError` unless it is as it was landed."""
    tail = place.read(dataset, segment, -TAIL_BYTES, TAIL_BYTES)
    try:
        size, mark = TRAILER.unpack(tail[-TRAILER.size :])
        if mark != MARK:
            raise ValueError("it has no index at its end")  # noqa: TRY301
        if size + TRAILER.size > len(tail):
            tail = place.read(dataset, segment, -(size + TRAILER.size), size + TRAILER.size)
        found = [parse(one) for one in json.loads(tail[-(size + TRAILER.size) : -TRAILER.size])]
        if any((one.dataset, one.segment) != (dataset, segment) for one in found):
            raise ValueError("it was written for another place")  # noqa: TRY301
    except (ValueError, TypeError, KeyError, struct.error) as error:
        raise _damaged(dataset, segment, str(error)) from error
    return {one.batch_id: one for one in found}


def _damaged(dataset: str, segment: str, problem: str) -> DpipeError:
    return DpipeError(
        f"the segment `{segment}` of `{dataset}` is damaged: {problem}",
        hint="restore it, or move it out of landing and have its submissions sent again",
    )
