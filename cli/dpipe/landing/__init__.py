"""Landing: batches as they came, immutable, one folder each under `landing/<dataset>/<batch id>/`."""

from dpipe.landing.land import Landed, land_file, land_replay, land_stream
from dpipe.landing.manifest import Manifest, batch_ids, find, manifests, payload_path

__all__ = [
    "Landed",
    "Manifest",
    "batch_ids",
    "find",
    "land_file",
    "land_replay",
    "land_stream",
    "manifests",
    "payload_path",
]
