"""The application: its routes put together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from anyio import create_task_group, to_thread
from fastapi import FastAPI

from dpipe import __version__, output
from dpipe.api import datasets, follow, health, jobs, problems, submissions
from dpipe.api.access import AccessLog
from dpipe.api.few_records import FewRecords
from dpipe.api.openapi import described
from dpipe.api.service import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

    from dpipe.settings import Project


def create_app(project: Project) -> ASGIApp:
    """The API of one project. Raises `UnavailableError` when its state can't be reached."""
    service = Service.of(project)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        added, forgotten = await to_thread.run_sync(jobs.reconcile, project, service.engine)
        if added:
            output.note(f"{added:,} submission(s) had landed without a row in the state database")
        if forgotten:
            output.note(f"{forgotten:,} submission(s) never landed, and are forgotten")
        # The first look into the lake needs it, and would take a second of every request that comes meanwhile.
        await to_thread.run_sync(import_module, "pyiceberg.io.pyarrow")
        async with create_task_group() as tasks:
            tasks.start_soon(service.packer.run)
            await tasks.start(service.load.watch)
            yield
            tasks.cancel_scope.cancel()
        service.engine.dispose()

    app = FastAPI(
        title=f"dpipe: {project.settings.name}",
        version=__version__,
        description="Records go in under their data contracts, and every one of them is accounted for.",
        lifespan=lifespan,
    )
    app.state.keyring = service.keyring
    problems.install(app)
    for module in (submissions, follow, datasets, health):
        app.include_router(module.router(service))
    app.openapi = described(app, service)  # type: ignore[method-assign] # as FastAPI says to
    return AccessLog(
        FewRecords(app, service),
        metrics=service.metrics,
        as_json=project.settings.log_format == "json",
        quiet=output.options.quiet,
    )
