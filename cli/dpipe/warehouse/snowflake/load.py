"""Bring the copy of a table of the lake to the table's current snapshot: PUT, then COPY in one transaction.

What was loaded is said by rows of `DPIPE_LOAD` that change in the same transaction, so that a load that broke off, or
one that is run again, leaves each row once; that COPY itself remembers files is switched off.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from dpipe.iceberg.reading import names_by_id
from dpipe.iceberg.storage import BLOCK_BYTES, is_local, local_path, stream
from dpipe.warehouse.snowflake.columns import columns_of
from dpipe.warehouse.snowflake.delta import delta
from dpipe.warehouse.snowflake.lake_files import batches_since, changes_since, current_files
from dpipe.warehouse.snowflake.table_copy import StagedFiles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyiceberg.table import Table

    from dpipe.warehouse.snowflake.delta import LakeFile
    from dpipe.warehouse.snowflake.session import Session
    from dpipe.warehouse.snowflake.table_copy import TableCopy

# Batches whose ids a load keeps, the newest.
MOST_BATCHES = 1000
# The connector takes `*` and `?` of a path for a pattern; a path of other characters goes through a copy.
PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./=+,@ -]*")


@dataclass(frozen=True)
class TableLoad:
    """What a load did: files that were copied with their rows and bytes, and partitions that were loaded anew.

    `snapshot_id` is what the copy has now; `changed` is false when it had it already. `batches` are the ids of those
    that came to a raw table since, the newest `MOST_BATCHES` of `batch_count`; the times are ISO 8601.
    """

    table: str
    snapshot_id: int
    changed: bool
    files: int
    rows: int
    bytes: int
    reloaded_partitions: int
    batches: tuple[str, ...]
    batch_count: int
    started_at: str
    finished_at: str


def load(session: Session, copy: TableCopy, table: Table, spool: Path) -> TableLoad:
    """Bring a table's copy, made on the first load, to the snapshot that `table` has.

    `spool` is a folder for files on their way. Raises `DpipeError` when the copy has other rows than it was given, or
    another load of the table goes on.
    """
    started_at = _now()
    want = columns_of(table.schema())
    copy.prepare(want)
    had = copy.loaded()
    snapshot = table.current_snapshot()
    if snapshot is None or snapshot.snapshot_id == had.snapshot_id:
        has = snapshot.snapshot_id if snapshot else 0
        return TableLoad(copy.name, has, False, 0, 0, 0, 0, (), 0, started_at, _now())
    current = current_files(table)
    to_do = delta(had.files, current, changes_since(table, had.snapshot_id))
    staged = _upload(copy, table, to_do.copy, spool)
    with session.transaction():
        copy.take_turn(had.snapshot_id, snapshot.snapshot_id)
        copy.delete(to_do.reload)
        for files in staged:
            copy.copy(want, files)
        copy.note_files(had.files, current)
        copy.hold_against(current)
    copy.clear_stage()
    batches = batches_since(table, had.snapshot_id)
    return TableLoad(
        table=copy.name,
        snapshot_id=snapshot.snapshot_id,
        changed=True,
        files=len(to_do.copy),
        rows=sum(file.rows for file in to_do.copy),
        bytes=sum(file.bytes for file in to_do.copy),
        reloaded_partitions=len(to_do.reload),
        batches=tuple(batches[-MOST_BATCHES:]),
        batch_count=len(batches),
        started_at=started_at,
        finished_at=_now(),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _upload(copy: TableCopy, table: Table, files: Iterable[LakeFile], spool: Path) -> list[StagedFiles]:
    """Put the files into the stage; files of before a change of the table have columns of other names."""
    groups: dict[tuple[tuple[int, str], ...], list[LakeFile]] = defaultdict(list)
    for file in files:
        held = _on_disk(table, file, spool)
        try:
            groups[tuple(names_by_id(pq.read_schema(held)).items())].append(file)
            copy.put(held, _folder(file))
        finally:
            if held.parent == spool:
                held.unlink()
    return [
        StagedFiles(
            dict(names),
            [f"{_folder(file)}/{PurePosixPath(file.path).name}" for file in group],
            sum(file.rows for file in group),
        )
        for names, group in groups.items()
    ]


def _on_disk(table: Table, file: LakeFile, spool: Path) -> Path:
    if is_local(file.path) and PLAIN_PATH.fullmatch(local_path(file.path)):
        return Path(local_path(file.path))
    copy = spool / PurePosixPath(file.path).name
    with stream(table.io, file.path) as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target, BLOCK_BYTES)
    return copy


def _folder(file: LakeFile) -> str:
    """Where a file is in the stage: its partition's token, below what stands for its folder in the lake."""
    folder = str(PurePosixPath(file.path).parent)
    return f"{hashlib.sha256(folder.encode()).hexdigest()[:8]}/{file.partition}"
