"""Ingest: files into landing, as they are."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from glob import glob
from typing import TYPE_CHECKING

from dpipe import output
from dpipe.contract import contract_path
from dpipe.errors import UsageError
from dpipe.landing import Landed, land_file
from dpipe.state import runs
from dpipe.state.usage import Moved

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dpipe.settings import Project
    from dpipe.state import Run


def ingest(project: Project, dataset: str, paths: Sequence[Path], run: Run) -> list[Landed]:
    """Land files as batches of a dataset, in the order given; a file whose bytes have landed before is that
    batch.

    All paths are looked at before the first is landed. Raises `UsageError` for an unknown dataset or a path
    that can't be a batch.
    """
    contract_path(project, dataset)
    for path in paths:
        check(dataset, path)
    started_at, start = datetime.now(UTC), time.perf_counter()
    landed = [_land(project, dataset, path) for path in paths]
    record(run, dataset, landed, started_at=started_at, seconds=time.perf_counter() - start)
    return landed


def record(
    run: Run, dataset: str, landed: Sequence[Landed], *, started_at: datetime, seconds: float, **more: object
) -> None:
    """Keep with the run what landed of a dataset, and `more` of it."""
    fresh = [batch.manifest for batch in landed if not batch.already]
    size = sum(manifest.bytes for manifest in fresh)
    detail = {
        "landed": len(fresh),
        "already_landed": len(landed) - len(fresh),
        "bytes": size,
        "batches": [manifest.summary() for manifest in fresh],
    }
    runs.add_stage(
        run,
        "ingest",
        dataset=dataset,
        started_at=started_at,
        seconds=seconds,
        detail=more | detail,
        moved=Moved(read=size, written=size, stored=size),
    )


def source_files(project: Project, dataset: str) -> list[Path]:
    """The files that the setting `sources` names for a dataset, sorted.

    Raises `UsageError` when there is no such setting or it matches nothing.
    """
    found = matching_files(project, dataset)
    if not found:
        raise UsageError(
            f"the source `{project.settings.sources[dataset]}` of `{dataset}` matches no file",
            hint=f"put the file there, or mend `sources` in `{project.root / 'configs' / 'dpipe.yaml'}`",
        )
    return found


def matching_files(project: Project, dataset: str) -> list[Path]:
    """The same, but there may be none. Raises `UsageError` when there is no such setting."""
    pattern = project.settings.sources.get(dataset)
    if pattern is None:
        raise UsageError(
            f"the settings name no source for `{dataset}`",
            hint=f"name files: `dpipe ingest {dataset} FILE…`, or add `{dataset}:` under `sources`",
        )
    # `Path.glob` refuses absolute patterns, which the setting may hold.
    names = glob(pattern, root_dir=project.root, recursive=True)  # noqa: PTH207
    return sorted(project.root / name for name in names)


def check(dataset: str, path: Path) -> None:
    """Raise `UsageError` for a path that can't be a batch."""
    if path.is_dir():
        raise UsageError(f"`{path}` is a folder", hint=f"name its files: `dpipe ingest {dataset} {path}/*`")
    if not path.is_file():
        problem = "is not a regular file" if path.exists() else "doesn't exist"
        raise UsageError(f"`{path}` {problem}", hint="check the path")
    if path.stat().st_size == 0:
        raise UsageError(f"`{path}` is empty", hint="a batch needs at least one byte; leave the file out")


def _land(project: Project, dataset: str, path: Path) -> Landed:
    with output.progress(f"ingest {dataset}", total_bytes=path.stat().st_size) as update:
        return land_file(project, dataset, path, on_bytes=lambda done: update(0, done))
