"""The copy of one table of the lake in Snowflake, and the rows of `DPIPE_LOAD` that say what it has."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dpipe.contract.quality import quoted
from dpipe.errors import DpipeError
from dpipe.warehouse.snowflake import columns
from dpipe.warehouse.snowflake.columns import PARTITION, Column
from dpipe.warehouse.snowflake.delta import LakeFile
from dpipe.warehouse.snowflake.names import column, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from dpipe.warehouse.snowflake.names import Names
    from dpipe.warehouse.snowflake.session import Session

# The row of `LOADED_TABLES` that is no table's: Snowflake has an `update` wait for another one, but not an `insert`.
TURN = "*"
TABLES, FILES, COLUMNS = "LOADED_TABLES", "LOADED_FILES", "LOADED_COLUMNS"
# What `copy into … files = (…)` takes.
MOST_FILES = 1000


@dataclass(frozen=True)
class Loaded:
    """What a copy has: a snapshot and its files by path; None and none before the first load."""

    snapshot_id: int | None
    files: dict[str, LakeFile]


@dataclass(frozen=True)
class StagedFiles:
    """Files in the stage whose columns have the same names, by field id; each at its place below the table's folder."""

    column_names: Mapping[int, str]
    places: Sequence[str]
    rows: int


class TableCopy:
    """The copy of the table `<namespace>.<table>`. Its statements raise what `Session.execute` does."""

    def __init__(self, session: Session, names: Names, name: str) -> None:
        self.name = name
        self._session = session
        self._names = names
        self._table = names.table(name)
        self._stage = f"@{names.stage}/{name.replace('.', '/')}"

    def prepare(self, want: Sequence[Column]) -> None:
        """Make it, or have its columns be these: DDL, which is outside of every transaction."""
        namespace, _, bare = self.name.upper().partition(".")
        self._session.execute(f"create schema if not exists {self._names.lake}.{quoted(namespace)}")
        definitions = ", ".join([*(one.definition for one in want), f"{PARTITION} varchar"])
        self._session.execute(f"create table if not exists {self._table} ({definitions})")
        have = [
            Column(int(field_id), str(name), str(kind))
            for field_id, name, kind in self._noted(COLUMNS, "field_id, name, type")
        ]
        if set(have) == set(want):
            return
        there = self._session.execute(
            f"select column_name from {self._names.lake}.information_schema.columns "  # noqa: S608 - a name of ours
            "where table_schema = ? and table_name = ?",
            [namespace, bare],
        )
        for change in columns.changes(have or want, want, {str(row[0]) for row in there}):
            self._session.execute(f"alter table {self._table} {change}")
        with self._session.transaction():
            self._forget(COLUMNS)
            self._session.insert(
                self._names.of_load(COLUMNS), [(self.name, one.field_id, one.name, one.type) for one in want]
            )

    def loaded(self) -> Loaded:
        """What it has."""
        snapshots = self._noted(TABLES, "snapshot_id")
        files = [
            LakeFile(str(path), str(partition), int(rows), int(size))
            for path, partition, rows, size in self._noted(FILES, "path, partition_token, row_count, bytes")
        ]
        snapshot_id = int(snapshots[0][0]) if snapshots else None
        return Loaded(snapshot_id, {file.path: file for file in files})

    def put(self, path: Path, place: str) -> None:
        """Put a file into the stage, where `place` names its folder."""
        # The path is in quotes, in which the connector knows no escape.
        self._session.execute(
            f"put 'file://{path}' {self._stage}/{place}/ auto_compress = false overwrite = true"
        )

    def take_turn(self, had: int | None, snapshot_id: int) -> None:
        """Say what it is to have, if it still has what was looked at; a second load waits here, and is refused."""
        tables = self._names.of_load(TABLES)
        self._session.execute(
            f"update {tables} set loaded_at = current_timestamp() where table_name = ?",  # noqa: S608 - a name of ours
            [TURN],
        )
        if self._session.changed != 1:
            raise DpipeError(
                f"`{tables}` hasn't the row by which loads take turns",
                hint="`dpipe warehouse init --apply` makes it",
            )
        if had is None:
            self._session.execute(
                f"insert into {tables} select ?, ?, current_timestamp() "  # noqa: S608 - a name of ours
                f"where not exists (select 1 from {tables} where table_name = ?)",
                [self.name, snapshot_id, self.name],
            )
        else:
            self._session.execute(
                f"update {tables} set snapshot_id = ?, loaded_at = current_timestamp() "  # noqa: S608
                "where table_name = ? and snapshot_id = ?",
                [snapshot_id, self.name, had],
            )
        if self._session.changed != 1:
            raise DpipeError(
                f"another load of `{self.name}` came first",
                hint="run the command again, which goes on from there",
            )

    def delete(self, partitions: Iterable[str]) -> None:
        """Delete the rows that are from these partitions."""
        for partition in sorted(partitions):
            self._session.execute(f"delete from {self._table} where {PARTITION} = ?", [partition])  # noqa: S608

    def copy(self, want: Sequence[Column], staged: StagedFiles) -> None:
        """Copy staged files. Raises `DpipeError` when they come to other rows than they have."""
        into = ", ".join([*(column(one.name) for one in want), PARTITION])
        # The last folder of a file's place is its partition's token.
        partition = "split_part(metadata$filename, '/', -2)"
        select = ", ".join([*columns.selected(want, staged.column_names), partition])
        copied = 0
        for first in range(0, len(staged.places), MOST_FILES):
            listed = ", ".join(map(text, staged.places[first : first + MOST_FILES]))
            answer = self._session.execute(
                f"copy into {self._table} ({into}) from (select {select} from {self._stage}/) "  # noqa: S608
                f"files = ({listed}) "
                "file_format = (type = parquet use_logical_type = true binary_as_text = false) "
                "on_error = abort_statement force = true"
            )
            copied += sum(int(row[3]) for row in answer)
        if copied != staged.rows:
            raise DpipeError(
                f"Snowflake copied {copied:,} rows of files of `{self.name}` that have {staged.rows:,}",
                hint="nothing was changed; run `dpipe audit verify`, then load again",
            )

    def note_files(self, had: Mapping[str, LakeFile], current: Mapping[str, LakeFile]) -> None:
        """Say which files' rows it has."""
        gone = sorted(had.keys() - current.keys())
        for first in range(0, len(gone), MOST_FILES):
            part = gone[first : first + MOST_FILES]
            self._session.execute(
                f"delete from {self._names.of_load(FILES)} where table_name = ? "  # noqa: S608
                f"and path in ({', '.join('?' * len(part))})",
                [self.name, *part],
            )
        new = [current[path] for path in sorted(current.keys() - had.keys())]
        self._session.insert(
            self._names.of_load(FILES),
            [(self.name, file.path, file.partition, file.rows, file.bytes) for file in new],
        )

    def hold_against(self, current: Mapping[str, LakeFile]) -> None:
        """Raise `DpipeError` unless it has as many rows of each partition as the files: somebody else changed it."""
        counted = self._session.execute(f"select {PARTITION}, count(*) from {self._table} group by 1")  # noqa: S608
        found = {str(partition): int(rows) for partition, rows in counted}
        expected: dict[str, int] = defaultdict(int)
        for file in current.values():
            expected[file.partition] += file.rows
        if found != {partition: rows for partition, rows in expected.items() if rows}:
            raise DpipeError(
                f"`{self._table}` has {sum(found.values()):,} rows, its files {sum(expected.values()):,}",
                hint="somebody else changed the copy; "
                f"`dpipe warehouse load --afresh {self.name}` makes it anew",
            )

    def clear_stage(self) -> None:
        """Remove the files that were put."""
        self._session.execute(f"remove {self._stage}/")

    def drop(self) -> None:
        """Drop it and what is said of it, so that the next load makes it anew."""
        with self._session.transaction():
            for table in (TABLES, FILES, COLUMNS):
                self._forget(table)
        self._session.execute(f"drop table if exists {self._table}")

    def _noted(self, table: str, what: str) -> list[tuple[Any, ...]]:
        """What a table of `DPIPE_LOAD` says of it."""
        return self._session.execute(
            f"select {what} from {self._names.of_load(table)} where table_name = ?",  # noqa: S608 - names of ours
            [self.name],
        )

    def _forget(self, table: str) -> None:
        self._session.execute(f"delete from {self._names.of_load(table)} where table_name = ?", [self.name])  # noqa: S608
