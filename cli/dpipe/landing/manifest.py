"""The manifest of a landed batch, and finding the batches that have landed."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from dpipe.errors import DpipeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dpipe.settings import Project

MANIFEST_NAME = "manifest.json"
BATCH_ID = re.compile(r"(file|job|replay)-[0-9a-f]{32}")
HIDDEN = "."
# The kernel looks for what these leave open.
LOOKED_FOR = ("format", "compression")
OF_REPLAYS = ("origin", "record_nos")


@dataclass(frozen=True)
class Manifest:
    """What is known of a landed batch.

    `name` is the payload's file name in the batch's folder, `source` where it came from; `bytes` and `sha256`
    are the payload's; `received_at` is ISO 8601 in UTC; `format` and `compression` are None when the kernel
    is to look. A replay holds records out of the quarantine: `origin` is the batch that they came in, `record_nos`
    are their numbers there, in the order of the payload.
    """

    batch_id: str
    dataset: str
    kind: Literal["file", "job", "replay"]
    name: str
    bytes: int
    sha256: str
    received_at: str
    source: str
    format: str | None = None
    compression: str | None = None
    origin: str | None = None
    record_nos: tuple[int, ...] | None = None

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        known = {
            name: value for name, value in asdict(self).items() if value is not None or name in LOOKED_FOR
        }
        return json.dumps(known, indent=2) + "\n"


def batch_ids(project: Project, dataset: str) -> set[str]:
    """Ids of the dataset's landed batches, from the folders' names alone."""
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
    datasets = sorted(path.name for path in project.landing.glob("*/"))
    matching = [
        (name, landed)
        for name in datasets
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


def payload_path(project: Project, manifest: Manifest) -> Path:
    """Where the batch's bytes are."""
    return project.landing / manifest.dataset / manifest.batch_id / manifest.name


def read_manifest(project: Project, dataset: str, batch_id: str) -> Manifest:
    """Read and check one manifest against its folder and its payload's size."""
    path = project.landing / dataset / batch_id / MANIFEST_NAME
    try:
        manifest = _parse(json.loads(path.read_text(encoding="utf-8")))
        if (manifest.dataset, manifest.batch_id) != (dataset, batch_id):
            raise ValueError(f"it speaks of `{manifest.dataset}/{manifest.batch_id}`")  # noqa: TRY301
        size = payload_path(project, manifest).stat().st_size
        if size != manifest.bytes:
            raise ValueError(f"its payload has {size} bytes, not {manifest.bytes}")  # noqa: TRY301
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DpipeError(
            f"the landed batch `{batch_id}` of `{dataset}` is damaged: {error}",
            hint=f"move `{path.parent}` out of landing and ingest the original file again",
        ) from error
    return manifest


def _parse(document: Any) -> Manifest:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(document, dict):
        raise TypeError("its manifest is not a JSON object")
    numbers = document.get("record_nos")
    known = {field.name: document[field.name] for field in fields(Manifest) if field.name not in OF_REPLAYS}
    manifest = Manifest(
        **known, origin=document.get("origin"), record_nos=None if numbers is None else tuple(numbers)
    )
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
    datetime.fromisoformat(manifest.received_at)
    return manifest
