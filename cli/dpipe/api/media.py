"""What a submission's headers say about its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import HTTPException

if TYPE_CHECKING:
    from collections.abc import Mapping

UNSUPPORTED = 415

# Content type → format, compression and file suffix; None: the kernel looks at the bytes.
TYPES: dict[str, tuple[str | None, str | None, str]] = {
    "application/x-ndjson": ("ndjson", None, ".ndjson"),
    "application/jsonl": ("ndjson", None, ".ndjson"),
    "application/json": ("json", None, ".json"),
    "text/csv": ("csv", None, ".csv"),
    "application/zip": ("csv", "zip", ".csv.zip"),
    "application/vnd.apache.parquet": ("parquet", None, ".parquet"),
    "application/octet-stream": (None, None, ".bin"),
}
ENCODINGS = {"gzip": ".gz", "zstd": ".zst"}


@dataclass(frozen=True)
class Media:
    """Format and compression in the manifest's words, and the payload's file name."""

    format: str | None
    compression: str | None
    name: str


def media_of(headers: Mapping[str, str]) -> Media:
    """Read `Content-Type` and `Content-Encoding`; raises a 415 for what dpipe can't read."""
    content_type = headers.get("content-type", "").split(";")[0].strip().lower()
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if content_type not in TYPES:
        raise HTTPException(
            UNSUPPORTED, f"content type `{content_type}` can't be read; send one of {', '.join(TYPES)}"
        )
    format_name, compression, suffix = TYPES[content_type]
    if encoding == "identity":
        return Media(format_name, compression, f"submission{suffix}")
    if encoding not in ENCODINGS or compression:
        raise HTTPException(
            UNSUPPORTED,
            f"content encoding `{encoding}` of `{content_type}` can't be read; "
            f"send it plain or as {' or '.join(ENCODINGS)}",
        )
    return Media(format_name, encoding, f"submission{suffix}{ENCODINGS[encoding]}")
