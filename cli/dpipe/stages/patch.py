"""Quarantined records as lines of JSON: to be looked at or mended elsewhere, and read back as a patch."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from dpipe.errors import UsageError
from dpipe.iceberg.schema import BATCH_ID, RECORD_NO

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dpipe.iceberg.dismissed import RecordId

HINT = "`dpipe quarantine export` writes lines as they are wanted: change `raw` and leave the rest"


def line(row: dict[str, Any]) -> str:
    """A row of the quarantine table; bytes that are no UTF-8 are `raw_base64` instead of `raw`."""
    document = {
        "batch_id": row[BATCH_ID],
        "record_no": row[RECORD_NO],
        "line": row["line"],
        "violations": row["violations"],
        "raw_format": row["raw_format"],
    }
    if row["raw_header"] is not None:
        document["raw_header"] = row["raw_header"].decode("utf-8", "replace")
    try:
        document["raw"] = row["raw"].decode("utf-8")
    except UnicodeDecodeError:
        document["raw_base64"] = base64.b64encode(row["raw"]).decode()
    return json.dumps(document, ensure_ascii=False) + "\n"


def read(path: Path, most_bytes: int) -> dict[RecordId, bytes]:
    """The records that a patch names, with the bytes that they are to have, at most so many each.

    Raises `UsageError`, with the line, for what is no patch.
    """
    try:
        with path.open("rb") as file:
            return _read(path, file, most_bytes)
    except OSError as error:
        raise UsageError(
            f"`{path}` can't be read: {error.strerror}", hint="check the path and the file's permissions"
        ) from error


def _read(path: Path, lines: Iterable[bytes], most_bytes: int) -> dict[RecordId, bytes]:
    found: dict[RecordId, bytes] = {}
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            identity, record = _record(json.loads(text))
            if not 0 < len(record) <= most_bytes:
                raise ValueError(f"its record has {len(record):,} bytes, and 1 to {most_bytes:,} are read")  # noqa: TRY301
            if found.setdefault(identity, record) != record:
                raise ValueError(f"record {identity[1]} of `{identity[0]}` is there twice")  # noqa: TRY301
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            said = f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else str(error)
            raise UsageError(f"{path}:{number}: {said}", hint=HINT) from error
    return found


def _record(document: Any) -> tuple[RecordId, bytes]:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(document, dict):
        raise TypeError("no JSON object")
    batch_id, record_no = document["batch_id"], document["record_no"]
    if not isinstance(batch_id, str) or type(record_no) is not int:
        raise TypeError("`batch_id` is a text and `record_no` a whole number")
    if "raw_base64" in document:
        return (batch_id, record_no), base64.b64decode(document["raw_base64"], validate=True)
    raw = document["raw"]
    if not isinstance(raw, str):
        raise TypeError("`raw` is a text")
    return (batch_id, record_no), raw.encode("utf-8")
