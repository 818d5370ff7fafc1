"""Tables and columns, what each is made of, and the ways up to its sources and down to its uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from dpipe.contract.findings import did_you_mean
from dpipe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

# `source` is what feeds landing, `copy` a table of the lake in a warehouse that can't read the lake, `external` a table
# that dbt reads and dpipe doesn't make; then dbt's own.
Kind = Literal["source", "landing", "raw", "quarantine", "copy", "external", "seed", "view", "table"]
How = Literal["identity", "transformation", "aggregation"]


@dataclass(frozen=True)
class Column:
    """A column as its table has it; `type` is empty where nobody says it."""

    name: str
    type: str = ""
    description: str = ""
    fields: tuple[Column, ...] = ()


@dataclass(frozen=True)
class Table:
    """A dataset on the way: `name` is what users call it, `columns` None where they aren't known."""

    name: str
    kind: Kind
    columns: tuple[Column, ...] | None = None
    description: str = ""

    def called(self, column: str) -> str | None:
        """Its column of this name, or of one that differs in case only; None without one."""
        names = [own.name for own in self.columns or ()]
        exact = [name for name in names if name == column]
        return next((name for name in exact or names if name.lower() == column.lower()), None)


@dataclass(frozen=True, order=True)
class Place:
    """A table, or one column of it."""

    table: str
    column: str | None = None

    def __str__(self) -> str:
        return self.table if self.column is None else f"{self.table}.{self.column}"


@dataclass(frozen=True)
class Origin:
    """What a column is made of, and how: as it is, computed from it, or over many rows; `masked` behind a hash."""

    place: Place
    how: How = "identity"
    masked: bool = False


@dataclass(frozen=True)
class Edge:
    """One step of the way from a source to its use; `how` is None between tables."""

    source: Place
    target: Place
    how: How | None = None
    masked: bool = False


@dataclass
class Graph:
    """Tables by name, the tables that each is made of, and the origins of each column that has any.

    `rows` has, by table, the columns that decide which rows it has: those it joins, filters and groups by, each with
    which of these. `notes` say what isn't known, and why.
    """

    tables: dict[str, Table] = field(default_factory=dict)
    parents: dict[str, list[str]] = field(default_factory=dict)
    origins: dict[Place, list[Origin]] = field(default_factory=dict)
    rows: dict[str, dict[Place, set[str]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, table: Table, *parents: str) -> None:
        """Add a table, or one more parent of it."""
        self.tables.setdefault(table.name, table)
        known = self.parents.setdefault(table.name, [])
        known += [name for name in parents if name not in known]

    def forget_unused(self, names: Collection[str]) -> None:
        """Leave out those of these tables that nothing is made of."""
        used = {parent for parents in self.parents.values() for parent in parents}
        for name in set(names) - used:
            del self.tables[name], self.parents[name]

    def find(self, name: str) -> Place:
        """The table or column that a user means: `marts.fct_flights.carrier_code`, or without the schema.

        Raises `UsageError` when there is none, or several.
        """
        found = self._called(name)
        if found:
            return Place(found)
        table_name, _, column = name.rpartition(".")
        table = self._called(table_name) if table_name else None
        if table is None:
            raise UsageError(f"no table or column `{name}`", hint=did_you_mean(name, sorted(self.tables)))
        own = self.tables[table].called(column)
        if own is None:
            names = [own.name for own in self.tables[table].columns or ()]
            raise UsageError(f"`{table}` has no column `{column}`", hint=did_you_mean(column, names))
        return Place(table, own)

    def _called(self, name: str) -> str | None:
        """The table with this name, whole or without what is before its last point."""
        if name in self.tables:
            return name
        short = [full for full in self.tables if full.endswith(f".{name}")]
        if len(short) > 1:
            raise UsageError(f"`{name}` is one of several tables", hint=f"write one of: {', '.join(short)}")
        return short[0] if short else None

    def above(self, place: Place) -> list[Edge]:
        """The steps that end at it."""
        if place.column is None:
            return [Edge(Place(name), place) for name in self.parents.get(place.table, ())]
        found = [
            Edge(one.place, place, one.how, one.masked)
            for one in sorted(self.origins.get(place, ()), key=_by_place)
        ]
        # What lands is bytes: a field of it comes from whatever the table comes from.
        return found or [
            Edge(Place(name), place)
            for name in self.parents.get(place.table, ())
            if self.tables[place.table].kind == "landing"
        ]

    def _uses(self) -> Mapping[Place, list[Edge]]:
        """The steps that begin at each table and column."""
        uses: dict[Place, list[Edge]] = {}
        targets = [Place(name) for name in self.parents] + sorted(self.origins)
        targets += [
            place
            for name, table in self.tables.items()
            if table.kind == "landing"
            for column in table.columns or ()
            if (place := Place(name, column.name)) not in self.origins
        ]
        for target in targets:
            for edge in self.above(target):
                uses.setdefault(edge.source, []).append(edge)
        return uses

    def up(self, start: Place, depth: int | None = None) -> list[Edge]:
        """Every step on the ways to it from its sources, each once, the nearest first; `depth` steps far at most."""
        return list(_walk(start, self.above, lambda edge: edge.source, depth))

    def down(self, start: Place, depth: int | None = None) -> list[Edge]:
        """Every step on the ways from it, each once, the nearest first; `depth` steps far at most."""
        uses = self._uses()
        return list(_walk(start, lambda place: uses.get(place, []), lambda edge: edge.target, depth))

    def edges(self) -> list[Edge]:
        """The steps between tables, all of them."""
        return [edge for name in self.tables for edge in self.above(Place(name))]


def _by_place(origin: Origin) -> Place:
    return origin.place


def _walk(
    start: Place, steps: Callable[[Place], list[Edge]], far: Callable[[Edge], Place], depth: int | None
) -> Iterator[Edge]:
    seen, queue = {start}, [(start, 0)]
    while queue:
        place, steps_far = queue.pop(0)
        if depth is not None and steps_far >= depth:
            continue
        for edge in steps(place):
            yield edge
            if far(edge) not in seen:
                seen.add(far(edge))
                queue.append((far(edge), steps_far + 1))
