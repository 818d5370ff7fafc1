"""Which nodes of a dbt project new batches ask for: what is made of their datasets, and what the base doesn't have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

BUILT = frozenset({"model", "seed", "snapshot"})
STORED = frozenset({"table", "incremental", "snapshot", "seed"})
# Of the lake: a table for each dataset.
BY_DATASET = frozenset({"raw", "quarantine"})
# The file's own: what a build takes in says nothing of what has changed.
META = "dpipe_meta"


def needed(manifest: Mapping[str, Any], datasets: Collection[str], there: Collection[str]) -> list[str]:
    """Names for dbt's `--select` of what is to be built and tested when just these datasets have new batches.

    `manifest` is dbt's, `there` are the tables (`<schema>.<table>`) that the build begins with. Views are always built,
    since what is published has none. Tests are of what is made of the datasets; they are to be selected by name only
    (`--indirect-selection empty`).
    """
    downstream = _downstream(manifest, datasets)
    return sorted(
        ".".join(node["fqn"])
        for name, node in manifest["nodes"].items()
        if (node["resource_type"] in BUILT and (name in downstream or not _is_there(node, there)))
        or (node["resource_type"] == "test" and not downstream.isdisjoint(node["depends_on"]["nodes"]))
    )


def _downstream(manifest: Mapping[str, Any], datasets: Collection[str]) -> set[str]:
    """What is made of the datasets, whatever lies between. A source that is none's may have changed."""
    waiting = [
        name
        for name, source in manifest["sources"].items()
        if source["schema"] != META
        and (source["schema"] not in BY_DATASET or source["identifier"] in datasets)
    ]
    found: set[str] = set()
    while waiting:
        for child in manifest["child_map"].get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def _is_there(node: Mapping[str, Any], there: Collection[str]) -> bool:
    return (
        node["config"]["materialized"] in STORED
        and f"{node['schema']}.{node.get('alias') or node['name']}" in there
    )
