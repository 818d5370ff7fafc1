"""Which columns each column of a query is made of, from its SQL (sqlglot).

A column reference is followed through subqueries, common table expressions and set operations to the tables that the
query names. `select *` needs the columns of those tables.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dpipe.lineage.graph import How

# Database, schema and name, in lower case.
Relation = tuple[str, str, str]
Source = tuple[Relation, str]

_ORDER: tuple[How, ...] = ("identity", "transformation", "aggregation")
_HASHES = (exp.MD5, exp.MD5Digest, exp.SHA, exp.SHA2)


@dataclass(frozen=True)
class Made:
    """How a value is made of a source's column."""

    how: How = "identity"
    masked: bool = False

    def of(self, inner: Made) -> Made:
        """How it is made of what the source is made of."""
        return Made(max(self.how, inner.how, key=_ORDER.index), self.masked or inner.masked)

    def beside(self, other: Made) -> Made:
        """Both at once: the more that is done to it counts; masked only when every way is."""
        return Made(max(self.how, other.how, key=_ORDER.index), self.masked and other.masked)


@dataclass
class Traced:
    """A query's columns with their sources, and the columns that decide on its rows: by join, filter or group.

    `is_whole` is false when a `*` couldn't be resolved.
    """

    columns: dict[str, dict[Source, Made]] = field(default_factory=dict)
    rows: dict[Source, set[str]] = field(default_factory=dict)
    is_whole: bool = True


def trace(sql: str, schema: Mapping[Relation, Iterable[str]], *, dialect: str) -> Traced | None:
    """Where the columns of a `select` come from; None when it can't be read."""
    nested: dict[str, Any] = {}
    for (database, namespace, name), columns in schema.items():
        of_namespace = nested.setdefault(database, {}).setdefault(namespace, {})
        of_namespace[name] = dict.fromkeys(columns, "unknown")
    try:
        query = qualify(
            parse_one(sql, dialect=dialect),
            schema=nested,
            dialect=dialect,
            validate_qualify_columns=False,
            quote_identifiers=False,
        )
        root = build_scope(query)
    except (SqlglotError, RecursionError):
        return None
    return None if root is None else _Tracer(root).traced()


class _Tracer:
    """Follows references through the scopes of one query; what it has found once it keeps."""

    def __init__(self, root: Scope) -> None:
        self._root = root
        self._scopes = list(root.traverse())
        self._of_select = {id(scope.expression): scope for scope in self._scopes}
        self._known: dict[tuple[int, str], dict[Source, Made]] = {}

    def traced(self) -> Traced:
        found = Traced()
        for name in _names(self._root.expression):
            if name == "*":
                found.is_whole = False
            else:
                found.columns[name] = self._column(self._root, name)
        for scope in self._scopes:
            for what, expression in _deciding(scope.expression):
                for source in self._sources(expression, scope):
                    found.rows.setdefault(source, set()).add(what)
        return found

    def _column(self, scope: Scope, name: str) -> dict[Source, Made]:
        """The sources of a scope's output column."""
        key = (id(scope), name)
        if key not in self._known:
            self._known[key] = {}  # a recursive query meets itself here
            self._known[key] = self._computed(scope, name)
        return self._known[key]

    def _computed(self, scope: Scope, name: str) -> dict[Source, Made]:
        expression = scope.expression
        if isinstance(expression, exp.SetOperation):
            return self._of_branches(scope, name)
        if isinstance(expression, exp.Select):
            found = next((one for one in expression.selects if one.alias_or_name == name), None)
            return {} if found is None else self._sources(found, scope)
        # A table function such as `unnest`: whatever goes in comes out.
        return {
            source: Made("transformation").of(made)
            for source, made in self._sources(expression, scope).items()
        }

    def _of_branches(self, scope: Scope, name: str) -> dict[Source, Made]:
        """A set operation's columns are matched by their order, and named by the first branch."""
        names = _names(scope.expression)
        found: dict[Source, Made] = {}
        for branch in scope.set_operation_scopes:
            own = _names(branch.expression)
            position = names.index(name) if name in names else -1
            if 0 <= position < len(own):
                _merge(found, self._column(branch, own[position]))
        return found

    def _sources(self, expression: exp.Expr, scope: Scope) -> dict[Source, Made]:
        """The sources of every column that an expression names, in it and in its subqueries."""
        found: dict[Source, Made] = {}
        for column in expression.find_all(exp.Column):
            made = _made(column, expression)
            inner = self._reference(column, self._scope_of(column, scope))
            _merge(found, {source: made.of(one) for source, one in inner.items()})
        return found

    def _scope_of(self, column: exp.Column, default: Scope) -> Scope:
        select = column.find_ancestor(exp.Select)
        return self._of_select.get(id(select), default)

    def _reference(self, column: exp.Column, scope: Scope) -> dict[Source, Made]:
        inside: Scope | None = scope
        while inside is not None:
            source: Any = inside.sources.get(column.table)
            if isinstance(source, Scope):
                return self._column(source, column.name)
            if isinstance(source, exp.Table):
                if not isinstance(source.this, exp.Identifier):
                    return {}  # a table function such as `generate_series`
                relation = (source.catalog.lower(), source.db.lower(), source.name.lower())
                return {(relation, column.name): Made()}
            inside = inside.parent  # a subquery may name what is around it
        return {}


def _names(expression: exp.Expr) -> list[str]:
    return list(getattr(expression, "named_selects", ()))


def _deciding(expression: exp.Expr) -> Iterable[tuple[str, exp.Expr]]:
    """The parts of a `select` that decide which rows there are."""
    for what, key in (
        ("FILTER", "where"),
        ("FILTER", "having"),
        ("FILTER", "qualify"),
        ("GROUP_BY", "group"),
    ):
        part = expression.args.get(key)
        if part is not None:
            yield what, part
    for join in expression.args.get("joins") or ():
        condition = join.args.get("on")
        if condition is not None:
            yield "JOIN", condition


def _made(column: exp.Column, whole: exp.Expr) -> Made:
    """What the expressions around a column do to it."""
    how: How = "identity"
    masked = False
    node: exp.Expr | None = column
    while node is not None and node is not whole:
        node = node.parent
        if isinstance(node, (exp.Alias, exp.Paren)):
            continue
        how = "aggregation" if isinstance(node, exp.AggFunc) or how == "aggregation" else "transformation"
        masked = masked or isinstance(node, _HASHES)
    return Made(how, masked)


def _merge(into: dict[Source, Made], more: Mapping[Source, Made]) -> None:
    for source, made in more.items():
        into[source] = into[source].beside(made) if source in into else made
