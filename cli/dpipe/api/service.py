"""What the requests of one server share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import HTTPException

from dpipe.api.auth import Keyring
from dpipe.api.jobs import NOT_FOUND, JobRows
from dpipe.api.load import Load
from dpipe.api.metrics import Metrics
from dpipe.contract import contract_for
from dpipe.state import open_state

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dpipe.contract import Contract
    from dpipe.settings import Project


@dataclass
class Service:
    """One project behind the API."""

    project: Project
    engine: Engine
    keyring: Keyring
    metrics: Metrics
    load: Load
    job_rows: JobRows

    @staticmethod
    def of(project: Project) -> Service:
        """Open the project's state. Raises `UnavailableError` when it can't be reached."""
        engine, metrics = open_state(project), Metrics()
        return Service(project, engine, Keyring(engine), metrics, Load(project, metrics), JobRows(engine))

    def check_dataset(self, dataset: str) -> None:
        """Raise a 404 for a dataset that has no contract."""
        known = self.project.datasets()
        if dataset not in known:
            raise HTTPException(
                NOT_FOUND, f"there is no dataset `{dataset}`; the project has {', '.join(known)}"
            )

    def contract(self, dataset: str) -> Contract:
        """A dataset's contract as it is now; raises a 404 without one."""
        self.check_dataset(dataset)
        return contract_for(self.project, dataset)
