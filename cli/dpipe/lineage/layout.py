"""Where the boxes of a graph go: ranks from left to right, and lanes for the lines between them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

SWEEPS = 6


def laid_out(
    names: Iterable[str], joined: Collection[tuple[str, str]]
) -> tuple[dict[tuple[str, str], list[str]], list[list[str]]]:
    """Ranks of names from left to right, and the way of each line by names and by lanes in the ranks between.

    A name is right of all that it is made of, and as far right as its uses allow when nothing is left of it.
    """
    ranks = _ranks(list(names), joined)
    layers: list[list[str]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for name, rank in ranks.items():
        layers[rank].append(name)
    ways: dict[tuple[str, str], list[str]] = {}
    above: dict[str, list[str]] = {name: [] for name in ranks}
    below: dict[str, list[str]] = {name: [] for name in ranks}
    for source, target in sorted(joined):
        lanes = [f"{source}\0{target}\0{rank}" for rank in range(ranks[source] + 1, ranks[target])]
        for rank, lane in enumerate(lanes, ranks[source] + 1):
            layers[rank].append(lane)
        way = ways[source, target] = [source, *lanes, target]
        for near, far in pairwise(way):
            above.setdefault(far, []).append(near)
            below.setdefault(near, []).append(far)
    _untangle(layers, above, below)
    return ways, layers


def _ranks(names: Sequence[str], joined: Collection[tuple[str, str]]) -> dict[str, int]:
    above: dict[str, list[str]] = {name: [] for name in names}
    below: dict[str, list[str]] = {name: [] for name in names}
    for source, target in sorted(joined):
        above[target].append(source)
        below[source].append(target)
    ranks: dict[str, int] = dict.fromkeys(names, 0)
    for _ in names:  # as many rounds as the longest way has steps, at most
        before = dict(ranks)
        for name in names:
            ranks[name] = max((ranks[one] + 1 for one in above[name]), default=0)
        if ranks == before:
            break
    for name in names:
        if not above[name] and below[name]:
            ranks[name] = min(ranks[one] for one in below[name]) - 1
    return ranks


def _untangle(
    layers: Sequence[list[str]], above: Mapping[str, Sequence[str]], below: Mapping[str, Sequence[str]]
) -> None:
    """Bring each rank into an order with few crossings: by the mean place of what it is joined with, to and fro."""
    for sweep in range(SWEEPS):
        neighbours, order = (above, layers[1:]) if sweep % 2 == 0 else (below, layers[-2::-1])
        for layer in order:
            at = {name: place / max(len(other), 1) for other in layers for place, name in enumerate(other)}
            weights = {}
            for name in layer:
                joined = neighbours.get(name) or [name]
                weights[name] = sum(at[one] for one in joined) / len(joined)
            layer.sort(key=weights.__getitem__)
