"""A build that failed, and what is left of it to do: kept beside the build, so that it can be gone on with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from dpipe.errors import UsageError
from dpipe.folders import replace_text
from dpipe.warehouse.batches import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dpipe.warehouse.build_folder import BuildFolder
    from dpipe.warehouse.dbt_results import DbtReport

NOT_DONE = ("error", "runtime error", "partial success", "fail", "skipped")
# A change of any other file, such as a macro's, may be one of every model.
MENDABLE = ("models", "tests")
AFRESH = "run `dpipe transform` without `--retry`"


@dataclass(frozen=True)
class Node:
    """A node of dbt's: its name, kind and file, what it builds, and what is made of it."""

    name: str
    kind: str
    path: str
    relation: str | None
    children: tuple[str, ...]


@dataclass(frozen=True)
class Unfinished:
    """What a failed build was made of, and the names of dbt's nodes that failed or were not come to.

    `base` is the id of the published marts that it was built upon, None of a full refresh, and `reason` why it was one.
    `files` are the dbt project's with their SHA-256.
    """

    files: Mapping[str, str]
    nodes: Mapping[str, Node]
    base: str | None
    reason: str | None
    unit_tests: bool
    locations: Mapping[str, str]
    to_transform: frozenset[Batch]
    left: tuple[str, ...]

    def mended(self, files: Mapping[str, str]) -> Unfinished:
        """The same with the dbt project as it is now: models that changed, and what is made of them, are left, too.

        Raises `UsageError` when more changed than bodies of models and tests, or what would be built twice can't be: a
        snapshot keeps what it was given first, and an increment's tables are the old project's.
        """
        changed = {
            path for path in files.keys() | self.files.keys() if files.get(path) != self.files.get(path)
        }
        if not changed:
            return self
        if self.base is not None or not all(self._is_mendable(path, files) for path in changed):
            raise UsageError(
                "the dbt project changed since the build failed in a way that asks for everything anew",
                hint=AFRESH,
            )
        again = self._downstream(unique_id for unique_id, node in self.nodes.items() if node.path in changed)
        snapshot = next(
            (node for node in again if node.kind == "snapshot" and node.name not in self.left), None
        )
        if snapshot is not None:
            raise UsageError(f"the snapshot `{snapshot.name}` was taken of what changed since", hint=AFRESH)
        return replace(self, files=files, left=tuple(sorted({*self.left, *(node.name for node in again)})))

    def _is_mendable(self, path: str, files: Mapping[str, str]) -> bool:
        found = PurePosixPath(path)
        return found.parts[0] in MENDABLE and found.suffix == ".sql" and path in files and path in self.files

    def _downstream(self, of: Iterable[str]) -> list[Node]:
        waiting, found = list(of), set[str]()
        while waiting:
            unique_id = waiting.pop()
            if unique_id not in found and unique_id in self.nodes:
                found.add(unique_id)
                waiting += self.nodes[unique_id].children
        return [self.nodes[unique_id] for unique_id in found if self.nodes[unique_id].kind != "unit_test"]


def keep(folder: BuildFolder, build: Unfinished) -> None:
    """Write down what is left, whole or not at all."""
    content = asdict(build) | {"to_transform": [asdict(batch) for batch in build.to_transform]}
    replace_text(_path(folder), json.dumps(content))


def forget(folder: BuildFolder) -> None:
    """Have nothing to go on with."""
    _path(folder).unlink(missing_ok=True)


def read(folder: BuildFolder, published: str | None) -> Unfinished:
    """What is left of the last build. Raises `UsageError` when it didn't fail, or others are `published` by now."""
    try:
        content = json.loads(_path(folder).read_text(encoding="utf-8"))
        nodes = {
            name: Node(**{**node, "children": tuple(node["children"])})
            for name, node in content["nodes"].items()
        }
        batches = frozenset(Batch(**batch) for batch in content["to_transform"])
        left = tuple(content["left"])
        found = Unfinished(**{**content, "nodes": nodes, "to_transform": batches, "left": left})
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise UsageError("there is no failed build to go on with", hint="run `dpipe transform`") from error
    if found.base is not None and found.base != published:
        raise UsageError("other marts were published since the build failed", hint=AFRESH)
    return found


def left_of(report: DbtReport) -> tuple[str, ...]:
    """The nodes that failed or were not come to, by dbt's names."""
    return tuple(sorted(result.name for result in report.of(*NOT_DONE) if result.kind != "unit_test"))


def nodes_of(manifest: Mapping[str, Any]) -> dict[str, Node]:
    """The nodes of dbt's manifest by their ids."""
    return {
        unique_id: Node(
            name=node["name"],
            kind=node["resource_type"],
            path=node["original_file_path"],
            relation=node.get("relation_name"),
            children=tuple(manifest["child_map"].get(unique_id, ())),
        )
        for unique_id, node in manifest["nodes"].items()
    }


def relations(nodes: Mapping[str, Node]) -> set[str]:
    """What the nodes build."""
    return {node.relation for node in nodes.values() if node.relation and node.kind != "test"}


def _path(folder: BuildFolder) -> Path:
    return folder.root / "unfinished.json"
