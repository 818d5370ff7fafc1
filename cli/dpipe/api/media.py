"""What a submission's headers say about its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException

from dpipe.library.sources import Compression, Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UNSUPPORTED = 415

# Content type → format, compression and file suffix; None: the kernel looks at the bytes.
TYPES: dict[str, tuple[Format | None, Compression | None, str]] = {
    "application/x-ndjson": ("ndjson", None, ".ndjson"),
    "application/jsonl": ("ndjson", None, ".ndjson"),
    "application/json": ("json", None, ".json"),
    "text/csv": ("csv", None, ".csv"),
    "application/zip": ("csv", "zip", ".csv.zip"),
    "application/vnd.apache.parquet": ("parquet", None, ".parquet"),
    "application/octet-stream": (None, None, ".bin"),
}
ENCODINGS: dict[Compression, str] = {"gzip": ".gz", "zstd": ".zst"}


def body_of(types: Iterable[str]) -> dict[str, Any]:
    """OpenAPI's words for a body of one of these content types."""
    schemas: dict[str, dict[str, Any]] = {
        name: {"type": "array"} if TYPES[name][0] == "json" else {"type": "string", "minLength": 1}
        for name in types
    }
    content = {name: {"schema": schema} for name, schema in schemas.items()}
    return {"requestBody": {"required": True, "content": content}}


@dataclass(frozen=True)
class Media:
    """Format and compression in the manifest's words, and the payload's file name."""

    content_type: str
    format: Format | None
    compression: Compression | None
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
        return Media(content_type, format_name, compression, f"submission{suffix}")
    compressed = next((known for known in ENCODINGS if known == encoding), None)
    if compressed is None or compression:
        raise HTTPException(
            UNSUPPORTED,
            f"content encoding `{encoding}` of `{content_type}` can't be read; "
            f"send it plain or as {' or '.join(ENCODINGS)}",
        )
    return Media(content_type, format_name, compressed, f"submission{suffix}{ENCODINGS[compressed]}")
