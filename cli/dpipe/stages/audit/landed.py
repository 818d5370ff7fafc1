"""Landing against the ledger: the bytes are those that were committed, and give as many records again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from dpipe.contract import archive
from dpipe.errors import ConfigError, DpipeError, UnavailableError
from dpipe.landing import payload_file
from dpipe.landing.store import read_manifest
from dpipe.stages.judge import judge_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpipe.contract import Contract
    from dpipe.iceberg.attempt import BatchEntry
    from dpipe.landing import Manifest
    from dpipe.settings import Project
    from dpipe.stages.audit.findings import DatasetAudit
    from dpipe.stages.audit.meter import Meter


def check_landing(
    audit: DatasetAudit,
    project: Project,
    batches: Sequence[BatchEntry],
    meter: Meter,
    *,
    workers: int,
) -> None:
    """Compare every batch's landed bytes with their SHA-256 in the ledger, and count the records in them again.

    Each is counted by the contract that it met; another one may take a file apart in another way.
    """
    landed = [(batch, manifest) for batch in batches if (manifest := _manifest(audit, project, batch))]

    def digest(item: tuple[BatchEntry, Manifest]) -> str | OSError | DpipeError:
        try:
            with payload_file(project, item[1]) as path, path.open("rb", buffering=0) as file:
                return meter.sha256(file)
        except UnavailableError:
            raise
        except (OSError, DpipeError) as error:
            return error

    with ThreadPoolExecutor(workers) as pool:
        digests = list(pool.map(digest, landed))
    met = dict.fromkeys(batch.contract for batch, _ in landed)
    contracts = {digest: _contract(audit, project, digest) for digest in met}
    for (batch, manifest), sha256 in zip(landed, digests, strict=True):
        if isinstance(sha256, DpipeError):
            audit.find("landing", batch.batch_id, sha256.message)
        elif isinstance(sha256, OSError):
            audit.find("landing", batch.batch_id, f"its landed bytes can't be read: {sha256.strerror}")
        elif sha256 != batch.sha256:
            audit.find(
                "landing",
                batch.batch_id,
                "its landed bytes aren't those that were committed: another SHA-256",
            )
        elif contract := contracts[batch.contract]:
            contract = replace(contract, plan=contract.plan.grown(batch.evolved))
            _recount(audit, project, contract, batch, manifest)
            meter.add(batch.records_in, manifest.bytes)


def _manifest(audit: DatasetAudit, project: Project, batch: BatchEntry) -> Manifest | None:
    try:
        return read_manifest(project, audit.dataset, batch.batch_id)
    except UnavailableError:
        raise
    except DpipeError as error:
        audit.find("landing", batch.batch_id, error.message)
        return None


def _contract(audit: DatasetAudit, project: Project, digest: str) -> Contract | None:
    try:
        return archive.kept(project, audit.dataset, digest)
    except ConfigError as error:
        audit.find("landing", f"contract {digest[:12]}", error.message)
        return None


def _recount(
    audit: DatasetAudit, project: Project, contract: Contract, batch: BatchEntry, manifest: Manifest
) -> None:
    """By the rules alone: a record that was a duplicate, or not unique, counts among those that break none."""
    from dpipe import _kernel

    try:
        with payload_file(project, manifest) as path:
            counted, _, _ = judge_records(
                contract,
                path,
                batch_id=batch.batch_id,
                form=manifest.format,
                compression=manifest.compression,
                threads=project.settings.threads,
                keep=False,
            )
    except _kernel.KernelError as error:
        audit.find("landing", batch.batch_id, f"its landed bytes can't be counted again: {error}")
        return
    audit.recounted += 1
    now = counted["records_in"], counted["accepted"], counted["rejected"]
    then = batch.records_in, batch.accepted + batch.duplicate, batch.rejected
    # A record whose value another row had broke no rule of its own; one of several columns may count under each.
    not_unique = [one["records"] for one in batch.violations if one["rule"] == "unique"]
    is_so = max(not_unique, default=0) <= then[2] - now[2] <= sum(not_unique)
    if now[0] != then[0] or not is_so:
        audit.find(
            "landing",
            batch.batch_id,
            f"its landed bytes give {now[0]:,} records of which {now[2]:,} are rejected; "
            f"the ledger has {then[0]:,} and {then[2]:,}",
        )
