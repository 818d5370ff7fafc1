"""The chain of a dataset's commits: each has the hash of the one before, so that none is changed or left out unseen.

A commit's hash covers what its batches and files are and the hash before it. It stands in the raw snapshot's summary
and in the ledger's rows, so a forged row would have to agree with both, and with every commit after it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dpipe.iceberg.attempt import BatchEntry, Files, WrittenFile

LATER = ("replayed", "evolved")
KINDS_OF_OLD = frozenset({"accepted", "quarantine", "rewritten", "removed"})


def entry_hash(
    dataset: str,
    previous: str | None,
    batches: Iterable[BatchEntry],
    files: Files,
) -> str:
    """SHA-256, hex, of a commit and the hash before it; the order of batches and files doesn't count."""
    content = {
        "dataset": dataset,
        "previous": previous,
        "batches": sorted(map(_content, batches), key=_batch_id),
        "files": {
            kind: sorted(map(_file, of_kind))
            for kind, of_kind in files.by_kind().items()
            if of_kind or kind in KINDS_OF_OLD
        },
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def end(links: Sequence[tuple[str | None, str | None]]) -> str | None:
    """The hash that none of the links (previous, hash) goes on from; None when there is no link.

    Of several, which only a damaged chain has, the last.
    """
    continued = {previous for previous, _ in links}
    ends = [entry for _, entry in links if entry is not None and entry not in continued]
    return ends[-1] if ends else None


def _content(batch: BatchEntry) -> dict[str, Any]:
    """What came to be known of batches later counts where there is something, so that older hashes stay right."""
    content = asdict(_in_utc(batch))
    for name in LATER:
        if not content[name]:
            del content[name]
    return content


def _in_utc(batch: BatchEntry) -> BatchEntry:
    """The ledger keeps an instant and not how it was written."""
    received_at = datetime.fromisoformat(batch.received_at).astimezone(UTC)
    return replace(batch, received_at=received_at.isoformat(timespec="microseconds"))


def _batch_id(batch: dict[str, Any]) -> str:
    return str(batch["batch_id"])


def _file(file: WrittenFile) -> tuple[str, int, int, str]:
    return file.path, file.rows, file.bytes, file.sha256
