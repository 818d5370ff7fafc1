"""`dpipe runs`: what was run, when, and how it ended."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dpipe import output
from dpipe.context import JsonFlag, open_project

app = typer.Typer(help="Runs: what was run and how it ended.", no_args_is_help=True)


@app.command("list")
def list_runs(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List the latest runs, the newest first.

    Example: `dpipe runs list --limit 5`
    """
    from dpipe.state import runs

    found = runs.latest(open_project(ctx), limit)
    if as_json:
        output.emit_json(found)
        return
    output.table(
        ["run", "command", "started", "status", "exit code", "error"],
        [
            (
                run["run_id"],
                run["command"],
                run["started_at"].isoformat(sep=" ", timespec="seconds"),
                run["status"],
                run["exit_code"],
                run["error"],
            )
            for run in found
        ],
    )


@app.command()
def show(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="Id of the run, or its beginning")],
    as_json: JsonFlag = False,
) -> None:
    """Show one run: its stages with their counts and times, and its failed checks.

    Example: `dpipe runs show 20261123T08`
    """
    from dpipe.state import quality, runs

    project = open_project(ctx)
    found = runs.find(project, run)
    stages = runs.stages(project, found["run_id"])
    checks = quality.history(project, run_id=found["run_id"], limit=100_000)
    if as_json:
        output.emit_json({**found, "stages": stages, "checks": checks})
        return
    for name, value in found.items():
        if value is not None:
            output.emit(f"{name}: {value}")
    counts = ("records_in", "accepted", "rejected", "duplicate", "snapshot_id", "seconds")
    output.table(
        ["stage", "dataset", "records in", "accepted", "rejected", "duplicate", "snapshot", "seconds"],
        [
            (stage["stage"], stage["dataset"] or "", *(_as_text(name, stage[name]) for name in counts))
            for stage in stages
        ],
    )
    failed = [check for check in checks if not check["success"]]
    output.emit(f"{len(checks)} checks, {len(failed)} failed")
    for check in failed:
        what = f"{check['severity']} {check['relation']} {check['rule']}"
        output.emit(f"  {what}: {check['observed']} ({check['detail']})")


@app.command()
def profile(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="Id of the run, or its beginning")],
    dataset: Annotated[str | None, typer.Option(help="Only this dataset.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what the values that a run accepted are like, column by column.

    Distinct counts and quantiles are estimates (off by 2% or so where there are many values), and so are the
    most frequent values of columns whose values hardly repeat.

    Example: `dpipe runs profile 20261123T08 --dataset flights`
    """
    from dpipe.state import runs

    project = open_project(ctx)
    stages = runs.stages(project, runs.find(project, run)["run_id"])
    profiles = {
        stage["dataset"]: (stage["detail"] or {}).get("profile", [])
        for stage in stages
        if stage["stage"] == "process" and dataset in {None, stage["dataset"]}
    }
    if as_json:
        output.emit_json(profiles)
        return
    if not any(profiles.values()):
        output.emit("the run accepted nothing" + (f" of `{dataset}`" if dataset else ""))
    for name, columns in profiles.items():
        if columns:
            output.table(
                [
                    "column",
                    "type",
                    "rows",
                    "nulls",
                    "distinct",
                    "min",
                    "median",
                    "mean",
                    "max",
                    "most frequent",
                ],
                [_profile_row(column) for column in columns],
                title=name,
            )


@app.command()
def events(
    ctx: typer.Context,
    run: Annotated[str | None, typer.Argument(help="Id of the run, or its beginning")] = None,
    deliver: Annotated[
        bool,
        typer.Option("--deliver", help="Send them, or without a run what waits, to where the settings say."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Print the OpenLineage events of a run, one a line; they are made anew from what the run left.

    Example: `dpipe runs events 20261123T08`
    """
    from dpipe.errors import UnavailableError, UsageError
    from dpipe.lineage import delivery
    from dpipe.lineage.events import of_run

    project = open_project(ctx)
    if run is None and not deliver:
        raise UsageError("no run is named", hint="`dpipe runs list` shows the ids")
    found = of_run(project, run) if run is not None else []
    if not deliver:
        if as_json:
            output.emit_json(found)
        else:
            for event in found:
                output.emit(output.to_json_line(event))
        return
    if not delivery.is_wanted(project):
        raise UsageError(
            "the settings name no place for events",
            hint="set `lineage_url` or `lineage_file` (docs/lineage.md)",
        )
    delivery.check(project)
    if found:
        delivery.deliver(project, found)
    try:
        left = delivery.flush(project) if project.settings.lineage_url else delivery.Delivered()
    except delivery.UndeliverableError as error:
        raise UnavailableError(
            f"lineage events can't be delivered: {error}",
            hint="they wait; try again when the receiver is there",
        ) from error
    if as_json:
        output.emit_json(left)
    else:
        output.emit(f"{left.waiting} run(s) wait" if left.waiting else "no event waits")


def _profile_row(column: dict[str, Any]) -> tuple[object, ...]:
    top = column["top"][0] if column["top"] else None
    mean = column.get("mean")
    return (
        column["column"],
        column["type"],
        column["rows"],
        column["nulls"],
        _cell(column["distinct"]),
        _cell(column["min"]),
        _cell(column.get("quantiles", {}).get("p50")),
        f"{mean:.6g}" if isinstance(mean, float) else _cell(mean),
        _cell(column["max"]),
        f"{top['value']} ({top['count']:,})" if top else "",
    )


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _as_text(name: str, value: object) -> object:
    """Ids must not be grouped by thousands."""
    return str(value) if name == "snapshot_id" and value is not None else value
