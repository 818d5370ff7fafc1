"""OpenLineage events of a run: made when it is over, from what state, ledger and dbt's manifest have of it.

Nothing is counted or remembered for them, so what an event says is what was committed, and the events of any run can
be made again. A run is a job of its own, its stages are jobs below it, dbt's models jobs below the transform.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from dpipe import __version__
from dpipe.lineage import dbt_models, facets
from dpipe.lineage.build import build
from dpipe.lineage.jobs import MOST_BATCHES, Job, Jobs
from dpipe.lineage.names import run_uuid
from dpipe.state import runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dpipe.settings import Project

Event = dict[str, Any]
State = Literal["START", "COMPLETE", "FAIL", "ABORT"]
WITH_MODELS = frozenset({"transform", "validate", "publish"})


def begun(project: Project, run_id: str, command: str) -> Event:
    """The event that a run begins with."""
    return _of_run(project, run_id, command, "START", datetime.now(UTC))


def of_run(project: Project, run_id: str) -> list[Event]:
    """The events of a run that is over, in their order; of one under way those so far, without its end.

    Raises `UsageError` when there is no such run.
    """
    run = runs.find(project, run_id)
    found = [_of_run(project, run["run_id"], run["command"], "START", run["started_at"])]
    stages = runs.stages(project, run["run_id"])
    if stages:
        # Rounds of a worker land and commit, and come quickly one after the other.
        project = _with_target(project, stages)
        models = any(stage["stage"] in WITH_MODELS for stage in stages)
        manifest = dbt_models.read(project) if models else None
        jobs = Jobs(project, run["run_id"], build(project, manifest, models=models), manifest)
        times: dict[str, int] = {}
        for job in jobs.of(stages):
            times[job.name] = times.get(job.name, 0) + 1
            found += _of_job(project, run, job, times[job.name])
    if run["finished_at"] is not None:
        found.append(
            _of_run(project, run["run_id"], run["command"], _end(run), run["finished_at"], error=run["error"])
        )
    return found


def _with_target(project: Project, stages: Iterable[Mapping[str, Any]]) -> Project:
    """The project with the target that the stages had, which may have been a flag's."""
    said = (stage["detail"].get("target") for stage in stages if stage["detail"])
    target = next((one for one in said if one), project.settings.target)
    return replace(project, settings=project.settings.model_copy(update={"target": target}))


def _end(run: Mapping[str, Any]) -> State:
    if run["status"] == "succeeded":
        return "COMPLETE"
    return "ABORT" if run["exit_code"] == runs.INTERRUPTED else "FAIL"


def _of_run(
    project: Project, run_id: str, command: str, state: State, at: datetime, *, error: str | None = None
) -> Event:
    own = facets.own(runId=run_id, command=command)
    return _event(
        state,
        at,
        run={"runId": run_uuid(run_id), "facets": {"dpipe_run": own, **_engine(), **_error(error)}},
        job={
            "namespace": project.settings.name,
            "name": _command_job(command),
            "facets": {
                "jobType": _kind("COMMAND"),
                "documentation": facets.facet("DocumentationJobFacet", description=f"dpipe {command}"),
            },
        },
    )


def _command_job(command: str) -> str:
    """What the job of a command is called; `publish` is what it does."""
    return f"dpipe.{command.replace(' ', '.')}"


def _of_job(project: Project, run: Mapping[str, Any], job: Job, time: int) -> list[Event]:
    """Its start and its end. A run that does one thing several times has an id for each `time`."""
    run_id, namespace = run["run_id"], project.settings.name
    root = {
        "run": {"runId": run_uuid(run_id)},
        "job": {"namespace": namespace, "name": _command_job(run["command"])},
    }
    above = root
    if job.below is not None:
        above = {
            "run": {"runId": run_uuid(run_id, job.below)},
            "job": {"namespace": namespace, "name": job.below},
        }
    of_run = {"parent": facets.facet("ParentRunFacet", **above, root=root), **_engine()}
    told = {
        "dpipe_run": facets.own(
            runId=run_id,
            command=run["command"],
            stage=job.stage,
            batches=list(job.batches[:MOST_BATCHES]) or None,
            batchCount=job.batch_count or len(job.batches) or None,
            refused=list(job.refused[:MOST_BATCHES]) or None,
        )
    }
    upstream = [
        {
            "job": {"namespace": namespace, "name": one.job},
            "run": {"runId": run_uuid(one.run_id, one.job)},
            "dependency_type": "IMPLICIT_DEPENDENCY",
            "sequence_trigger_rule": "FINISH_TO_START",
        }
        for one in job.upstream
    ]
    if upstream:
        told["jobDependencies"] = facets.facet("JobDependenciesRunFacet", upstream=upstream)
    described = {
        "jobType": _kind(job.kind),
        "documentation": facets.facet("DocumentationJobFacet", description=job.description),
    }
    if job.sql is not None:
        described["sql"] = facets.facet("SQLJobFacet", query=job.sql, dialect=job.dialect)
    run_name = run_uuid(run_id, job.name if time == 1 else f"{job.name}\0{time}")
    shown = {"namespace": namespace, "name": job.name, "facets": described}
    start = {"runId": run_name, "facets": of_run}
    end = {"runId": run_name, "facets": {**of_run, **told, **_error(job.error)}}
    return [
        _event("START", job.started_at, run=start, job=shown),
        _event(
            "FAIL" if job.error else "COMPLETE",
            job.finished_at,
            run=end,
            job=shown,
            inputs=job.inputs,
            outputs=job.outputs,
        ),
    ]


def _event(state: State, at: datetime, *, run: Event, job: Event, **datasets: list[dict[str, Any]]) -> Event:
    return {
        "eventType": state,
        "eventTime": at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "producer": facets.PRODUCER,
        "schemaURL": facets.EVENT,
        "run": run,
        "job": job,
        "inputs": datasets.get("inputs", []),
        "outputs": datasets.get("outputs", []),
    }


def _kind(kind: str) -> facets.Facet:
    return facets.facet("JobTypeJobFacet", processingType="BATCH", integration="DPIPE", jobType=kind)


def _engine() -> dict[str, facets.Facet]:
    return {"processing_engine": facets.facet("ProcessingEngineRunFacet", version=__version__, name="dpipe")}


def _error(message: str | None) -> dict[str, facets.Facet]:
    if message is None:
        return {}
    return {
        "errorMessage": facets.facet("ErrorMessageRunFacet", message=message, programmingLanguage="PYTHON")
    }
