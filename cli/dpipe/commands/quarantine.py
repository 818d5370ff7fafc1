"""`dpipe quarantine`: the records that were kept out of raw, and why."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from dpipe import output
from dpipe.context import (
    AsOfOption,
    JsonFlag,
    ReasonOption,
    dataset_names,
    given_reason,
    moment,
    open_project,
)
from dpipe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpipe.contract import CsvOptions
    from dpipe.stages.replay import ReplayResult

app = typer.Typer(help="Quarantine: rejected and duplicate records.", no_args_is_help=True)

BatchOption = Annotated[str | None, typer.Option(help="Only this batch: its id, or the beginning.")]
RecordOption = Annotated[
    list[int] | None, typer.Option(min=1, help="Only records with this number, more by repeating it.")
]
RuleOption = Annotated[str | None, typer.Option(help="Only records that broke this rule.")]


@app.command("list")
def list_reasons(
    ctx: typer.Context,
    dataset: Annotated[
        str | None, typer.Argument(help="Dataset; all when left out", autocompletion=dataset_names)
    ] = None,
    batch: BatchOption = None,
    rule: Annotated[str | None, typer.Option(help="Only this rule.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=moment, metavar="TIME", help="Only batches that were committed since: `2026-01-31`."
        ),
    ] = None,
    as_of: AsOfOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Count quarantined records by what they broke. A record that broke several rules counts under each.

    Those that were replayed or dismissed are no longer open.

    Example: `dpipe quarantine list flights`
    """
    from dpipe.contract import contract_path
    from dpipe.iceberg import history, open_catalog, quarantine

    project = open_project(ctx)
    if dataset is not None:
        contract_path(project, dataset)
    catalog = history.at(open_catalog(project), as_of)
    names = [dataset] if dataset else quarantine.datasets(catalog)
    found = [
        reason
        for name in names
        for reason in quarantine.reasons(catalog, name, batch=batch, rule=rule, since=since)
    ]
    if as_json:
        output.emit_json(found)
        return
    columns = ("dataset", "disposition", "column", "rule", "records", "open")
    output.table(
        columns, [tuple("" if row[name] is None else row[name] for name in columns) for row in found]
    )


@app.command()
def show(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(help="Dataset", autocompletion=dataset_names)],
    batch: BatchOption = None,
    rule: RuleOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many records at most.")] = 20,
    as_of: AsOfOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show quarantined records: where they came from, and every violation with its place in the bytes as they came.

    Bytes that are not UTF-8 are shown as `\\xff`.

    Example: `dpipe quarantine show flights --rule minimum --limit 5`
    """
    from dpipe.contract import contract_for
    from dpipe.iceberg import history, open_catalog, quarantine

    project = open_project(ctx)
    options = contract_for(project, dataset).plan.csv
    catalog = history.at(open_catalog(project), as_of)
    found = quarantine.records(catalog, dataset, batch=batch, rule=rule, limit=limit)
    if as_json:
        output.emit_json(found)
        return
    for row in found:
        _print(row, options)
    output.note(f"{len(found)} record(s) shown")


@app.command()
def export(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(help="Dataset", autocompletion=dataset_names)],
    batch: BatchOption = None,
    rule: RuleOption = None,
    to: Annotated[Path | None, typer.Option(help="A new file; stdout when left out.")] = None,
    as_of: AsOfOption = None,
) -> None:
    """Write rejected records that nothing has become of yet as lines of JSON, to be mended and replayed.

    Example: `dpipe quarantine export flights --rule minimum --to bad.ndjson`
    """
    from dpipe.contract import contract_path
    from dpipe.iceberg import history, open_catalog, quarantine
    from dpipe.stages import patch

    project = open_project(ctx)
    contract_path(project, dataset)
    catalog = history.at(open_catalog(project), as_of)
    rows = quarantine.open_records(catalog, dataset, batch=batch, rule=rule)
    records = 0
    with _new_file(to) as file:
        for row in rows:
            file.write(patch.line(row))
            records += 1
    output.note(f"{records:,} record(s) exported")


@contextmanager
def _new_file(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        with path.open("x", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise UsageError(
            f"`{path}` can't be written: {error.strerror}", hint="name a new file in a folder that is there"
        ) from error


@app.command()
def replay(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(help="Dataset", autocompletion=dataset_names)],
    batch: BatchOption = None,
    rule: RuleOption = None,
    record: RecordOption = None,
    patch: Annotated[
        Path | None,
        typer.Option(help="Mended records: lines of `dpipe quarantine export` with another `raw`."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be replayed.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Judge rejected records again, by the contract as it is now, and bring those that pass into raw.

    They keep the batch and the number that they came with. Doing it again adds nothing.

    Example: `dpipe quarantine replay flights --rule maxLength --dry-run`
    """
    from dpipe.contract import contract_for
    from dpipe.lineage import recorded
    from dpipe.stages import patch as patches
    from dpipe.stages.process import check_refused
    from dpipe.stages.replay import Selection
    from dpipe.stages.replay import replay as stage

    project = open_project(ctx)
    most_bytes = contract_for(project, dataset).plan.max_record_bytes
    mended = None if patch is None else patches.read(patch, most_bytes)
    selection = Selection(batch, rule, frozenset(record or ()))
    with recorded(project, "quarantine replay") as run:
        result = stage(project, dataset, selection, run=run, patches=mended, dry_run=dry_run)
        if as_json:
            output.emit_json(result)
        else:
            _print_replay(result, dry_run=dry_run)
        check_refused(result.process.refused if result.process else (), "what could be committed is")


@app.command()
def dismiss(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(help="Dataset", autocompletion=dataset_names)],
    reason: ReasonOption,
    batch: BatchOption = None,
    rule: RuleOption = None,
    record: RecordOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are open.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Leave rejected records alone for good: they are no longer open, and no replay takes them.

    They stay in the quarantine table. Who looks at one later finds the reason with `dpipe audit show`.

    Example: `dpipe quarantine dismiss flights --rule utf8 --reason "sent again in another file"`
    """
    from dpipe.stages.replay import Selection
    from dpipe.stages.replay import dismiss as stage
    from dpipe.state import runs

    selection = Selection(batch, rule, frozenset(record or ()))
    if selection.is_everything != everything:
        raise UsageError(
            "--all goes without --batch, --rule and --record" if everything else "no records are chosen",
            hint="choose by --batch, --rule or --record, or dismiss --all",
        )
    project, why = open_project(ctx), given_reason(reason)
    with runs.recorded(project, "quarantine dismiss") as run:
        count = stage(project, dataset, selection, reason=why, run=run)
    if as_json:
        output.emit_json({"dataset": dataset, "dismissed": count})
    else:
        output.emit(f"{count:,} record(s) dismissed")


def _print_replay(result: ReplayResult, *, dry_run: bool) -> None:
    left = (
        (result.still_broken, "still break the contract"),
        (result.incomplete, "are not kept whole, so they can only be patched"),
        (result.unchanged, "are in the patch as they were"),
        (result.not_open, "of the patch are not in quarantine, or not any more"),
    )
    output.emit(
        f"{result.replayed:,} of {result.looked_at:,} record(s) {'would be' if dry_run else 'were'} replayed"
    )
    for records, what in left:
        if records:
            output.emit(f"{records:,} {what}")
    for violation in result.violations:
        output.emit(f"  {violation['column'] or 'record'}: {violation['rule']}: {violation['records']:,}")
    if result.process is not None:
        output.emit(result.process.describe())


def _print(row: dict[str, Any], options: CsvOptions) -> None:
    from dpipe.stages.marks import marked

    place = [f"{row['_dpipe_batch_id']} record {row['_dpipe_record_no']}"]
    place += [
        f"{word} {row[name]}"
        for name, word in (("member", "in"), ("line", "line"), ("byte_offset", "byte"))
        if row[name] is not None
    ]
    output.emit(f"{', '.join(place)}: {row['disposition']}")
    if row["winner_batch_id"] is not None:
        winner = f"{row['winner_batch_id']} record {row['winner_record_no']}"
        output.emit(f"  {row['duplicate_kind']} to {winner}, which was taken instead")
    for line in marked(row, options):
        output.emit(f"  {line}")
