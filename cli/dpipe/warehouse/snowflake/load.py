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
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from dpipe.errors import DpipeError
from dpipe.iceberg.reading import FIELD_ID
from dpipe.iceberg.storage import is_local, local_path, stream
from dpipe.warehouse.snowflake import columns
from dpipe.warehouse.snowflake.columns import PARTITION, Column
from dpipe.warehouse.snowflake.delta import LakeFile, delta
from dpipe.warehouse.snowflake.lake_files import changes_since, current_files
from dpipe.warehouse.snowflake.names import column, quoted, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyiceberg.table import Table

    from dpipe.warehouse.snowflake.names import Names
    from dpipe.warehouse.snowflake.session import Session

TABLES, FILES, COLUMNS = "LOADED_TABLES", "LOADED_FILES", "LOADED_COLUMNS"
# What `copy into … files = (…)` takes.
MOST_FILES = 1000
# The connector takes `*` and `?` of a path for a pattern; a path of other characters goes through a copy.
PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./=+,@ -]*")


@dataclass(frozen=True)
class TableLoad:
    """What a load did: files that were copied with their rows and bytes, and partitions that were loaded anew.

    `snapshot_id` is what the copy has now; `changed` is false when it had it already.
    """

    table: str
    snapshot_id: int
    changed: bool
    files: int
    rows: int
    bytes: int
    reloaded_partitions: int


@dataclass(frozen=True)
class _Loaded:
    """What the copy has: a snapshot and its files; None and none before the first load."""

    snapshot_id: int | None
    files: dict[str, LakeFile]


def load(session: Session, names: Names, name: str, table: Table, spool: Path) -> TableLoad:
    """Bring the copy of `<namespace>.<table>`, made on the first load, to the snapshot that `table` has.

    `spool` is a folder for files on their way. Raises `DpipeError` when the copy has other rows than it was given, or
    another load of the table goes on.
    """
    _prepare(session, names, name, columns.columns_of(table.schema()))
    had = _loaded(session, names, name)
    snapshot = table.current_snapshot()
    if snapshot is None or snapshot.snapshot_id == had.snapshot_id:
        return TableLoad(name, snapshot.snapshot_id if snapshot else 0, False, 0, 0, 0, 0)
    current = current_files(table)
    to_do = delta(had.files, current, changes_since(table, had.snapshot_id))
    groups = _upload(session, names, name, table, to_do.copy, spool)
    with session.transaction():
        _take_turn(session, names, name, had.snapshot_id, snapshot.snapshot_id)
        _delete(session, names, name, to_do.reload)
        for in_file, files in groups:
            _copy(session, names, name, columns.columns_of(table.schema()), dict(in_file), files)
        _note_files(session, names, name, had.files, current)
        _hold_against(session, names, name, current)
    _clear_stage(session, names, name)
    return TableLoad(
        table=name,
        snapshot_id=snapshot.snapshot_id,
        changed=True,
        files=len(to_do.copy),
        rows=sum(file.rows for file in to_do.copy),
        bytes=sum(file.bytes for file in to_do.copy),
        reloaded_partitions=len(to_do.reload),
    )


def _prepare(session: Session, names: Names, name: str, want: Sequence[Column]) -> None:
    """Make the copy, or have its columns be those of the table; DDL, which is outside of every transaction."""
    namespace, _, bare = name.partition(".")
    session.execute(f"create schema if not exists {names.lake}.{quoted(namespace.upper())}")
    definitions = ", ".join([*(one.definition for one in want), f"{PARTITION} varchar"])
    session.execute(f"create table if not exists {names.table(name)} ({definitions})")
    have = [
        Column(int(field_id), str(called), str(kind))
        for field_id, called, kind in session.execute(
            f"select field_id, name, type from {names.of_load(COLUMNS)} where table_name = ? order by field_id",  # noqa: S608
            [name],
        )
    ]
    if [*have] == sorted(want, key=lambda one: one.field_id):
        return
    there = session.execute(
        f"select column_name from {names.lake}.information_schema.columns "  # noqa: S608 - a name of ours
        "where table_schema = ? and table_name = ?",
        [namespace.upper(), bare.upper()],
    )
    for change in columns.changes(have or want, want, {str(row[0]) for row in there}):
        session.execute(f"alter table {names.table(name)} {change}")
    with session.transaction():
        session.execute(f"delete from {names.of_load(COLUMNS)} where table_name = ?", [name])  # noqa: S608
        session.insert(names.of_load(COLUMNS), [(name, one.field_id, one.name, one.type) for one in want])


def _loaded(session: Session, names: Names, name: str) -> _Loaded:
    rows = session.execute(
        f"select snapshot_id from {names.of_load(TABLES)} where table_name = ?",  # noqa: S608
        [name],
    )
    files = session.execute(
        f"select path, partition_token, row_count, bytes from {names.of_load(FILES)} where table_name = ?",  # noqa: S608
        [name],
    )
    found = [
        LakeFile(str(path), str(token), int(row_count), int(size)) for path, token, row_count, size in files
    ]
    return _Loaded(int(rows[0][0]) if rows else None, {file.path: file for file in found})


def _upload(
    session: Session, names: Names, name: str, table: Table, files: Iterable[LakeFile], spool: Path
) -> list[tuple[tuple[tuple[int, str], ...], list[LakeFile]]]:
    """Put the files into the stage, each below its partition's token; returns them by the names of their columns."""
    groups: dict[tuple[tuple[int, str], ...], list[LakeFile]] = defaultdict(list)
    for file in files:
        held = _on_disk(table, file, spool)
        try:
            groups[_column_names(held)].append(file)
            # The path is in quotes, in which the connector knows no escape.
            session.execute(
                f"put 'file://{held}' @{names.stage}/{_folder(name)}/{_place(file)}/ "
                "auto_compress = false overwrite = true"
            )
        finally:
            if held.parent == spool:
                held.unlink()
    return list(groups.items())


def _on_disk(table: Table, file: LakeFile, spool: Path) -> Path:
    if is_local(file.path) and PLAIN_PATH.fullmatch(local_path(file.path)):
        return Path(local_path(file.path))
    copy = spool / PurePosixPath(file.path).name
    with stream(table.io, file.path) as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    return copy


def _column_names(path: Path) -> tuple[tuple[int, str], ...]:
    schema = pq.read_schema(path)
    return tuple(sorted((int(field.metadata[FIELD_ID]), field.name) for field in schema))


def _folder(name: str) -> str:
    return name.replace(".", "/")


def _place(file: LakeFile) -> str:
    """The folder of a staged file: its partition's token, below what stands for where the file is in the lake."""
    folder = str(PurePosixPath(file.path).parent)
    return f"{hashlib.sha256(folder.encode()).hexdigest()[:8]}/{file.partition}"


def _take_turn(session: Session, names: Names, name: str, had: int | None, snapshot_id: int) -> None:
    """Say what the copy is to have, if it still has what was looked at; a second load waits here, and is refused."""
    if had is None:
        session.execute(
            f"insert into {names.of_load(TABLES)} select ?, ?, current_timestamp() "  # noqa: S608
            f"where not exists (select 1 from {names.of_load(TABLES)} where table_name = ?)",
            [name, snapshot_id, name],
        )
    else:
        session.execute(
            f"update {names.of_load(TABLES)} set snapshot_id = ?, loaded_at = current_timestamp() "  # noqa: S608
            "where table_name = ? and snapshot_id = ?",
            [snapshot_id, name, had],
        )
    if session.changed != 1:
        raise DpipeError(
            f"another load of `{name}` came first", hint="run the command again, which goes on from there"
        )


def _delete(session: Session, names: Names, name: str, partitions: Iterable[str]) -> None:
    for partition in sorted(partitions):
        session.execute(f"delete from {names.table(name)} where {PARTITION} = ?", [partition])  # noqa: S608


def _copy(
    session: Session,
    names: Names,
    name: str,
    want: Sequence[Column],
    in_file: dict[int, str],
    files: Sequence[LakeFile],
) -> None:
    into = ", ".join([*(column(one.name) for one in want), PARTITION])
    # See `_place`.
    select = ", ".join([*columns.selected(want, in_file), "split_part(metadata$filename, '/', -2)"])
    root = f"@{names.stage}/{_folder(name)}/"
    for first in range(0, len(files), MOST_FILES):
        part = files[first : first + MOST_FILES]
        listed = ", ".join(text(f"{_place(file)}/{PurePosixPath(file.path).name}") for file in part)
        answer = session.execute(
            f"copy into {names.table(name)} ({into}) from (select {select} from {root}) files = ({listed}) "  # noqa: S608
            "file_format = (type = parquet use_logical_type = true binary_as_text = false) "
            "on_error = abort_statement force = true"
        )
        copied, expected = sum(int(row[3]) for row in answer), sum(file.rows for file in part)
        if copied != expected:
            raise DpipeError(
                f"Snowflake copied {copied:,} rows of files of `{name}` that have {expected:,}",
                hint="nothing was changed; run `dpipe audit verify`, then load again",
            )


def _note_files(
    session: Session, names: Names, name: str, had: dict[str, LakeFile], current: dict[str, LakeFile]
) -> None:
    gone = sorted(had.keys() - current.keys())
    for first in range(0, len(gone), MOST_FILES):
        part = gone[first : first + MOST_FILES]
        marks = ", ".join("?" * len(part))
        session.execute(
            f"delete from {names.of_load(FILES)} where table_name = ? and path in ({marks})",  # noqa: S608
            [name, *part],
        )
    new = [current[path] for path in sorted(current.keys() - had.keys())]
    session.insert(
        names.of_load(FILES), [(name, file.path, file.partition, file.rows, file.bytes) for file in new]
    )


def _hold_against(session: Session, names: Names, name: str, current: dict[str, LakeFile]) -> None:
    """The copy has as many rows in each partition as its files, or somebody else changed it."""
    counted = session.execute(f"select {PARTITION}, count(*) from {names.table(name)} group by 1")  # noqa: S608
    expected: dict[str, int] = defaultdict(int)
    for file in current.values():
        expected[file.partition] += file.rows
    found = {str(token): int(rows) for token, rows in counted}
    if found != {token: rows for token, rows in expected.items() if rows}:
        raise DpipeError(
            f"`{names.table(name)}` has {sum(found.values()):,} rows, its files {sum(expected.values()):,}",
            hint=f"somebody else changed the copy; `dpipe warehouse load --afresh {name}` makes it anew",
        )


def _clear_stage(session: Session, names: Names, name: str) -> None:
    session.execute(f"remove @{names.stage}/{_folder(name)}/")


def forget(session: Session, names: Names, name: str) -> None:
    """Drop a table's copy and what is said of it, so that the next load makes it anew."""
    with session.transaction():
        for table in (TABLES, FILES, COLUMNS):
            session.execute(f"delete from {names.of_load(table)} where table_name = ?", [name])  # noqa: S608
    session.execute(f"drop table if exists {names.table(name)}")
