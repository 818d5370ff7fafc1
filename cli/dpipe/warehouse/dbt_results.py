"""What dbt did, read from the artifacts that it leaves: one result a model, seed or test."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dpipe.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MOST_SHOWN = 5
# What DuckDB and Snowflake say of a null in a column that a mart's contract says has none.
NOT_NULL_BROKEN = ("NOT NULL constraint failed", "NULL result in a non-nullable column")


@dataclass(frozen=True)
class NodeResult:
    """A model, seed or test that was run; `path` is its file and `compiled` the SQL that was sent.

    `relation` is what was built, `<schema>.<table>`; the times are ISO 8601, None of what was not run.
    """

    name: str
    kind: str
    status: str
    message: str
    path: str
    compiled: str | None
    seconds: float
    relation: str | None = None
    started_at: str | None = None
    finished_at: str | None = None

    @property
    def is_test(self) -> bool:
        """It looked at data or logic and built nothing."""
        return self.kind in {"test", "unit_test"}


@dataclass(frozen=True)
class DbtReport:
    """The results in the order in which they ended."""

    results: tuple[NodeResult, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many results there are of each status."""
        return dict(Counter(result.status for result in self.results))

    def of(self, *statuses: str) -> list[NodeResult]:
        """The results with one of the statuses."""
        return [result for result in self.results if result.status in statuses]

    def raise_for_failures(
        self,
        database: str,
        hint: str | None = None,
        rows_of: Callable[[NodeResult], list[str]] = lambda _test: [],
    ) -> None:
        """Raise `ConfigError` when something could not run, `DataError` when a test found what it should not.

        `database` is where its rows can be looked at, `rows_of` gives the first of them, a line each; `hint` replaces
        the usual advice on what could not run.
        """
        broken = self.of("error", "runtime error", "partial success")
        broken += [result for result in self.of("fail") if result.kind == "unit_test"]
        if broken and all(_breaks_a_contract(result) for result in broken):
            raise DataError(
                _told(broken),
                hint=f"the rows are what the SQL in `{broken[0].compiled}` gives; its contract is beside the model",
            )
        if broken:
            raise ConfigError(
                _told(broken), hint=hint or f"mend `{broken[0].path}`; its SQL is `{broken[0].compiled}`"
            )
        failed = self.of("fail")
        if failed:
            lines = [f"  {line}" for line in rows_of(failed[0])]
            raise DataError(
                "\n".join([_told(failed), *([f"rows of `{failed[0].name}`:"] if lines else []), *lines]),
                hint=f"the rows are what the SQL in `{failed[0].compiled}` finds in `{database}`",
            )


def read_report(target: Path, project_dir: Path) -> DbtReport | None:
    """The report of the last command in dbt's target folder; None when it left no results."""
    try:
        ran = json.loads((target / "run_results.json").read_text(encoding="utf-8"))["results"]
    except FileNotFoundError:
        return None
    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    nodes = manifest["nodes"] | manifest["unit_tests"]
    return DbtReport(
        tuple(
            _result(result, nodes[result["unique_id"]], project_dir, target)
            for result in ran
            if result["unique_id"] in nodes  # an exposure isn't: dbt lists it and does nothing
        )
    )


def keep_snapshots(target: Path) -> None:
    """Write the SQL of snapshots that ran into files, as dbt does with models: the next command's manifest lacks it."""
    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    for node in manifest["nodes"].values():
        if node["resource_type"] == "snapshot" and node.get("compiled_code"):
            path = compiled_file(target, node)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(node["compiled_code"], encoding="utf-8")


def compiled_file(target: Path, node: Mapping[str, Any]) -> Path:
    """The file in dbt's target folder that has what was sent of a node."""
    path: Path = target / "compiled" / node["package_name"] / node["original_file_path"]
    # What a YAML file says is compiled into a folder called like it.
    return path / node["path"] if path.suffix in {".yml", ".yaml"} else path


def _result(result: dict[str, Any], node: dict[str, Any], project_dir: Path, target: Path) -> NodeResult:
    path = node["original_file_path"]
    ran: dict[str, Any] = next((step for step in result.get("timing") or () if step["name"] == "execute"), {})
    return NodeResult(
        name=node["name"],
        kind=node["resource_type"],
        status=result["status"],
        message=_plain(result["message"] or ""),
        path=str(project_dir / path),
        compiled=str(compiled_file(target, node)),
        seconds=round(result["execution_time"], 3),
        relation=f"{node['schema']}.{node.get('alias') or node['name']}"
        if node.get("relation_name")
        else None,
        started_at=ran.get("started_at"),
        finished_at=ran.get("completed_at"),
    )


def _breaks_a_contract(result: NodeResult) -> bool:
    """Whether rows of a model were refused by its table, and nothing is wrong with its SQL."""
    return any(words in result.message for words in NOT_NULL_BROKEN)


def _plain(message: str) -> str:
    """dbt's message without the line that repeats the node's name and the one that says where its SQL is."""
    lines = [line.strip() for line in message.splitlines()]
    said = [line for line in lines if line and not re.match(r"(\w+ Error in |compiled code at )", line)]
    return " ".join(said)


def _told(results: list[NodeResult]) -> str:
    lines = [
        f"dbt {result.kind.replace('_', ' ')} `{result.name}` ({result.path}): {result.message}"
        for result in results
    ]
    more = len(lines) - MOST_SHOWN
    return "\n".join(lines[:MOST_SHOWN] + ([f"… and {more} more"] if more > 0 else []))
