"""`dpipe audit`: proof that every record is accounted for, and the story of each."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dpipe import output
from dpipe.context import JsonFlag, dataset_names, open_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpipe.stages.audit.findings import DatasetAudit

app = typer.Typer(help="Audit: prove the lake from its files, tell a batch's story.", no_args_is_help=True)

SHOWN = 10


@app.command()
def verify(
    ctx: typer.Context,
    datasets: Annotated[
        list[str] | None, typer.Argument(help="Datasets; all when left out", autocompletion=dataset_names)
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads; 0 means every core.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Prove from landing and the tables' files that every record of every batch is there once, unchanged.

    Ends with exit code 1 when something does not hold, and names it. Nothing is changed.

    Example: `dpipe audit verify flights`
    """
    from dpipe.errors import DataError
    from dpipe.stages.audit.verify import verify as stage
    from dpipe.state import runs

    project = open_project(ctx, threads=threads)
    with runs.recorded(project, "audit verify"):
        audits = stage(project, datasets)
        if as_json:
            output.emit_json(
                {
                    "holds": all(audit.holds for audit in audits),
                    "datasets": [{**asdict(audit), "holds": audit.holds} for audit in audits],
                }
            )
        else:
            _print(audits)
        findings = [finding for audit in audits for finding in audit.findings]
        if findings:
            first = findings[0]
            raise DataError(
                f"{len(findings)} thing(s) of the lake don't hold; the first, of `{first.dataset}`: "
                f"{first.subject}: {first.message}",
                hint="restore what was changed from a backup; `dpipe audit show BATCH` tells where a batch came from",
            )


def _print(audits: Sequence[DatasetAudit]) -> None:
    sums = ("records_in", "accepted", "rejected", "duplicate", "replayed", "superseded")
    counted = ("commits", "batches", *sums, "recounted", "files")
    output.table(
        ["dataset", *(name.replace("_", " ") for name in counted), "MB", "holds"],
        [
            (audit.dataset, *(getattr(audit, name) for name in counted), audit.bytes / 1e6, audit.holds)
            for audit in audits
        ],
    )
    for audit in audits:
        for finding in audit.findings[:SHOWN]:
            output.emit(f"{finding.dataset}: {finding.check}: {finding.subject}: {finding.message}")
        if len(audit.findings) > SHOWN:
            output.emit(f"{audit.dataset}: and {len(audit.findings) - SHOWN} more; --json has them all")


@app.command()
def show(
    ctx: typer.Context,
    batch: Annotated[str, typer.Argument(help="Id of the batch, or its beginning")],
    record: Annotated[int | None, typer.Option(min=1, help="One record of it, by its number.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell what became of a batch: where it came from, its runs, counts, snapshot, marts; and of one record.

    Example: `dpipe audit show file-3fa9 --record 17`
    """
    from dpipe.stages.audit.story import story

    told = story(open_project(ctx), batch, record)
    if as_json:
        output.emit_json(told)
        return
    output.emit(f"{told.batch.batch_id} of {told.batch.dataset}: {told.batch.state}")
    for event in told.events:
        at = event.at.isoformat(sep=" ", timespec="seconds") if event.at else "?"
        output.emit(f"  {at}  {event.what}: {event.detail}")
    if told.record is not None:
        output.emit(f"record {told.record.record_no}: {told.record.disposition}")
        for namespace, row in (
            *(("quarantine", row) for row in told.record.judgements),
            ("raw", told.record.row),
        ):
            _print_row(namespace, row or {})
        if told.record.dismissed:
            at = told.record.dismissed["dismissed_at"].isoformat(sep=" ", timespec="seconds")
            output.emit(f"  dismissed {at}: {told.record.dismissed['reason']}")


def _print_row(namespace: str, row: dict[str, Any]) -> None:
    if row:
        output.emit(f"  in {namespace}:")
    for name, value in row.items():
        if value is not None:
            shown = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
            output.emit(f"    {name}: {shown}")
