"""The application: its routes put together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anyio import create_task_group, to_thread
from fastapi import FastAPI

from dpipe import __version__, output
from dpipe.api import datasets, few_records, follow, health, jobs, problems, submissions
from dpipe.api.access import AccessLog
from dpipe.api.openapi import described
from dpipe.api.service import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dpipe.settings import Project


def create_app(project: Project) -> FastAPI:
    """The API of one project. Raises `UnavailableError` when its state can't be reached."""
    service = Service.of(project)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        added, forgotten = await to_thread.run_sync(jobs.reconcile, project, service.engine)
        if added:
            output.note(f"{added:,} submission(s) had landed without a row in the state database")
        if forgotten:
            output.note(f"{forgotten:,} submission(s) never landed, and are forgotten")
        # Held open all along: whoever closes SQLite's last connection takes its log apart.
        with service.engine.connect():
            async with create_task_group() as tasks:
                tasks.start_soon(service.packer.run)
                tasks.start_soon(service.load.watch)
                yield
                tasks.cancel_scope.cancel()

    app = FastAPI(
        title=f"dpipe: {project.settings.name}",
        version=__version__,
        description="Records go in under their data contracts, and every one of them is accounted for.",
        lifespan=lifespan,
    )
    app.state.keyring = service.keyring
    problems.install(app)
    app.router.routes.append(few_records.route(service))
    for module in (submissions, follow, datasets, health):
        app.include_router(module.router(service))
    app.openapi = described(app, service)  # type: ignore[method-assign] # as FastAPI says to
    app.add_middleware(
        AccessLog,
        metrics=service.metrics,
        as_json=project.settings.log_format == "json",
        quiet=output.options.quiet,
    )
    return app
