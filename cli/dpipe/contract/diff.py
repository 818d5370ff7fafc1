"""What distinguishes two contracts, and whom it breaks."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpipe.contract.contract import Contract
    from dpipe.contract.plan import Column, Plan, Rule
    from dpipe.contract.quality import QualityRule

Effect = Literal["breaking", "widening", "documentation"]
Stage = Literal["records", "table", "gate", "readers"]
Part = Literal["major", "minor", "patch"]

_LOWER_BOUNDS = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems"})
_UPPER_BOUNDS = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems"})
_PARTS: dict[Effect, Part] = {"breaking": "major", "widening": "minor", "documentation": "patch"}
_VERSION = re.compile(r"v?([0-9]+)\.([0-9]+)\.([0-9]+)(?:[-+].*)?")


@dataclass(frozen=True)
class Difference:
    """One difference: `breaking` when records, batches or readers that were fine are not any more.

    `widening` lets in what was kept out, or adds what nobody has to use. `where` is a column's path, or the dataset;
    `stages` are those that notice: the `records` that the kernel judges, the `table`, the `gate`, or its `readers`.
    """

    effect: Effect
    where: str
    text: str
    stages: tuple[Stage, ...]


def diff(old: Contract, new: Contract) -> list[Difference]:
    """Everything that distinguishes the two, what breaks first; nothing when they are the same but for layout."""
    found = [*_plans(old.plan, new.plan), *_batch_rules(old, new)]
    if not found and old.canonical != new.canonical:
        found.append(
            Difference("documentation", new.dataset, "its words changed, nothing that is enforced", ())
        )
    order: list[Effect] = ["breaking", "widening", "documentation"]
    return sorted(found, key=lambda one: (order.index(one.effect), one.where, one.text))


def asked_version(old: Contract, differences: list[Difference]) -> str | None:
    """The least version that the differences ask for by semantic versioning.

    None when there are none, or the old version isn't `major.minor.patch`.
    """
    version = _VERSION.fullmatch(old.version)
    if version is None or not differences:
        return None
    major, minor, patch = (int(part) for part in version.groups())
    part = _PARTS[differences[0].effect]
    if part == "major":
        return f"{major + 1}.0.0"
    return f"{major}.{minor + 1}.0" if part == "minor" else f"{major}.{minor}.{patch + 1}"


def is_enough(version: str, asked: str) -> bool:
    """Whether a version is the asked one or later; False when it is no `major.minor.patch`."""
    given, least = _VERSION.fullmatch(version), _VERSION.fullmatch(asked)
    return bool(given and least) and _numbers(given) >= _numbers(least)


def _numbers(version: re.Match[str] | None) -> list[int]:
    return [int(part) for part in version.groups()] if version else []


def _plans(old: Plan, new: Plan) -> Iterator[Difference]:
    before = {column.name: column for column in old.columns}
    now = {column.name: column for column in new.columns}
    renames = new.renames(before.keys())
    for name in before.keys() - now.keys() - set(renames.values()):
        yield Difference("breaking", name, f"column `{name}` is gone", ("table", "readers"))
    for name, column in now.items():
        earlier = before.get(renames.get(name) or name)
        if name in renames:
            text = f"column `{renames[name]}` is called `{name}`"
            yield Difference("breaking", name, text, ("records", "table", "readers"))
        if earlier is None:
            yield from _added(column, name)
        else:
            yield from _columns(earlier, column, name)
    yield from _layout(old, new, renames)


def _added(column: Column, path: str) -> Iterator[Difference]:
    text = f"column `{path}` of type {column.type_name} is new"
    if column.required:
        yield Difference("breaking", path, f"{text} and required", ("records", "table"))
    else:
        yield Difference("widening", path, text, ("table",))


def _columns(old: Column, new: Column, path: str) -> Iterator[Difference]:
    if old.kind != new.kind or (old.precision, old.scale) != (new.precision, new.scale):
        effect: Effect = "widening" if _is_wider(old, new) else "breaking"
        text = f"`{path}` is {new.type_name}, and was {old.type_name}"
        yield Difference(effect, path, text, ("records", "table", "readers"))
    if new.required and not old.required:
        yield Difference("breaking", path, f"`{path}` is required", ("records",))
    if old.required and not new.required:
        yield Difference("widening", path, f"`{path}` may be null", ("records", "table", "readers"))
    if old.formats != new.formats or old.default_offset != new.default_offset:
        more = (
            set(old.formats) <= set(new.formats)
            and bool(old.formats)
            and old.default_offset == new.default_offset
        )
        text = f"`{path}` is spelt otherwise: {', '.join(new.formats) or 'ISO 8601'}"
        yield Difference("widening" if more else "breaking", path, text, ("records",))
    if old.kind == new.kind:
        yield from _rules(old, new, path)
        yield from _parts(old, new, path)
    if old.description != new.description:
        yield Difference("documentation", path, f"`{path}` is described otherwise", ("table",))


def _is_wider(old: Column, new: Column) -> bool:
    if (old.kind, new.kind) == ("int32", "int64"):
        return True
    both = old.kind == new.kind == "decimal"
    return both and old.scale == new.scale and old.precision < new.precision


def _parts(old: Column, new: Column, path: str) -> Iterator[Difference]:
    """What is in an object or an array."""
    before = {part.name: part for part in old.fields}
    now = {part.name: part for part in new.fields}

    def inner(name: str) -> str:
        return f"{path}[]" if new.kind == "list" else f"{path}.{name}"

    for name in before.keys() - now.keys():
        yield Difference("breaking", inner(name), f"`{inner(name)}` is gone", ("table", "readers"))
    for name, part in now.items():
        if name in before:
            yield from _columns(before[name], part, inner(name))
        else:
            yield from _added(part, inner(name))


def _rules(old: Column, new: Column, path: str) -> Iterator[Difference]:
    before = {rule.rule: rule for rule in old.rules}
    now = {rule.rule: rule for rule in new.rules}
    for name, rule in before.items():
        if name not in now:
            text = f"`{path}` is no longer held to: {rule.describe()}"
            yield Difference("widening", path, text, ("records",))
    for name, rule in now.items():
        earlier = before.get(name)
        if earlier is None:
            yield Difference("breaking", path, f"`{path}` is held to: {rule.describe()}", ("records",))
        elif earlier != rule:
            effect: Effect = "widening" if _is_looser(earlier, rule) else "breaking"
            text = f"`{path}` is held to: {rule.describe()}; it was: {earlier.describe()}"
            yield Difference(effect, path, text, ("records",))


def _is_looser(old: Rule, new: Rule) -> bool:
    """Whether all values that the old rule lets pass pass the new one; False where that can't be told."""
    before: Any = _ordered(old.value)
    now: Any = _ordered(new.value)
    if isinstance(before, tuple) and isinstance(now, tuple):
        return set(before) <= set(now)
    if old.rule in _LOWER_BOUNDS:
        return bool(now <= before)
    if old.rule in _UPPER_BOUNDS:
        return bool(now >= before)
    return False


def _ordered(value: object) -> object:
    """Limits of one column in a form that compares: numbers, or ISO 8601 texts."""
    return Decimal(str(value)) if isinstance(value, int | float) else value


def _layout(old: Plan, new: Plan, renames: dict[str, str]) -> Iterator[Difference]:
    def as_before(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(renames.get(name, name) for name in names)

    dataset = new.dataset
    if old.key != as_before(new.key):
        text = f"the key is {', '.join(new.key) or 'none'}, and was {', '.join(old.key) or 'none'}"
        yield Difference("breaking", dataset, text, ("records", "readers"))
    yield from _unique(old, new, renames)
    yield from _comparisons(old, new, renames)
    before = [(part.column, part.transform) for part in old.partition]
    if before != [(renames.get(part.column, part.column), part.transform) for part in new.partition]:
        yield Difference("breaking", dataset, "the table is partitioned otherwise", ("table",))
    if old.unknown_fields != new.unknown_fields:
        effect: Effect = "breaking" if new.unknown_fields == "reject" else "widening"
        text = f"a field that the contract doesn't know: {new.unknown_fields}"
        yield Difference(effect, dataset, text, ("records",))
    if old.write_mode != new.write_mode:
        text = f"the write mode is {new.write_mode}, and was {old.write_mode}"
        yield Difference("breaking", dataset, text, ("records", "readers"))
    if old.version != (renames.get(new.version, new.version) if new.version else None):
        text = f"of two records with one key {_newer(new.version)} wins, and {_newer(old.version)} did"
        yield Difference("breaking", dataset, text, ("records",))
    positions = (
        [column.name for column in old.columns],
        [renames.get(column.name, column.name) for column in new.columns],
    )
    if not new.csv.header and [name for name in positions[0] if name in positions[1]] != [
        name for name in positions[1] if name in positions[0]
    ]:
        yield Difference(
            "breaking", dataset, "columns of CSV without a header come in another order", ("records",)
        )
    if old.csv != new.csv:
        yield Difference("breaking", dataset, "CSV reads otherwise", ("records",))
    if old.max_record_bytes != new.max_record_bytes:
        effect = "widening" if new.max_record_bytes > old.max_record_bytes else "breaking"
        yield Difference(
            effect, dataset, f"a record has at most {new.max_record_bytes:,} bytes", ("records",)
        )


def _unique(old: Plan, new: Plan, renames: dict[str, str]) -> Iterator[Difference]:
    """A column that is or was the whole key is told of with the key."""
    before = {*old.unique, *old.key} if len(old.key) == 1 else {*old.unique}
    now = {*new.unique, *new.key} if len(new.key) == 1 else {*new.unique}
    for name in new.unique:
        if renames.get(name, name) not in before:
            yield Difference("breaking", name, f"no two rows may have one `{name}`", ("records",))
    kept = {renames.get(name, name) for name in now}
    for name in old.unique:
        if name not in kept:
            yield Difference("widening", name, f"two rows may have one `{name}`", ("records", "readers"))


def _comparisons(old: Plan, new: Plan, renames: dict[str, str]) -> Iterator[Difference]:
    """Rules over two columns; one that is only called otherwise holds as it did."""
    before = {rule.asks: rule for rule in old.comparisons}
    now = {
        replace(
            rule, left=renames.get(rule.left, rule.left), right=renames.get(rule.right, rule.right)
        ).asks: rule
        for rule in new.comparisons
    }
    for asks, rule in before.items():
        if asks not in now:
            text = f"records are no longer held to: {rule.describe()}"
            yield Difference("widening", new.dataset, text, ("records", "readers"))
    for asks, rule in now.items():
        if asks not in before:
            text = f"records are held to: {rule.describe()}"
            yield Difference("breaking", new.dataset, text, ("records",))


def _newer(version: str | None) -> str:
    return f"the one with the larger `{version}`" if version else "the later one"


def _batch_rules(old: Contract, new: Contract) -> Iterator[Difference]:
    before = {rule.name: rule for rule in old.quality}
    now = {rule.name: rule for rule in new.quality}
    for name in before.keys() - now.keys():
        text = f"batches are no longer held to: {before[name].describe()}"
        yield Difference(_weight("widening", before[name]), new.dataset, text, ("gate",))
    for name, rule in now.items():
        earlier = before.get(name)
        if earlier is None or _asks(earlier) != _asks(rule):
            was = f"; it was: {earlier.severity}: {earlier.describe()}" if earlier else ""
            text = f"batches are held to: {rule.severity}: {rule.describe()}{was}"
            eased = earlier is not None and (earlier.severity, rule.severity) == ("error", "warning")
            yield Difference(_weight("widening" if eased else "breaking", rule), new.dataset, text, ("gate",))


def _weight(effect: Effect, rule: QualityRule) -> Effect:
    """A warning refuses nothing, so that no change of one breaks anything."""
    return effect if rule.severity == "error" or effect == "widening" else "documentation"


def _asks(rule: QualityRule) -> tuple[object, ...]:
    return (
        rule.severity,
        rule.metric,
        rule.operator,
        rule.thresholds,
        rule.columns,
        rule.unit,
        rule.values,
        rule.pattern,
    )
