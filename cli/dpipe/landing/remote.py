"""Landing in S3: `<dataset>/<batch id>/`, where a batch has landed when, and only when, its manifest is there.

The manifest comes last and is made once: of two that land the same batch the second finds it there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe.landing.manifest import BATCH_ID, MANIFEST_NAME
from dpipe.landing.segments import SEGMENT

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.landing.manifest import Manifest
    from dpipe.s3 import Location


def publish(bucket: Location, payload: Path, manifest: Manifest) -> bool:
    """Land a batch whose payload is in a file; whether it hadn't landed before."""
    folder = f"{manifest.dataset}/{manifest.batch_id}"
    if bucket.size(f"{folder}/{MANIFEST_NAME}") is not None:
        return False
    bucket.upload(payload, payload_name(manifest))
    return bucket.put_once(f"{folder}/{MANIFEST_NAME}", manifest.to_json().encode())


def payload_name(manifest: Manifest) -> str:
    """The name of the object with a batch's bytes; other bytes under the same id have another one."""
    return f"{manifest.dataset}/{manifest.batch_id}/{manifest.sha256[:16]}-{manifest.name}"


def datasets(bucket: Location) -> list[str]:
    """Datasets of which something has landed."""
    return sorted({name.split("/", 1)[0] for name in bucket.names() if _landed(name)})


def names(bucket: Location, dataset: str) -> set[str]:
    """Ids of the dataset's batches that are by themselves, and names of its segments."""
    return {landed for name in bucket.names(f"{dataset}/") if (landed := _landed(name))}


def _landed(name: str) -> str | None:
    """The batch or segment that an object says is there."""
    match name.split("/"):
        case [_, batch_id, last] if last == MANIFEST_NAME and BATCH_ID.fullmatch(batch_id):
            return batch_id
        case [_, segment] if SEGMENT.fullmatch(segment):
            return segment
    return None
