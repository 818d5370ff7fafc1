"""Where a stream is: `kinesis://name?region=eu-west-1`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from dpipe.errors import ConfigError

SCHEME = "kinesis"
NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
REGION = re.compile(r"[a-z0-9-]{1,32}")


@dataclass(frozen=True)
class StreamPlace:
    """A stream by its name; without a `region`, in the one that AWS's chain gives."""

    name: str
    region: str | None = None

    def __str__(self) -> str:
        return f"{SCHEME}://{self.name}" + (f"?region={self.region}" if self.region else "")


def stream_place(uri: str) -> StreamPlace:
    """The place that a setting or flag names. Raises `ConfigError` for what names none."""
    try:
        parts = urlsplit(uri)
        query = parse_qs(parts.query, strict_parsing=True, keep_blank_values=True) if parts.query else {}
    except ValueError:
        return _refused(uri)
    regions = query.pop("region", [None])
    region = regions[0]
    if parts.scheme != SCHEME or not NAME.fullmatch(parts.netloc) or parts.path.strip("/") or parts.fragment:
        return _refused(uri)
    if query or len(regions) > 1 or not (region is None or REGION.fullmatch(region)):
        return _refused(uri)
    return StreamPlace(parts.netloc, region)


def _refused(uri: str) -> StreamPlace:
    raise ConfigError(
        f"`{uri}` names no stream",
        hint="write `kinesis://stream-name` or `kinesis://stream-name?region=eu-west-1`",
    )
