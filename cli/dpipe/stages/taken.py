"""Values of unique columns that are taken, for records that are judged before the kernel takes them up.

The kernel has the last word: what is let pass here it holds to the rows that are there when it comes to it.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dpipe.iceberg.existing import ExistingRows
from dpipe.iceberg.schema import RECORD_NO

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from dpipe.contract import Plan

Key = tuple[Any, ...]


class TakenValues:
    """Who has which value: the rows of a table as loaded, and the records that were let pass since.

    A row with the key of the record that asks is not in its way: then it is the key that decides.
    """

    def __init__(self, table: Table | None, plan: Plan) -> None:
        self._table = table
        self._plan = plan
        self._passed: dict[str, dict[Any, list[Key]]] = {name: defaultdict(list) for name in plan.unique}

    def broken(self, rows: pa.Table) -> dict[int, list[str]]:
        """The unique columns that rows of the plan break, by record number; what the others have is taken then."""
        if not self._plan.unique or not rows.num_rows:
            return {}
        keys = _keys(rows, self._plan)
        values = {name: rows[name].to_pylist() for name in self._plan.unique}
        holders = {name: self._holders(name, rows[name]) for name in self._plan.unique}
        broken: dict[int, list[str]] = {}
        for at, number in enumerate(rows[RECORD_NO].to_pylist()):
            given = {name: values[name][at] for name in self._plan.unique if values[name][at] is not None}
            own = keys[at]
            others = [
                name
                for name, value in given.items()
                if any(not own or key != own for key in (*holders[name][value], *self._passed[name][value]))
            ]
            if others:
                broken[number] = others
                continue
            for name, value in given.items():
                self._passed[name][value].append(own)
        return broken

    def _holders(self, name: str, asked: pa.ChunkedArray) -> dict[Any, list[Key]]:
        """The keys of the table's rows with one of these values, by value."""
        found: dict[Any, list[Key]] = defaultdict(list)
        if self._rows is not None:
            rows = self._rows.filter(pc.is_in(self._rows[name], value_set=pc.unique(asked), skip_nulls=True))
            for value, key in zip(rows[name].to_pylist(), _keys(rows, self._plan), strict=True):
                found[value].append(key)
        return found

    @cached_property
    def _rows(self) -> pa.Table | None:
        """The table's unique columns and keys."""
        if self._table is None:
            return None
        names = tuple(dict.fromkeys((*self._plan.unique, *self._plan.key)))
        parts = [
            reader.read_all().select(names) for reader in ExistingRows(self._table, self._plan).values(names)
        ]
        return pa.concat_tables(parts) if parts else None


def _keys(rows: pa.Table, plan: Plan) -> list[Key]:
    if not plan.key:
        return [()] * rows.num_rows
    return list(zip(*(rows[name].to_pylist() for name in plan.key), strict=True))
