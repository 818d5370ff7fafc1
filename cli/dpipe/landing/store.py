"""Finding the batches that have landed, and their bytes; in a folder or in S3."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dpipe.errors import DpipeError, UsageError
from dpipe.folders import sync_folder, temporary_folder
from dpipe.landing import remote, segments
from dpipe.landing.disk import writing
from dpipe.landing.manifest import BATCH_ID, MANIFEST_NAME, parse
from dpipe.landing.segments import SEGMENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from dpipe.landing.manifest import Manifest
    from dpipe.settings import Project


def batch_ids(project: Project, dataset: str) -> set[str]:
    """Ids of the dataset's landed batches: the names of folders or objects, and what segments hold."""
    names = _names(project, dataset)
    own = {name for name in names if BATCH_ID.fullmatch(name)}
    return own | segments.batch_ids(project, dataset, {name for name in names if SEGMENT.fullmatch(name)})


def _names(project: Project, dataset: str) -> set[str]:
    bucket = project.landing_bucket
    if bucket is not None:
        return remote.names(bucket, dataset)
    try:
        return {entry.name for entry in (project.landing / dataset).iterdir()}
    except FileNotFoundError:
        return set()


def manifests(project: Project, dataset: str, wanted: Iterable[str] | None = None) -> list[Manifest]:
    """Manifests of the dataset's landed batches, or of those `wanted`, in the order of their arrival.

    Raises `DpipeError` when a manifest or its payload isn't as it was landed.
    """
    ids = batch_ids(project, dataset) if wanted is None else wanted
    found = [read_manifest(project, dataset, batch_id) for batch_id in ids]
    return sorted(found, key=lambda manifest: (manifest.received_at, manifest.batch_id))


def find(project: Project, batch_id: str) -> Manifest:
    """The one landed batch whose id is or begins with `batch_id`; raises `UsageError` unless there is one."""
    matching = [
        (name, landed)
        for name in datasets(project)
        for landed in batch_ids(project, name)
        if landed.startswith(batch_id)
    ]
    if not matching:
        raise UsageError(
            f"no batch has an id that begins with `{batch_id}`", hint="`dpipe batches list` shows them"
        )
    if len(matching) > 1:
        among = ", ".join(f"`{landed}` of `{name}`" for name, landed in sorted(matching)[:5])
        raise UsageError(f"`{batch_id}` names several batches", hint=f"give more of the id: {among}")
    return read_manifest(project, *matching[0])


def landed(project: Project, dataset: str, batch_id: str) -> Manifest | None:
    """The batch with this id that landed by itself, durable; None when none has.

    Raises `DpipeError` as `manifests` does.
    """
    bucket = project.landing_bucket
    if bucket is not None:
        is_there = bucket.size(f"{dataset}/{batch_id}/{MANIFEST_NAME}") is not None
    elif is_there := (project.landing / dataset / batch_id).is_dir():
        # Whoever renamed it may have died before it made the name durable.
        sync_folder(project.landing / dataset)
    return read_manifest(project, dataset, batch_id) if is_there else None


def datasets(project: Project) -> list[str]:
    """Datasets of which something has landed, sorted."""
    bucket = project.landing_bucket
    if bucket is not None:
        return remote.datasets(bucket)
    return sorted(path.name for path in project.landing.glob("*/"))


def payload_place(project: Project, manifest: Manifest) -> str:
    """Where the batch's bytes are, for people."""
    bucket = project.landing_bucket
    if manifest.segment is not None:
        return f"{bucket or project.landing}/{manifest.dataset}/{manifest.segment}"
    return f"{bucket}/{remote.payload_name(manifest)}" if bucket else str(_payload_path(project, manifest))


@contextmanager
def payload_file(project: Project, manifest: Manifest) -> Iterator[Path]:
    """A file with the batch's bytes: landing's own, or a copy for as long as the block lasts.

    Raises `DpipeError` when they are gone or can't be copied.
    """
    if project.landing_bucket is None and manifest.segment is None:
        yield _payload_path(project, manifest)
        return
    with temporary_folder(project.spool) as folder:
        path = folder / manifest.name
        with writing(manifest.name, folder):
            _copy(project, manifest, path)
        yield path


def _copy(project: Project, manifest: Manifest, path: Path) -> None:
    bucket = project.landing_bucket
    if manifest.segment is not None or bucket is None:
        path.write_bytes(segments.payload(project, manifest))
    elif not bucket.download(remote.payload_name(manifest), path):
        raise DpipeError(
            f"`{payload_place(project, manifest)}` is gone",
            hint="restore it; `dpipe audit verify` says what else is missing",
        )


def read_manifest(project: Project, dataset: str, batch_id: str) -> Manifest:
    """Read one manifest, and check it against its folder or segment and its payload's size."""
    found = segments.find(project, dataset, batch_id)
    if found is not None:
        return found
    bucket = project.landing_bucket
    folder = f"{bucket or project.landing}/{dataset}/{batch_id}"
    try:
        content = _manifest_content(project, dataset, batch_id)
        if content is None:
            batch_ids(project, dataset)  # looks into the segments that came since
            found = segments.find(project, dataset, batch_id)
            if found is not None:
                return found
            raise ValueError("it has no manifest")  # noqa: TRY301
        manifest = parse(json.loads(content))
        if (manifest.dataset, manifest.batch_id) != (dataset, batch_id):
            raise ValueError(f"it speaks of `{manifest.dataset}/{manifest.batch_id}`")  # noqa: TRY301
        size = (
            bucket.size(remote.payload_name(manifest))
            if bucket
            else _payload_path(project, manifest).stat().st_size
        )
        if size != manifest.bytes:
            raise ValueError(f"its payload has {size or 0} bytes, not {manifest.bytes}")  # noqa: TRY301
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DpipeError(
            f"the landed batch `{batch_id}` of `{dataset}` is damaged: {error}",
            hint=f"move `{folder}` out of landing and ingest the original file again",
        ) from error
    return manifest


def _manifest_content(project: Project, dataset: str, batch_id: str) -> bytes | None:
    bucket = project.landing_bucket
    if bucket is not None:
        return bucket.read(f"{dataset}/{batch_id}/{MANIFEST_NAME}")
    try:
        return (project.landing / dataset / batch_id / MANIFEST_NAME).read_bytes()
    except FileNotFoundError:
        return None


def _payload_path(project: Project, manifest: Manifest) -> Path:
    return project.landing / manifest.dataset / manifest.batch_id / manifest.name
