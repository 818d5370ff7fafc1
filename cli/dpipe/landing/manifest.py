"""The manifest of a landed batch."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

MANIFEST_NAME = "manifest.json"
BATCH_ID = re.compile(r"(file|job|replay|stream)-[0-9a-f]{32}")
HIDDEN = "."
# The kernel looks for what these leave open.
LOOKED_FOR = ("format", "compression")
OF_REPLAYS = ("origin", "record_nos")
OF_SEGMENTS = ("segment", "offset")
OF_STREAMS = ("position",)
SEQUENCE_NUMBER = re.compile(r"0|[1-9][0-9]{0,128}")


@dataclass(frozen=True)
class Position:
    """What a batch holds of a stream's shard: its records from the sequence number `first` to `last`.

    `stream` is the ARN; `records` counts the users' records, empty ones and each in an aggregated one too.
    """

    stream: str
    shard: str
    first: str
    last: str
    records: int


@dataclass(frozen=True)
class Manifest:
    """What is known of a landed batch.

    `name` is the payload's file name in the batch's folder, `source` where it came from; `bytes` and `sha256`
    are the payload's; `received_at` is ISO 8601 in UTC; `format` and `compression` are None when the kernel
    is to look. A replay holds records out of the quarantine: `origin` is the batch that they came in, `record_nos`
    are their numbers there, in the order of the payload. A small submission is in a `segment` with others, its
    bytes from `offset` on. A batch out of a stream has its `position` there.
    """

    batch_id: str
    dataset: str
    kind: Literal["file", "job", "replay", "stream"]
    name: str
    bytes: int
    sha256: str
    received_at: str
    source: str
    format: str | None = None
    compression: str | None = None
    origin: str | None = None
    record_nos: tuple[int, ...] | None = None
    segment: str | None = None
    offset: int | None = None
    position: Position | None = None

    def changed(self, **changes: Any) -> Manifest:  # noqa: ANN401 - its fields
        """It with other values of some fields; `dataclasses.replace` takes three times as long."""
        return Manifest(**{**vars(self), **changes})

    def document(self) -> dict[str, Any]:
        """What is known, as JSON holds it."""
        known = {name: value for name, value in vars(self).items() if value is not None or name in LOOKED_FOR}
        return known | ({"position": vars(self.position)} if self.position is not None else {})

    def summary(self) -> dict[str, Any]:
        """What a run keeps of a batch that it landed."""
        return {"batch_id": self.batch_id, "source": self.source, "bytes": self.bytes}

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return json.dumps(self.document(), indent=2) + "\n"


def parse(document: Any) -> Manifest:  # noqa: ANN401 - whatever JSON holds
    """The manifest that `manifest.json` holds. Raises `ValueError`, `TypeError` or `KeyError` when it holds none."""
    if not isinstance(document, dict):
        raise TypeError("its manifest is not a JSON object")
    numbers = document.get("record_nos")
    not_of_all = (*OF_REPLAYS, *OF_SEGMENTS, *OF_STREAMS)
    known = {field.name: document[field.name] for field in fields(Manifest) if field.name not in not_of_all}
    manifest = Manifest(
        **known,
        origin=document.get("origin"),
        record_nos=None if numbers is None else tuple(numbers),
        segment=document.get("segment"),
        offset=document.get("offset"),
        position=_position(document.get("position")),
    )
    if (manifest.kind == "stream") != (manifest.position is not None):
        raise ValueError("a batch out of a stream, and no other, has a position there")
    if (manifest.kind == "replay") != (manifest.origin is not None) or (numbers is None) != (
        manifest.origin is None
    ):
        raise ValueError("a replay, and nothing else, has an origin and the numbers of its records")
    if not all(type(number) is int and number > 0 for number in manifest.record_nos or ()):
        raise TypeError("its manifest holds a record number that is none")
    texts = (
        manifest.batch_id,
        manifest.dataset,
        manifest.name,
        manifest.sha256,
        manifest.received_at,
        manifest.source,
    )
    if not all(isinstance(text, str) for text in texts) or not isinstance(manifest.bytes, int):
        raise TypeError("its manifest holds a value of the wrong type")
    if manifest.name != manifest.name.rpartition("/")[2] or manifest.name.startswith(HIDDEN):
        raise ValueError(f"its manifest names `{manifest.name}`, which is no plain file name")
    if type(manifest.offset) not in {int, type(None)} or (manifest.offset is None) != (
        manifest.segment is None
    ):
        raise TypeError("its manifest has a place in a segment that is none")
    datetime.fromisoformat(manifest.received_at)
    return manifest


def _position(document: Any) -> Position | None:  # noqa: ANN401 - whatever JSON holds
    if document is None:
        return None
    position = Position(**document)
    texts = (position.stream, position.shard, position.first, position.last)
    if not all(isinstance(text, str) for text in texts) or type(position.records) is not int:
        raise TypeError("its manifest holds a position of the wrong type")
    if not all(SEQUENCE_NUMBER.fullmatch(text) for text in (position.first, position.last)):
        raise ValueError("its manifest holds a sequence number that is none")
    return position
