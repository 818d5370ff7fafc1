"""Landing: batches as they came, immutable, in a place each: `<dataset>/<batch id>/` in a folder or in S3."""

from dpipe.landing.land import (
    Landed,
    OtherBytesError,
    land_file,
    land_replay,
    land_stream,
    submission,
    with_payload,
)
from dpipe.landing.manifest import Manifest
from dpipe.landing.segments import land_segment
from dpipe.landing.store import batch_ids, datasets, find, manifests, payload_file, payload_place

__all__ = [
    "Landed",
    "Manifest",
    "OtherBytesError",
    "batch_ids",
    "datasets",
    "find",
    "land_file",
    "land_replay",
    "land_segment",
    "land_stream",
    "manifests",
    "payload_file",
    "payload_place",
    "submission",
    "with_payload",
]
