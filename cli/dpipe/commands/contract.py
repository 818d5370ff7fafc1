"""`dpipe contract`: what the contracts say, and whether dpipe can carry it out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpipe import output
from dpipe.context import JsonFlag, dataset_names, open_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpipe.contract import Contract
    from dpipe.contract.diff import Difference
    from dpipe.stages.compare import Verdicts
    from dpipe.stages.evolve import Evolution
    from dpipe.warehouse.staging import StagingFile

app = typer.Typer(help="Check and read the data contracts.", no_args_is_help=True)

FAULTY = 2
YAML_SUFFIXES = (".yaml", ".yml")


@app.command()
def lint(
    ctx: typer.Context,
    target: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DATASET|PATH]...",
            help="Datasets or files; all contracts of the project when left out.",
            autocompletion=dataset_names,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say what is wrong with contracts, as file:line:column with the fix; exit code 2 when there is an error.

    Example: `dpipe contract lint flights`
    """
    from dpipe.contract import lint as lint_file

    paths = [_short(path) for path in _paths(ctx, target or [])]
    findings = [finding for path in paths for finding in lint_file(path)]
    errors = sum(finding.severity == "error" for finding in findings)
    if as_json:
        output.emit_json({"contracts": paths, "errors": errors, "findings": findings})
    else:
        for finding in findings:
            output.emit(str(finding))
        counts = ((len(paths), "contract"), (errors, "error"), (len(findings) - errors, "warning"))
        output.emit(", ".join(f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in counts))
    if errors:
        raise typer.Exit(FAULTY)


@app.command()
def show(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(help="The dataset.", autocompletion=dataset_names)],
    as_json: JsonFlag = False,
) -> None:
    """Show what a contract compiles to: columns, rules, key, partition, whole-batch rules.

    Example: `dpipe contract show flights`
    """
    from dpipe.contract import contract_for

    contract = contract_for(open_project(ctx), dataset)
    if as_json:
        output.emit_json(
            {
                "dataset": contract.dataset,
                "version": contract.version,
                "hash": contract.hash,
                "description": contract.description,
                "plan": contract.plan,
                "quality": contract.quality,
            }
        )
    else:
        _print(contract)


@app.command()
def schema(
    ctx: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="DATASET|PATH", help="A dataset, or a contract's file.", autocompletion=dataset_names
        ),
    ],
    as_json: JsonFlag = False,  # noqa: ARG001 - the answer is JSON either way
) -> None:
    """Print the JSON Schema of one record, for clients that check before they send.

    It refuses nothing that dpipe accepts; rules that JSON Schema can't say are in the descriptions.

    Example: `dpipe contract schema flights > flights.schema.json`
    """
    from dpipe.contract.json_schema import json_schema

    output.emit_json(json_schema(_contract(ctx, target)))


@app.command()
def infer(
    ctx: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="CSV, JSON, NDJSON or Parquet, plain, .gz or .zst."),
    ],
    dataset: Annotated[
        str | None, typer.Option(help="The dataset; the file's name up to its first dot when left out.")
    ] = None,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Write each into the project, and its file into `sources`, instead of printing."
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Draft a contract for a file and print it: types, what is never missing, how CSV reads.

    It takes every record that the file has. Keys, limits and what is meant by the columns are yours to add.
    With --write there may be several files, each of a dataset of its own.

    Example: `dpipe contract infer orders.csv`, or `dpipe contract infer data/*.csv --write`
    """
    from dpipe.errors import UsageError
    from dpipe.library.infer import infer as drafted
    from dpipe.stages import drafts

    names = [dataset or file.name.partition(".")[0] for file in files]
    if len(files) > 1 and not write:
        raise UsageError(
            f"{len(files)} files give as many contracts",
            hint="add --write, or name one file to have it printed",
        )
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"several files are of `{name}`", hint="name one of them: a dataset has one contract"
            )
    project = open_project(ctx) if write else None
    if project:
        for name in names:
            drafts.place(project, name)
    # All are drafted before the first is written: a file that can't be read leaves nothing half done.
    found = []
    for file, name, draft in [
        (file, name, drafted(file, name)) for file, name in zip(files, names, strict=True)
    ]:
        path = drafts.write(project, name, draft.text, file) if project else None
        found.append({"dataset": name, "file": file, "contract": path, **vars(draft)})
        if not as_json:
            output.emit(f"{name}: {_short(path)}" if path else draft.text.rstrip())
        output.note(f"{draft.accepted:,} of {draft.records:,} record(s) of `{file}` meet it")
        if draft.left_out:
            output.warn(f"left out, since no contract can name them: {', '.join(draft.left_out)}")
    if as_json:
        output.emit_json(found if write else found[0])
    elif write:
        output.note(
            "next: add keys, limits and descriptions, then dpipe contract lint && dpipe contract apply"
        )


@app.command()
def diff(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD|DATASET", autocompletion=dataset_names)],
    new: Annotated[str | None, typer.Argument(metavar="[NEW]")] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="quarantine|landed|FILE",
            help="Data to be judged by both: what is in quarantine, all that was committed, or files.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say what distinguishes two contracts, and what breaks.

    Of a dataset alone they are the one that its last batch met, and the one that it has now. Ends with exit
    code 1 when the new version is less than semantic versioning asks for.

    Example: `dpipe contract diff flights --against landed`
    """
    from dpipe.contract.diff import asked_version, is_enough
    from dpipe.contract.diff import diff as differences_of
    from dpipe.errors import DataError

    before, after = _pair(ctx, old, new)
    found = differences_of(before, after)
    asked = asked_version(before, found)
    enough = asked is None or is_enough(after.version, asked)
    judged = {name: _judged(ctx, name, before, after) for name in against or ()}
    if as_json:
        versions = {"old": before.version, "new": after.version, "asked": asked, "enough": enough}
        output.emit_json({"differences": found, "versions": versions, "against": judged})
    else:
        _print_differences(found)
        for name, verdicts in judged.items():
            _print_verdicts(name, verdicts)
    if not enough:
        raise DataError(
            f"version {after.version} follows {before.version}, and what changed is {found[0].effect}",
            hint=f"call it {asked}, or take the change back",
        )


def _pair(ctx: typer.Context, old: str, new: str | None) -> tuple[Contract, Contract]:
    from dpipe.contract import contract_for
    from dpipe.stages.compare import last_committed

    if new is None:
        project = open_project(ctx)
        return last_committed(project, old), contract_for(project, old)
    return _contract(ctx, old), _contract(ctx, new)


def _contract(ctx: typer.Context, target: str) -> Contract:
    """The contract in a file, or that of a dataset of the project."""
    from dpipe.contract import Contract, contract_for

    return Contract.load(target) if _is_path(target) else contract_for(open_project(ctx), target)


def _judged(ctx: typer.Context, data: str, old: Contract, new: Contract) -> Verdicts:
    from dpipe.stages.compare import against_files, against_landed, against_quarantine

    if data == "quarantine":
        return against_quarantine(open_project(ctx), new)
    return (
        against_landed(open_project(ctx), old, new)
        if data == "landed"
        else against_files([Path(data)], old, new)
    )


def _print_differences(found: Sequence[Difference]) -> None:
    for one in found:
        output.emit(f"{one.effect}: {one.text}" + (f" ({', '.join(one.stages)})" if one.stages else ""))
    if not found:
        output.emit("the contracts are the same")


def _print_verdicts(data: str, verdicts: Verdicts) -> None:
    output.emit(
        f"of {verdicts.records:,} record(s) in {data}, {verdicts.rescued:,} would pass that didn't, "
        f"{verdicts.newly_rejected:,} would be rejected that weren't"
    )
    for broken in verdicts.breaks:
        output.emit(f"  {broken['column'] or 'record'}: {broken['rule']}: {broken['records']:,}")
    for example in verdicts.examples:
        raw = example["raw"].decode("utf-8", "backslashreplace")
        output.emit(f"  {example['_dpipe_batch_id']} record {example['_dpipe_record_no']}: {raw}")


@app.command()
def plan(
    ctx: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Argument(help="The dataset; every one when left out.", autocompletion=dataset_names),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what a contract asks of the table that is there already: columns to be added, renamed, widened, dropped.

    And what else follows: checks that come or go, files of the dbt project that `apply` writes, and lines of models,
    checks and pages that name a column that goes. With --json it is an object, or a list of them without a dataset.

    Example: `dpipe contract plan flights`
    """
    from dataclasses import asdict

    from dpipe.contract import contract_for, known_datasets
    from dpipe.stages.consequences import consequences
    from dpipe.stages.evolve import planned
    from dpipe.warehouse import staging

    project = open_project(ctx)
    answers = []
    for name in [dataset] if dataset else known_datasets(project):
        evolution = planned(project, name)
        found = consequences(project, evolution)
        files = staging.planned(project, contract_for(project, name))
        answers.append(asdict(evolution) | {"consequences": asdict(found), "files": files})
        if as_json:
            continue
        _print_changes(evolution, files)
        for verb, checks in (("new check", found.checks_added), ("check goes", found.checks_removed)):
            for check in checks:
                output.emit(f"{verb}: {check}")
        for mention in found.mentions:
            output.emit(f"to be mended: {mention.path}:{mention.line} names `{mention.column}`")
    if as_json:
        output.emit_json(answers[0] if dataset else answers)


@app.command()
def apply(
    ctx: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Argument(help="The dataset; every one when left out.", autocompletion=dataset_names),
    ] = None,
    allow_drop: Annotated[
        list[str] | None, typer.Option(help="A column that may be dropped, more by repeating it.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Bring a table up to its contract, in one commit. Files and old snapshots stay as they are.

    The dbt project gets the dataset's source and staging view, with descriptions and tests; what you wrote stays.
    Nothing is dropped that --allow-drop doesn't name. Doing it again changes nothing. With --json it is an object, or
    a list of them without a dataset.

    Example: `dpipe contract apply flights --allow-drop tailnum`
    """
    from dataclasses import asdict

    from dpipe.contract import contract_for, known_datasets
    from dpipe.errors import UsageError
    from dpipe.stages.evolve import evolve
    from dpipe.state import runs
    from dpipe.warehouse import staging

    project = open_project(ctx)
    if allow_drop and dataset is None:
        raise UsageError("--allow-drop is about one dataset", hint="name it: `dpipe contract apply DATASET`")
    answers = []
    with runs.recorded(project, "contract apply") as run:
        for name in [dataset] if dataset else known_datasets(project):
            done = evolve(project, name, run=run, may_drop=allow_drop or ())
            files = staging.write(project, contract_for(project, name))
            answers.append(asdict(done) | {"files": files})
            if not as_json:
                _print_changes(done, files)
    if as_json:
        output.emit_json(answers[0] if dataset else answers)


def _print_changes(evolution: Evolution, files: Sequence[StagingFile]) -> None:
    for change in evolution.changes:
        output.emit(f"{change.kind}: {change.text}")
    for file in files:
        output.emit(f"{file.action}: {_short(Path(file.path))}")
    if not evolution.changes:
        output.emit(
            f"`raw.{evolution.dataset}` fits its contract"
            if evolution.table
            else f"`raw.{evolution.dataset}` has no rows yet and is made as the contract asks"
        )


def _paths(ctx: typer.Context, targets: Sequence[str]) -> list[Path]:
    """Files to look at: a target is a path when it looks like one, else a dataset of the project."""
    from dpipe.contract import FIRST_CONTRACT, contract_path
    from dpipe.errors import UsageError

    if not targets:
        project = open_project(ctx)
        paths = sorted(path for path in project.contracts.glob("*") if path.suffix in YAML_SUFFIXES)
        if not paths:
            raise UsageError(f"no contracts in `{project.contracts}`", hint=FIRST_CONTRACT)
        return paths
    return [
        Path(target) if _is_path(target) else contract_path(open_project(ctx), target) for target in targets
    ]


def _is_path(target: str) -> bool:
    return target.endswith(YAML_SUFFIXES) or "/" in target


def _short(path: Path) -> Path:
    """The path from the current folder on, when it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _print(contract: Contract) -> None:
    plan = contract.plan
    output.emit(f"{contract.dataset} {contract.version} ({contract.hash[:12]})")
    output.emit(contract.description)
    output.emit(f"key: {', '.join(plan.key) or 'none'}")
    if plan.unique:
        output.emit(f"unique: {', '.join(plan.unique)}")
    fields = [
        part.column if part.transform == "identity" else f"{part.transform}({part.column})"
        for part in plan.partition
    ]
    output.emit(f"partition: {', '.join(fields) or 'none'}")
    rows = [
        (column.name, column.type_name, column.required, "; ".join(rule.describe() for rule in column.rules))
        for column in plan.columns
    ]
    output.table(("column", "type", "required", "rules"), rows)
    for comparison in plan.comparisons:
        output.emit(f"record: {comparison.name}: {comparison.describe()}")
    for rule in contract.quality:
        output.emit(f"{rule.severity}: {rule.name}: {rule.describe()}")
