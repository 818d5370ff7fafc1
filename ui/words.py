"""How values read."""

from __future__ import annotations

from datetime import UTC, datetime

MINUTE, HOUR, DAY = 60, 3600, 86_400


def ago(moment: datetime) -> str:
    """How long ago a moment was, in its largest unit: `12 s ago`, `3 min ago`, `5 h ago`, `2 d ago`."""
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def at(moment: datetime) -> str:
    """A moment in UTC to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def lasted(seconds: float) -> str:
    """A duration: `8.3 s`, `2 min 5 s`, `3 h 20 min`."""
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min {seconds % MINUTE:.0f} s"
    return f"{seconds // HOUR:.0f} h {seconds % HOUR // MINUTE:.0f} min"


def visible(content: bytes) -> str:
    """Bytes as text in which everything that isn't a printable character of UTF-8 is written as its escape."""
    text = content.decode("utf-8", "backslashreplace")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
