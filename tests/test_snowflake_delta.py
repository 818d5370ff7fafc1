"""What is loaded into Snowflake of a table's files: the copy has the snapshot's rows, whatever happened between."""

from __future__ import annotations

import random

import pytest
from dpipe.warehouse.snowflake.delta import Change, LakeFile, delta

PARTITIONS = ("p", "q", "r")


class Table:
    """A table whose files hold numbered rows, and what each of its snapshots did."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.rows_of: dict[str, set[int]] = {}
        self.current: dict[str, LakeFile] = {}
        self.changes: list[Change] = []
        self.next = 0

    def step(self) -> None:
        do = self.rng.choice([self.append, self.append, self.compact, self.upsert, self.overwrite, self.move])
        do()

    def append(self) -> None:
        self._commit([self._file(self.rng.choice(PARTITIONS), self._new_rows()) for _ in range(2)], [])

    def compact(self) -> None:
        """Some files of each of some partitions become one or two, with the same rows."""
        added, removed = [], []
        for partition in self.rng.sample(PARTITIONS, 2):
            files = self._some(partition)
            if files:
                rows = sorted(set().union(*(self.rows_of[file.path] for file in files)))
                cut = self.rng.randint(1, len(rows)) if rows else 0
                added += [self._file(partition, set(part)) for part in (rows[:cut], rows[cut:]) if part]
                removed += files
        self._commit(added, removed, same_rows=True)

    def upsert(self) -> None:
        """A file is written anew without some of its rows, beside others."""
        partition = self.rng.choice(PARTITIONS)
        removed = self._some(partition)[:1]
        kept = {row for file in removed for row in self.rows_of[file.path] if self.rng.random() < 0.5}
        self._commit([self._file(partition, rows) for rows in (kept, self._new_rows()) if rows], removed)

    def overwrite(self) -> None:
        partition = self.rng.choice(PARTITIONS)
        removed = [file for file in self.current.values() if file.partition == partition]
        self._commit([self._file(partition, self._new_rows())], removed)

    def move(self) -> None:
        """Another tool writes files anew into other partitions, and says that rows are the same."""
        removed = self._some(self.rng.choice(PARTITIONS))
        rows = set[int]().union(*(self.rows_of[file.path] for file in removed))
        if rows:
            self._commit([self._file(self.rng.choice(PARTITIONS), rows)], removed, same_rows=True)

    def rows(self) -> set[int]:
        return set[int]().union(*(self.rows_of[path] for path in self.current))

    def _some(self, partition: str) -> list[LakeFile]:
        files = [file for file in self.current.values() if file.partition == partition]
        return self.rng.sample(files, self.rng.randint(0, len(files)))

    def _new_rows(self) -> set[int]:
        count = self.rng.randint(1, 3)
        self.next += count
        return set(range(self.next - count, self.next))

    def _file(self, partition: str, rows: set[int]) -> LakeFile:
        path = f"file-{len(self.rows_of)}"
        self.rows_of[path] = rows
        return LakeFile(path, partition, len(rows), 10 * len(rows))

    def _commit(self, added: list[LakeFile], removed: list[LakeFile], *, same_rows: bool = False) -> None:
        for file in removed:
            del self.current[file.path]
        self.current.update((file.path, file) for file in added)
        self.changes.append(Change(added, removed, same_rows))


@pytest.mark.parametrize("history_is_kept", [True, False])
@pytest.mark.parametrize("seed", range(300))
def test_a_copy_has_each_row_of_the_snapshot_once(seed: int, history_is_kept: bool) -> None:
    rng = random.Random(seed)
    table = Table(rng)
    copy: list[tuple[str, int]] = []
    loaded: dict[str, LakeFile] = {}
    seen = 0
    for _ in range(6):
        for _ in range(rng.randint(0, 4)):
            table.step()
        forgets = not history_is_kept and rng.random() < 0.5
        found = delta(loaded, table.current, None if forgets else table.changes[seen:])
        copy = [(partition, row) for partition, row in copy if partition not in found.reload]
        copy += [(file.partition, row) for file in found.copy for row in table.rows_of[file.path]]
        loaded, seen = dict(table.current), len(table.changes)
        assert sorted(row for _, row in copy) == sorted(table.rows())


def test_a_compaction_of_loaded_files_copies_nothing() -> None:
    before = [LakeFile("a", "p", 1, 10), LakeFile("b", "p", 1, 10)]
    after = LakeFile("c", "p", 2, 20)
    found = delta(
        {file.path: file for file in before}, {"c": after}, [Change([after], before, same_rows=True)]
    )
    assert (found.reload, found.copy) == (frozenset(), ())


def test_an_append_copies_its_files_and_nothing_else() -> None:
    old, new = LakeFile("a", "p", 1, 10), LakeFile("b", "p", 1, 10)
    found = delta({"a": old}, {"a": old, "b": new}, [Change([new], [], same_rows=False)])
    assert (found.reload, found.copy) == (frozenset(), (new,))


def test_a_partition_whose_rows_were_replaced_is_loaded_anew_and_others_are_left() -> None:
    kept, other, old, new = (
        LakeFile(path, partition, 1, 10)
        for path, partition in (("a", "p"), ("b", "q"), ("c", "p"), ("d", "p"))
    )
    found = delta(
        {file.path: file for file in (kept, other, old)},
        {file.path: file for file in (kept, other, new)},
        [Change([new], [old], same_rows=False)],
    )
    assert (found.reload, found.copy) == (frozenset({"p"}), (kept, new))
