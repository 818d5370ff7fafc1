"""Calling the kernel, and holding its counts to the rule that every record is accounted for."""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpipe import output
from dpipe.errors import DpipeError
from dpipe.iceberg.attempt import Files, WrittenFile
from dpipe.iceberg.storage import local_path
from dpipe.landing import payload_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from dpipe.iceberg.existing import ExistingRows
    from dpipe.landing import Manifest
    from dpipe.settings import Project


# The kernel's messages for what lies with the machine, the table or the contract, not with what has landed.
NOT_THE_DATA = re.compile(
    r"\(os error \d+\)|^existing keys could not be read|^the plan can't be carried out|^interrupted$"
)


class UnprocessableError(DpipeError):
    """What has landed stopped the kernel; other batches may well go through."""


@dataclass(frozen=True)
class BatchCounts:
    """The kernel's counts of one batch; `violations` are `{column, rule, records}`.

    `superseded` are the rows of the table that accepted records take the place of: numbers of records by their batch.
    """

    batch_id: str
    records_in: int
    accepted: int
    rejected: int
    duplicate: int
    violations: list[dict[str, Any]]
    unknown_fields: dict[str, int]
    superseded: dict[str, list[int]]

    def to_dict(self) -> dict[str, int]:
        """The four counts by name."""
        return {
            "records_in": self.records_in,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "duplicate": self.duplicate,
        }


@dataclass(frozen=True)
class KernelResult:
    """Counts a batch, the files written for all of them, and the accepted rows' profile; nothing is visible yet."""

    batches: list[BatchCounts]
    files: Files
    profile: list[dict[str, Any]]

    @property
    def superseded(self) -> dict[str, list[int]]:
        """The rows of the table that records of any batch take the place of."""
        found: dict[str, list[int]] = {}
        for batch in self.batches:
            for batch_id, numbers in batch.superseded.items():
                found.setdefault(batch_id, []).extend(numbers)
        return found


def run_kernel(
    project: Project,
    plan_json: str,
    manifests: Sequence[Manifest],
    *,
    data_dir: Path,
    quarantine_dir: Path,
    existing: ExistingRows | None,
    newer: Mapping[str, Collection[str]],
    label: str,
) -> KernelResult:
    """Process landed batches in this order into files below the two folders.

    `newer` are for each batch those whose rows an upsert of it doesn't supersede. The result is that of the first
    batches only where a record takes the place of another batch's: what that one brings has to be in the table first.
    Raises `UnprocessableError` when a batch stops the kernel, another `DpipeError` when a disk, the table or the plan
    does; what it wrote is gone then.
    """
    from dpipe import _kernel

    for folder in (data_dir, quarantine_dir):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with (
            _sources(project, manifests, newer) as sources,
            output.progress(label, total_bytes=sum(manifest.bytes for manifest in manifests)) as on_progress,
        ):
            answer = _kernel.process(
                plan_json,
                sources,
                data_dir=str(data_dir),
                quarantine_dir=str(quarantine_dir),
                batch_size=project.settings.batch_size,
                threads=project.settings.threads,
                key_bytes=project.settings.key_memory_mb << 20,
                existing=existing,
                existing_values=None if existing is None else existing.values,
                progress=on_progress,
            )
    except _kernel.KernelError as error:
        kind = UnprocessableError if _is_of_the_data(error) else DpipeError
        raise kind(
            f"`{manifests[0].dataset}` can't be processed: {error}",
            hint="the landed files are as they were; `dpipe batches list` shows them",
        ) from error
    return _checked(answer, manifests)


@contextmanager
def _sources(
    project: Project, manifests: Sequence[Manifest], newer: Mapping[str, Collection[str]]
) -> Iterator[list[dict[str, Any]]]:
    """The batches as the kernel takes them, in files for as long as the block lasts."""
    with ExitStack() as files:
        yield [
            {
                "batch_id": manifest.origin or manifest.batch_id,
                "record_nos": manifest.record_nos,
                "newer_batches": sorted(newer.get(manifest.batch_id, ())),
                "path": str(files.enter_context(payload_file(project, manifest))),
                "format": manifest.format,
                "compression": manifest.compression,
            }
            for manifest in manifests
        ]


def discard(result: KernelResult) -> None:
    """Delete the files that the kernel wrote."""
    for file in (*result.files.accepted, *result.files.quarantined):
        Path(local_path(file.path)).unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Delete a folder with all that is in it, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)


def _is_of_the_data(error: Exception) -> bool:
    from dpipe import _kernel

    return not (isinstance(error, getattr(_kernel, "KernelIoError", ())) or NOT_THE_DATA.search(str(error)))


def _checked(answer: dict[str, Any], manifests: Sequence[Manifest]) -> KernelResult:
    fields = BatchCounts.__dataclass_fields__
    manifests = manifests[: len(answer["batches"])]
    # The kernel calls a replay by its origin.
    batches = [
        BatchCounts(**{name: batch[name] for name in fields} | {"batch_id": manifest.batch_id})
        for batch, manifest in zip(answer["batches"], manifests, strict=True)
    ]
    files: dict[str, list[WrittenFile]] = {}
    for file in answer["files"]:
        files.setdefault(file["kind"], []).append(
            WrittenFile(
                f"file://{file['path']}", file["rows"], file["bytes"], file["sha256"], file["partition"]
            )
        )
    result = KernelResult(batches, Files.of_kinds(files), answer["profile"])
    problem = _imbalance(result)
    if problem is not None:
        discard(result)
        raise DpipeError(f"internal: the kernel's counts don't balance: {problem}", hint="please report it")
    for batch, manifest in zip(batches, manifests, strict=True):
        numbers = manifest.record_nos
        if numbers is not None and batch.records_in != len(numbers):
            discard(result)
            raise UnprocessableError(
                f"`{manifest.batch_id}` can't be processed",
                hint="the contract reads its bytes otherwise than when it was made: replay the records again",
            ) from ValueError(f"it has {batch.records_in:,} records, and numbers for {len(numbers):,}")
    return result


def _imbalance(result: KernelResult) -> str | None:
    """What is wrong, unless records in = accepted + rejected + duplicate and the files hold just those."""
    for batch in result.batches:
        if batch.records_in != batch.accepted + batch.rejected + batch.duplicate:
            return f"batch `{batch.batch_id}` has {batch.to_dict()}"
    accepted = sum(batch.accepted for batch in result.batches)
    kept = sum(batch.rejected + batch.duplicate for batch in result.batches)
    written = (
        sum(file.rows for file in result.files.accepted),
        sum(file.rows for file in result.files.quarantined),
    )
    if written != (accepted, kept):
        return f"{accepted} accepted and {kept} kept records, but {written[0]} and {written[1]} rows written"
    return None
