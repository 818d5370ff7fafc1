"""`dpipe cost`: what runs used and what that costs, and what other architectures would."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dpipe import output
from dpipe.context import JsonFlag, moment, open_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpipe.cost.model import PriceFile

MOST_TIMES, MOST_PROJECTIONS = 1_000_000, 10
MOST_BENCH_BYTES = 16 << 20


class By(StrEnum):
    """What costs can be put together by."""

    DATASET = "dataset"
    STAGE = "stage"
    DAY = "day"
    RUN = "run"


PricesOption = Annotated[
    Path | None,
    typer.Option("--prices", exists=True, dir_okay=False, help="Instead of `configs/prices.yaml`."),
]

app = typer.Typer(help="What runs cost, and what other architectures would.", invoke_without_command=True)


@app.callback()
def cost(
    ctx: typer.Context,
    by: Annotated[By, typer.Option(help="What to put together.")] = By.STAGE,
    since: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help="Only what began since then; UTC without a zone."),
    ] = None,
    project_at: Annotated[
        str, typer.Option(help="How many times the records to project to, parted by commas; empty for none.")
    ] = "10,100",
    prices: PricesOption = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write a chart of it to this file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what runs used, and what that costs by `configs/prices.yaml`, by dataset, stage, day or run.

    Example: `dpipe cost --by dataset --since 2026-11-01`
    """
    if ctx.invoked_subcommand is not None:
        return
    from dpipe.cost import ledger, price_file, report

    project = open_project(ctx)
    times = _times(project_at)
    file = price_file.prices(project, prices)
    bill = ledger.bill(project, file, by=by.value, since=since, times=times)
    if svg is not None:
        _write(svg, report.bill_chart(bill, file))
    if as_json:
        output.emit_json(report.bill_document(bill, file, since.isoformat() if since else None))
        return
    if not bill.groups:
        output.emit("no run has been written down" + (" since then" if since else "") + " yet")
        return
    columns = report.bill_columns(bill)
    output.table(columns, report.bill_rows(bill), numbers=columns[1:])
    output.emit(f"money in {file.currency}; a project's disk and machine that nothing runs on aren't in it")
    for note in bill.notes:
        output.note(f"note: {note}")
    _tell_of(report.assumptions(file.ledger, "ledger"), file)


@app.command()
def compare(
    ctx: typer.Context,
    records_per_day: Annotated[
        float | None, typer.Option(min=1, max=1e15, help="Instead of the file's workload.")
    ] = None,
    bench: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Rates of this machine, by `dpipe bench kernel --json`."
        ),
    ] = None,
    prices: PricesOption = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write the bars to this file.")] = None,
    growth_svg: Annotated[
        Path | None, typer.Option("--growth-svg", help="Write the lines over records a day to this file.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare what architectures would cost a month, by the assumptions in `configs/prices.yaml`.

    Example: `dpipe cost compare --records-per-day 1e9 --svg bars.svg`
    """
    from dpipe.cost import architectures, price_file, report

    file = price_file.prices(open_project(ctx), prices)
    if bench is not None:
        file = architectures.with_bench(file, _bench(bench))
    found = architectures.compare(file, records_per_day)
    if svg is not None:
        _write(svg, report.comparison_chart(found, file))
    if growth_svg is not None:
        _write(growth_svg, report.growth_chart(found, file))
    document = report.comparison_document(found, file)
    if as_json:
        output.emit_json(document)
        return
    output.table(
        report.COMPARISON,
        report.comparison_rows(found),
        title=f"{found.records_per_day:,.0f} records a day; {file.currency} a month",
        numbers=report.COMPARISON[2:],
    )
    for said in report.savings_said(found, file):
        output.emit(said)
    _tell_of(document["assumptions"], file)


def _tell_of(assumptions: Sequence[dict[str, Any]], file: PriceFile) -> None:
    """Show what the money rests on."""
    from dpipe.cost import report

    output.emit("")
    output.table(
        ["assumption", "value", "is", "note"],
        [(one["key"], _plain(one["value"]), one["basis"], one["note"] or "") for one in assumptions],
        numbers=["value"],
    )
    output.table(
        ["price", file.currency, "for", "as of", "", "source"],
        [
            (
                one["key"],
                _plain(one["price"]),
                one["unit"],
                one["as_of"].isoformat(),
                "unverified" if one["unverified"] else "",
                one["source"],
            )
            for one in report.prices_in_use(file)
        ],
        numbers=[file.currency],
    )


def _plain(value: object) -> str:
    return f"{value:,.10g}" if isinstance(value, float) else str(value)


def _times(said: str) -> list[int]:
    from dpipe.errors import UsageError

    words = [word.strip() for word in said.split(",")] if said.strip() else []
    times = [int(word) for word in words if word.isascii() and word.isdigit() and len(word) < len("10000000")]
    if (
        len(times) != len(words)
        or len(times) > MOST_PROJECTIONS
        or not all(1 <= one <= MOST_TIMES for one in times)
    ):
        raise UsageError(
            f"`--project-at {said}` isn't understood",
            hint=f"write up to {MOST_PROJECTIONS} whole numbers from 1 to {MOST_TIMES:,}, e.g. `10,100`",
        )
    return sorted(set(times))


def _bench(path: Path) -> Any:  # noqa: ANN401 - whatever it holds
    import json

    from dpipe.errors import UsageError

    try:
        with path.open("rb") as file:
            content = file.read(MOST_BENCH_BYTES + 1)
        if len(content) > MOST_BENCH_BYTES:
            raise ValueError(f"it is larger than {MOST_BENCH_BYTES:,} bytes")  # noqa: TRY301
        return json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"`{path}` can't be read: {error}", hint="make it so: `dpipe bench kernel --json > bench.json`"
        ) from error


def _write(path: Path, content: str) -> None:
    from dpipe.errors import UsageError

    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"`{path}` can't be written: {error.strerror}", hint="name another file") from error
    output.note(f"wrote {path}")
