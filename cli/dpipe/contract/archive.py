"""Every contract that a batch was committed under, kept by its hash: what a row met can be looked up for good."""

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
    write_once(_path(project, contract.dataset, contract.hash), contract.canonical.encode())


def kept(project: Project, dataset: str, digest: str) -> Contract | None:
    """The contract of a dataset with this hash, None when it isn't kept.

    Raises `ConfigError` when its file is damaged, or when this dpipe can't carry it out.
    """
    path = _path(project, dataset, digest)
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path) from error
    contract = Contract.from_dict(document) if isinstance(document, dict) else None
    if contract is None or contract.hash != digest:
        raise _damaged(path)
    return contract


def _damaged(path: Path) -> ConfigError:
    return ConfigError(
        f"the kept contract `{path}` is not what its name says", hint="restore it from a backup"
    )


def _path(project: Project, dataset: str, digest: str) -> Path:
    return project.kept_contracts / dataset / f"{digest}.json"
