"""Finding the batches that have landed, and their bytes; in a folder or in S3."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dpipe.errors import DpipeError, UsageError
from dpipe.folders import temporary_folder
from dpipe.landing import remote
from dpipe.landing.manifest import BATCH_ID, MANIFEST_NAME, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dpipe.landing.manifest import Manifest
    from dpipe.settings import Project


def batch_ids(project: Project, dataset: str) -> set[str]:
    """Ids of the dataset's landed batches, from the names of folders or objects alone."""
    bucket = project.landing_bucket
    if bucket is not None:
        return remote.batch_ids(bucket, dataset)
    folder = project.landing / dataset
    if not folder.is_dir():
        return set()
    return {entry.name for entry in folder.iterdir() if BATCH_ID.fullmatch(entry.name)}


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


def datasets(project: Project) -> list[str]:
    """Datasets of which something has landed, sorted."""
    bucket = project.landing_bucket
    if bucket is not None:
        return remote.datasets(bucket)
    return sorted(path.name for path in project.landing.glob("*/"))


def payload_place(project: Project, manifest: Manifest) -> str:
    """Where the batch's bytes are, for people."""
    bucket = project.landing_bucket
    return f"{bucket}/{remote.payload_name(manifest)}" if bucket else str(_payload_path(project, manifest))


@contextmanager
def payload_file(project: Project, manifest: Manifest) -> Iterator[Path]:
    """A file with the batch's bytes: landing's own, or a copy for as long as the block lasts.

    Raises `DpipeError` when they are gone or can't be copied.
    """
    bucket = project.landing_bucket
    if bucket is None:
        yield _payload_path(project, manifest)
        return
    with temporary_folder(project.spool) as folder:
        path = folder / manifest.name
        with writing(manifest.name, folder):
            found = bucket.download(remote.payload_name(manifest), path)
        if not found:
            raise DpipeError(
                f"`{payload_place(project, manifest)}` is gone",
                hint="restore it; `dpipe audit verify` says what else is missing",
            )
        yield path


@contextmanager
def writing(name: str, folder: Path) -> Iterator[None]:
    """Turn what goes wrong with this machine's disk, and only that, into an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise DpipeError(
            f"`{name}` can't be written in `{folder}`: {error.strerror}",
            hint="free space on its disk or check its permissions, then run the command again; nothing of it was kept",
        ) from error


def read_manifest(project: Project, dataset: str, batch_id: str) -> Manifest:
    """Read and check one manifest against its folder and its payload's size."""
    bucket = project.landing_bucket
    folder = f"{bucket or project.landing}/{dataset}/{batch_id}"
    try:
        if bucket is None:
            content: bytes | None = Path(folder, MANIFEST_NAME).read_bytes()
        else:
            content = bucket.read(f"{dataset}/{batch_id}/{MANIFEST_NAME}")
        if content is None:
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


def _payload_path(project: Project, manifest: Manifest) -> Path:
    return project.landing / manifest.dataset / manifest.batch_id / manifest.name
