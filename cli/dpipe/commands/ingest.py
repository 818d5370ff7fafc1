"""`dpipe ingest`: take files into landing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag, dataset_names, open_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpipe.landing import Landed
    from dpipe.settings import Project


def ingest(
    ctx: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Argument(help="Dataset; every one under `sources` when left out", autocompletion=dataset_names),
    ] = None,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files; those under `sources` when left out")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Send the files to this API instead; no project is needed here, but a key in `DPIPE_API_KEY`.",
        ),
    ] = None,
    stream: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="STREAM",
            help="Take what this stream has up to now: kinesis://name?region=eu-west-1.",
        ),
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, max=32, help="With --to: files sent at once.")] = 4,
    wait: Annotated[
        float,
        typer.Option(min=0, max=60, metavar="SECONDS", help="With --to: wait for what becomes of each."),
    ] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Copy files into landing, unchanged. A file that has landed before is not landed again.

    With --from it lands the records of a stream instead, from where the last one ended, each once.

    Example: `dpipe ingest flights data/flights.csv.zip`, or to another machine
    `dpipe ingest flights data/*.csv --to https://dpipe.example.org`, or out of a stream
    `dpipe ingest flights --from kinesis://flights?region=eu-west-1`
    """
    from dpipe.errors import UsageError
    from dpipe.lineage import recorded
    from dpipe.stages.ingest import ingest as stage
    from dpipe.stages.ingest import source_files

    if stream is not None:
        _take(open_project(ctx), stream, dataset, with_others=bool(files or to), as_json=as_json)
        return
    if to is not None:
        _send(to, dataset, files, parallel, wait, as_json=as_json)
        return
    project = open_project(ctx)
    names = [dataset] if dataset else list(project.settings.sources)
    if not names:
        raise UsageError(
            "the settings name no sources", hint="name a dataset and files: `dpipe ingest DATASET FILE…`"
        )
    wanted = {name: files or source_files(project, name) for name in names}
    with recorded(project, "ingest") as run:
        landed = [batch for name, paths in wanted.items() for batch in stage(project, name, paths, run)]
    if as_json:
        output.emit_json({"run_id": run.run_id, "batches": landed})
    else:
        _print(landed)


def _take(project: Project, stream: str, dataset: str | None, *, with_others: bool, as_json: bool) -> None:
    from dpipe.errors import UsageError
    from dpipe.lineage import recorded
    from dpipe.stages.consume.drain import ingest_stream

    if dataset is None or with_others:
        raise UsageError(
            "a stream is taken by itself, into one dataset",
            hint="write `dpipe ingest DATASET --from kinesis://name`",
        )
    with recorded(project, "ingest") as run:
        landed = ingest_stream(project, dataset, stream, run)
    if as_json:
        output.emit_json({"run_id": run.run_id, "batches": landed})
        return
    if not landed:
        output.note(f"`{stream}` has nothing that hasn't landed")
        return
    places = [(one, one.manifest.position) for one in landed]
    output.table(
        ["dataset", "batch", "shard", "records", "bytes", ""],
        [
            (
                one.manifest.dataset,
                one.manifest.batch_id,
                place.shard if place else "",
                place.records if place else None,
                one.manifest.bytes,
                "landed before" if one.already else "landed",
            )
            for one, place in places
        ],
    )


def _send(
    url: str, dataset: str | None, files: list[Path] | None, parallel: int, wait: float, *, as_json: bool
) -> None:
    from dpipe.errors import DataError, UsageError
    from dpipe.stages.submit import KEY_VARIABLE, Api, submit

    if dataset is None or not files:
        raise UsageError(
            "there is nothing to send", hint="name a dataset and files: `dpipe ingest DATASET FILE… --to URL`"
        )
    api = Api(url.rstrip("/"), os.environ.get(KEY_VARIABLE))
    sent = submit(api, dataset, files, parallel=parallel, wait=wait)
    if as_json:
        output.emit_json(sent)
    else:
        counts = ("records_in", "accepted", "rejected", "duplicate")
        output.table(
            ["file", "job", "bytes", "state", *(name.replace("_", " ") for name in counts), ""],
            [
                (
                    one.file,
                    *(one.job[name] for name in ("job_id", "bytes", "state", *counts)),
                    "sent before" if one.already else "sent",
                )
                for one in sent
            ],
        )
    refused = [one for one in sent if one.job["state"] == "refused"]
    if refused:
        said = "; ".join(f"`{one.file}`: {', '.join(one.job['reasons'])}" for one in refused)
        raise DataError(
            f"refused {len(refused)} batch(es): {said}",
            hint="mend the data, or ask for `dpipe batches release`",
        )


def _print(landed: Sequence[Landed]) -> None:
    output.table(
        ["dataset", "batch", "file", "bytes", ""],
        [
            (
                batch.manifest.dataset,
                batch.manifest.batch_id,
                batch.manifest.name,
                batch.manifest.bytes,
                "landed before" if batch.already else "landed",
            )
            for batch in landed
        ],
    )
