"""Every contract that a batch was committed under, kept by its hash: what a row met can be looked up for good.

They are in a folder, or where batches land in S3 beside those.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dpipe.contract.contract import Contract
from dpipe.errors import ConfigError
from dpipe.folders import write_once

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project


def keep(project: Project, contract: Contract) -> None:
    """Keep a contract's canonical text, durably; again changes nothing. Raises `DpipeError` when that fails."""
    content = contract.canonical.encode()
    if project.landing_bucket is not None:
        project.landing_bucket.put_once(_name(contract.dataset, contract.hash), content)
    else:
        write_once(_path(project, contract.dataset, contract.hash), content)


def kept(project: Project, dataset: str, digest: str) -> Contract | None:
    """The contract of a dataset with this hash, None when it isn't kept.

    Raises `ConfigError` when its file is damaged, or when this dpipe can't carry it out.
    """
    place = f"{project.landing_bucket}/_contracts" if project.landing_bucket else str(project.kept_contracts)
    try:
        content = _content(project, dataset, digest)
        document = None if content is None else json.loads(content)
    except (OSError, ValueError) as error:
        raise _damaged(place, dataset, digest) from error
    if content is None:
        return None
    contract = Contract.from_dict(document) if isinstance(document, dict) else None
    if contract is None or contract.hash != digest:
        raise _damaged(place, dataset, digest)
    return contract


def _content(project: Project, dataset: str, digest: str) -> bytes | None:
    if project.landing_bucket is not None:
        return project.landing_bucket.read(_name(dataset, digest))
    try:
        return _path(project, dataset, digest).read_bytes()
    except FileNotFoundError:
        return None


def _damaged(place: str, dataset: str, digest: str) -> ConfigError:
    return ConfigError(
        f"the kept contract `{place}/{dataset}/{digest}.json` is not what its name says",
        hint="restore it from a backup",
    )


def _path(project: Project, dataset: str, digest: str) -> Path:
    return project.kept_contracts / dataset / f"{digest}.json"


def _name(dataset: str, digest: str) -> str:
    """Beside the landed batches, where every machine finds it; a batch has its objects under other names."""
    return f"_contracts/{dataset}/{digest}.json"
