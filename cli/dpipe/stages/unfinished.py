"""A build that failed, and what is left of it to do: kept beside the build, so that it can be gone on with."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from dpipe.errors import UsageError
from dpipe.warehouse.batches import Batch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dpipe.warehouse.build_folder import BuildFolder
    from dpipe.warehouse.dbt_results import DbtReport

NOT_DONE = ("error", "runtime error", "partial success", "fail", "skipped")


@dataclass(frozen=True)
class Unfinished:
    """What a failed build was made of, and the nodes of dbt's that failed or were not come to.

    `base` is the id of the published marts that it was built upon, None of a full refresh, and `reason` why it was one.
    """

    project_hash: str
    base: str | None
    reason: str | None
    locations: Mapping[str, str]
    to_transform: frozenset[Batch]
    left: tuple[str, ...]

    def selection(self, project_hash: str, folder: BuildFolder) -> list[str]:
        """dbt's arguments for what is left, and for what of the dbt project changed since and is made of that.

        Raises `UsageError` when the project changed and the build was an increment: its tables are the old project's.
        """
        if project_hash == self.project_hash:
            return ["--select", *self.left, "--indirect-selection", "empty"]
        if self.base is not None:
            raise UsageError(
                "the dbt project changed since the build failed, so that everything is to be built anew",
                hint="run `dpipe transform` without `--retry`",
            )
        changed = ["state:modified+", "--state", str(_manifest(folder).parent)]
        return ["--select", *self.left, *changed, "--indirect-selection", "empty"]


def keep(folder: BuildFolder, build: Unfinished) -> None:
    """Write down what is left, with the manifest of the dbt project that it failed with."""
    manifest = _manifest(folder)
    manifest.parent.mkdir(exist_ok=True)
    shutil.copyfile(folder.dbt / "target" / "manifest.json", manifest)
    content: dict[str, Any] = asdict(build)
    content["to_transform"] = [asdict(batch) for batch in build.to_transform]
    _path(folder).write_text(json.dumps(content), encoding="utf-8")


def forget(folder: BuildFolder) -> None:
    """Have nothing to go on with."""
    _path(folder).unlink(missing_ok=True)


def read(folder: BuildFolder, published: str | None) -> Unfinished:
    """What is left of the last build. Raises `UsageError` when it didn't fail, or others are `published` by now."""
    with suppress(FileNotFoundError, ValueError):
        content = json.loads(_path(folder).read_text(encoding="utf-8"))
        batches = frozenset(Batch(**batch) for batch in content.pop("to_transform"))
        found = Unfinished(**{**content, "to_transform": batches, "left": tuple(content["left"])})
        if found.base is None or found.base == published:
            return found
        raise UsageError(
            "other marts were published since the build failed",
            hint="run `dpipe transform` without `--retry`",
        )
    raise UsageError("there is no failed build to go on with", hint="run `dpipe transform`")


def left_of(report: DbtReport) -> tuple[str, ...]:
    """The nodes that failed or were not come to, by dbt's names."""
    return tuple(sorted(result.name for result in report.of(*NOT_DONE) if result.kind != "unit_test"))


def _path(folder: BuildFolder) -> Path:
    return folder.root / "unfinished.json"


def _manifest(folder: BuildFolder) -> Path:
    return folder.root / "failed" / "manifest.json"
