"""Landing: batches as they came, immutable, in a place each: `<dataset>/<batch id>/` in a folder or in S3."""

from dpipe.landing.land import (
    Landed,
    OtherBytesError,
    land_file,
    land_records,
    land_replay,
    land_stream,
    stream_batch_id,
    submission,
    with_payload,
)
from dpipe.landing.manifest import Manifest, Position
from dpipe.landing.segments import Segment, land_packed, land_segment, packed, unpacked
from dpipe.landing.store import batch_ids, datasets, find, landed, manifests, payload_file, payload_place

__all__ = [
    "Landed",
    "Manifest",
    "OtherBytesError",
    "Position",
    "Segment",
    "batch_ids",
    "datasets",
    "find",
    "land_file",
    "land_packed",
    "land_records",
    "land_replay",
    "land_segment",
    "land_stream",
    "landed",
    "manifests",
    "packed",
    "payload_file",
    "payload_place",
    "stream_batch_id",
    "submission",
    "unpacked",
    "with_payload",
]
