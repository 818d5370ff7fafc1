"""Landing in S3: `<dataset>/<batch id>/`, where a batch has landed when, and only when, its manifest is there.

The manifest comes last and is made once: of two that land the same batch the second finds it there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe.landing.manifest import BATCH_ID, MANIFEST_NAME

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
    return sorted({name.split("/", 1)[0] for name in bucket.names() if name.endswith(f"/{MANIFEST_NAME}")})


def batch_ids(bucket: Location, dataset: str) -> set[str]:
    """Ids of the dataset's batches."""
    parts = (name.split("/") for name in bucket.names(f"{dataset}/") if name.endswith(f"/{MANIFEST_NAME}"))
    return {part[1] for part in parts if len(part) == 3 and BATCH_ID.fullmatch(part[1])}  # noqa: PLR2004
