"""What the requests of one server share."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import HTTPException

from dpipe.api.auth import Keyring
from dpipe.api.jobs import NOT_FOUND
from dpipe.api.load import Load
from dpipe.api.metrics import Metrics
from dpipe.api.packer import Packer
from dpipe.api.sinks import Sinks
from dpipe.contract import contract_for
from dpipe.state import open_state

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dpipe.contract import Contract
    from dpipe.settings import Project

# Every request asks which datasets there are.
KNOWN_SECONDS = 1.0


@dataclass
class Service:
    """One project behind the API."""

    project: Project
    engine: Engine
    keyring: Keyring
    metrics: Metrics
    load: Load
    packer: Packer
    _known: frozenset[str] = frozenset()
    _known_until: float = 0.0

    @staticmethod
    def of(project: Project) -> Service:
        """Open the project's state. Raises `UnavailableError` when it can't be reached."""
        engine, metrics = open_state(project, serving=True), Metrics()
        sinks = Sinks(project)
        load = Load(project, metrics)
        packer = Packer(project, engine, load, sinks)
        return Service(project, engine, Keyring(engine), metrics, load, packer)

    def check_dataset(self, dataset: str) -> None:
        """Raise a 404 for a dataset that has no contract."""
        now = time.monotonic()
        if now >= self._known_until:
            self._known = frozenset(self.project.datasets())
            self._known_until = now + KNOWN_SECONDS
        if dataset not in self._known:
            known = ", ".join(sorted(self._known))
            raise HTTPException(NOT_FOUND, f"there is no dataset `{dataset}`; the project has {known}")

    def contract(self, dataset: str) -> Contract:
        """A dataset's contract as it is now, compiled when its file has changed; raises a 404 without one."""
        self.check_dataset(dataset)
        return contract_for(self.project, dataset)
