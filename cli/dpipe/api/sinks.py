"""Where small submissions become durable: in landing, or in the stream that feeds their dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe import landing
from dpipe.streams import Outgoing, Stream, put, stream_place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dpipe.landing import Manifest
    from dpipe.settings import Project

    Batches = Sequence[tuple[Manifest, bytes]]

# A record of a stream is charged by 25 KB, and may have 1 MiB with its key.
RECORD_BYTES = 480 << 10
LARGEST_BYTES = 900 << 10
INDEX_BYTES = 700
# Who submits waits for it.
PATIENCE_SECONDS = 5.0


class Sinks:
    """One for each dataset."""

    def __init__(self, project: Project) -> None:
        self._project = project
        by_stream = project.settings.streams if project.settings.submit_to == "stream" else {}
        self._streams = {dataset: Stream(stream_place(uri)) for dataset, uri in by_stream.items()}

    def is_for_stream(self, manifest: Manifest) -> bool:
        """Whether a submission goes, or went, into a stream."""
        is_small = manifest.segment is not None and manifest.bytes <= LARGEST_BYTES
        return is_small and manifest.dataset in self._streams

    def check(self) -> None:
        """Raise `UnavailableError` or `ConfigError` when a stream can't be reached."""
        for stream in self._streams.values():
            stream.shards()

    def keep(self, dataset: str, batches: Batches) -> list[Manifest]:
        """Make batches of a dataset durable; each one's manifest, with the segment that it is in.

        Raises `UnavailableError` or `DpipeError` when they can't be, or aren't known to be.
        """
        stream = self._streams.get(dataset)
        if stream is None:
            return [*landing.land_segment(self._project, batches)]
        small = [one for one in batches if len(one[1]) <= LARGEST_BYTES]
        large = [one for one in batches if len(one[1]) > LARGEST_BYTES]
        kept = [*landing.land_segment(self._project, large)] if large else []
        segments = [landing.packed(part) for part in _parts(small)]
        put(stream, [Outgoing(one.name, one.content) for one in segments], patience=PATIENCE_SECONDS)
        return kept + [manifest for segment in segments for manifest in segment.manifests]


def _parts(batches: Batches) -> Iterator[list[tuple[Manifest, bytes]]]:
    """The batches in groups for a record each."""
    part: list[tuple[Manifest, bytes]] = []
    size = 0
    for manifest, payload in batches:
        own = len(payload) + INDEX_BYTES
        if part and size + own > RECORD_BYTES:
            yield part
            part, size = [], 0
        part.append((manifest, payload))
        size += own
    if part:
        yield part
