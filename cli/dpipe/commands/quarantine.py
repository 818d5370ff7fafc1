"""`dpipe quarantine`: the records that were kept out of raw, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dpipe import output
from dpipe.context import JsonFlag, dataset_names, open_project

app = typer.Typer(help="Quarantine: rejected and duplicate records.", no_args_is_help=True)


@app.command("list")
def list_reasons(
    ctx: typer.Context,
    dataset: Annotated[
        str | None, typer.Argument(help="Dataset; all when left out", autocompletion=dataset_names)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Count quarantined records by what they broke. A record that broke several rules counts under each.

    Example: `dpipe quarantine list flights`
    """
    from dpipe.contract import contract_path
    from dpipe.iceberg import open_catalog, quarantine

    project = open_project(ctx)
    if dataset is not None:
        contract_path(project, dataset)
    catalog = open_catalog(project)
    names = [dataset] if dataset else quarantine.datasets(catalog)
    found = [reason for name in names for reason in quarantine.reasons(catalog, name)]
    if as_json:
        output.emit_json(found)
        return
    columns = ("dataset", "disposition", "column", "rule", "records")
    output.table(
        columns, [tuple("" if row[name] is None else row[name] for name in columns) for row in found]
    )


@app.command()
def show(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(help="Dataset", autocompletion=dataset_names)],
    batch: Annotated[str | None, typer.Option(help="Only this batch: its id, or the beginning.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only records that broke this rule.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many records at most.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Show quarantined records: place, disposition, every violation, and the bytes as they came.

    Bytes that are not UTF-8 are shown as `\\xff`.

    Example: `dpipe quarantine show flights --rule minimum --limit 5`
    """
    from dpipe.contract import contract_path
    from dpipe.iceberg import open_catalog, quarantine

    project = open_project(ctx)
    contract_path(project, dataset)
    found = quarantine.records(open_catalog(project), dataset, batch=batch, rule=rule, limit=limit)
    if as_json:
        output.emit_json(found)
        return
    for row in found:
        _print(row)
    output.note(f"{len(found)} record(s) shown")


def _print(row: dict[str, Any]) -> None:
    place = [f"{row['_dpipe_batch_id']} record {row['_dpipe_record_no']}"]
    place += [
        f"{word} {row[name]}"
        for name, word in (("member", "in"), ("line", "line"), ("byte_offset", "byte"))
        if row[name] is not None
    ]
    output.emit(f"{', '.join(place)}: {row['disposition']}")
    if row["winner_batch_id"] is not None:
        winner = f"{row['winner_batch_id']} record {row['winner_record_no']}"
        output.emit(f"  {row['duplicate_kind']} to {winner}, which was kept")
    for violation in row["violations"]:
        output.emit(f"  {violation['column'] or 'record'}: {violation['rule']}: {violation['message']}")
    output.emit(f"  {row['raw'].decode('utf-8', 'backslashreplace')}")
