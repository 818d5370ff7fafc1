"""The application: what can be asked of it."""

import re
import uuid
from functools import partial
from typing import Any

from anyio import to_thread
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from dpipe import __version__, landing
from dpipe.api import problems
from dpipe.api.body import check_announced_size, chunks_of
from dpipe.api.jobs import Job, job_of
from dpipe.api.media import TYPES, media_of
from dpipe.errors import UsageError
from dpipe.settings import Project

ACCEPTED, NOT_FOUND = 202, 404
JOB_ID = re.compile(r"job-[0-9a-f]{32}")
ANY_BODY = {"requestBody": {"required": True, "content": {name: {} for name in TYPES}}}


def create_app(project: Project) -> FastAPI:
    """The API of one project."""
    app = FastAPI(title=f"dpipe: {project.settings.name}", version=__version__)
    problems.install(app)

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        """Say that the server answers."""
        return {"status": "ok", "version": __version__}

    @app.post("/v1/datasets/{dataset}/batches", status_code=ACCEPTED, openapi_extra=ANY_BODY)
    async def submit(dataset: str, request: Request) -> Response:
        """Land the body as one batch; the answer comes once its bytes are safe on disk."""
        _check_dataset(project, dataset)
        media = media_of(request.headers)
        limit = project.settings.max_body_bytes
        check_announced_size(request, limit)
        land = partial(
            landing.land_stream,
            project,
            dataset,
            chunks_of(request, limit),
            name=media.name,
            job_id=uuid.uuid4().hex,
            format=media.format,
            compression=media.compression,
        )
        return _landed((await to_thread.run_sync(land)).manifest)

    @app.get("/v1/jobs/{job_id}")
    def job(job_id: str) -> Job:
        """Say what became of a submission: landed, committed or refused, with its counts."""
        if not JOB_ID.fullmatch(job_id):
            raise HTTPException(NOT_FOUND, f"`{job_id}` is no job's id")
        try:
            manifest = landing.find(project, job_id)
        except UsageError as error:
            raise HTTPException(NOT_FOUND, f"there is no job `{job_id}`") from error
        return job_of(project, manifest)

    return app


def _check_dataset(project: Project, dataset: str) -> None:
    known = project.datasets()
    if dataset not in known:
        raise HTTPException(NOT_FOUND, f"there is no dataset `{dataset}`; the project has {', '.join(known)}")


def _landed(manifest: landing.Manifest) -> Response:
    location = f"/v1/jobs/{manifest.batch_id}"
    document: dict[str, Any] = {
        "job_id": manifest.batch_id,
        "dataset": manifest.dataset,
        "state": "landed",
        "bytes": manifest.bytes,
        "sha256": manifest.sha256,
    }
    return JSONResponse(document, ACCEPTED, headers={"Location": location})
