"""`dpipe bench`: how fast, beside what."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dpipe import output
from dpipe.context import JsonFlag, open_project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from dpipe.bench.kernel import Input, KernelReport
    from dpipe.contract import Plan

LEAST_RECORDS, MOST_RECORDS = 1_000, 30_000_000
MOST_RECORDS_A_REQUEST = 2_000

app = typer.Typer(help="Measure speed and memory, on this machine.", no_args_is_help=True)


class Format(StrEnum):
    """Formats that can be measured."""

    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"


class Shape(StrEnum):
    """Shapes of made-up records."""

    FLAT = "flat"
    NESTED = "nested"


class Compression(StrEnum):
    """Compressions of the text formats."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


Threads = Annotated[int, typer.Option(min=0, help="Threads of every engine; 0 means one a core.")]
Runs = Annotated[int, typer.Option(min=1, max=100, help="Timed runs of each, in turn.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a report with charts to this file.")]


@app.command()
def kernel(
    ctx: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Your own file instead of made-up records."),
    ] = None,
    contract: Annotated[
        str | None, typer.Option(help="With --data: a contract's file, or a dataset of the project.")
    ] = None,
    format_: Annotated[
        Format | None, typer.Option("--format", help="By default NDJSON, or what the file's name says.")
    ] = None,
    compression: Annotated[Compression | None, typer.Option(help="Compression of text formats.")] = None,
    shape: Annotated[
        Shape | None,
        typer.Option(
            help="Made-up records: flights, or orders with objects and arrays (NDJSON). By default `flat`.",
            show_default=False,
        ),
    ] = None,
    records: Annotated[int, typer.Option(min=1_000, max=30_000_000, help="Records to make.")] = 1_000_000,
    runs: Runs = 3,
    threads: Threads = 0,
    against: Annotated[
        str | None,
        typer.Option(
            help="Baselines parted by commas: pure_python, pydantic, duckdb, polars.", show_default=False
        ),
    ] = None,
    without_profile: Annotated[
        bool, typer.Option("--no-profile", help="Without a profile of the accepted values, dpipe's included.")
    ] = False,
    html: Html = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write the chart alone to this file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Time the kernel beside baselines at the same work.

    The clock starts once their results are shown to be the same. What can't do the work is left out by name.

    Example: `dpipe bench kernel --shape nested --records 200000 --against pure_python,duckdb`
    """
    import tempfile

    from dpipe.bench import engines, kernel_page
    from dpipe.bench.kernel import bench_kernel
    from dpipe.errors import UsageError

    names = engines.chosen(against)
    with tempfile.TemporaryDirectory(prefix="dpipe-bench-") as folder:
        if data is None:
            if contract is not None:
                raise UsageError("`--contract` is for a file of yours", hint="name it: `--data FILE`")
            given = _made(
                Path(folder),
                records,
                format_ or Format.NDJSON,
                compression or Compression.NONE,
                shape or Shape.FLAT,
            )
        else:
            if shape is not None:
                raise UsageError(
                    "`--shape` is for made-up records",
                    hint="leave it out: the contract says the file's shape",
                )
            given = _own(data, _plan(ctx, contract), format_, compression)
        report = bench_kernel(
            given,
            against=names,
            runs=runs,
            threads=threads,
            profile=not without_profile,
            on_step=_step,
        )
    if html is not None:
        _write(html, kernel_page.html(report))
    if svg is not None:
        _write(svg, kernel_page.chart(report))
    _answer(report, as_json=as_json)


@app.command()
def pipeline(
    records: Annotated[int, typer.Option(min=1_000, max=30_000_000, help="Records to make.")] = 1_000_000,
    format_: Annotated[Format, typer.Option("--format", help="Format of the landed file.")] = Format.NDJSON,
    compression: Annotated[Compression, typer.Option(help="Compression of text formats.")] = Compression.NONE,
    whole: Annotated[
        bool, typer.Option("--whole", help="Go on to validate, transform and publish: minutes, not seconds.")
    ] = False,
    runs: Runs = 3,
    html: Html = None,
    as_json: JsonFlag = False,
) -> None:
    """Time the stages as the commands that they are.

    Start-up and commits are included. The project is a new one, which is gone afterwards.

    Example: `dpipe bench pipeline --records 200000 --whole`
    """
    from dpipe.bench import pipeline_page
    from dpipe.bench.pipeline import bench_pipeline

    _refuse_packed_parquet(format_, compression)
    report = bench_pipeline(
        records,
        form=format_.value,
        compression=compression.value,
        runs=runs,
        whole=whole,
        on_step=_step,
    )
    _show(report, pipeline_page, html, as_json=as_json)


@app.command()
def scaling(
    records: Annotated[
        str, typer.Option(help="Numbers of records, parted by commas.")
    ] = "1000000,3000000,10000000",
    format_: Annotated[Format, typer.Option("--format", help="Format of the file.")] = Format.NDJSON,
    runs: Runs = 3,
    html: Html = None,
    as_json: JsonFlag = False,
) -> None:
    """Time the kernel as its input grows.

    Time and peak memory over records (with and without a key), columns, threads and partitions.

    Example: `dpipe bench scaling --records 100000,300000 --html scaling.html`
    """
    from dpipe.bench import scaling_page
    from dpipe.bench.scaling import bench_scaling

    report = bench_scaling(
        _numbers(records, least=LEAST_RECORDS, most=MOST_RECORDS),
        form=format_.value,
        runs=runs,
        on_step=_step,
    )
    _show(report, scaling_page, html, as_json=as_json)


@app.command()
def api(
    records: Annotated[str, typer.Option(help="Records a request, parted by commas.")] = "1,1000",
    requests: Annotated[int, typer.Option(min=100, max=1_000_000, help="Requests of each run.")] = 5_000,
    connections: Annotated[int, typer.Option(min=1, max=1_000, help="Connections at once.")] = 64,
    runs: Runs = 3,
    html: Html = None,
    as_json: JsonFlag = False,
) -> None:
    """Time the API beside an endpoint that only keeps bytes.

    Both are real servers on this machine; dpipe's takes each request durably, with a key, a name and a job.

    Example: `dpipe bench api --requests 2000 --runs 5`
    """
    from dpipe.bench import api_page
    from dpipe.bench.api import bench_api

    report = bench_api(
        _numbers(records, least=1, most=MOST_RECORDS_A_REQUEST),
        requests=requests,
        connections=connections,
        runs=runs,
        on_step=_step,
    )
    _show(report, api_page, html, as_json=as_json)


@app.command()
def freshness(
    minutes: Annotated[float, typer.Option(min=0.1, max=1440, help="How long to send.")] = 10,
    rate: Annotated[float, typer.Option(min=0.01, max=1000, help="Submissions a second.")] = 2,
    records: Annotated[int, typer.Option(min=1, max=2_000, help="Records a submission.")] = 20,
    transform_every: Annotated[
        float, typer.Option(min=0, help="Seconds between publications of the marts, or more.")
    ] = 30,
    as_json: JsonFlag = False,
) -> None:
    """Time records from a request to the tables and to the published marts.

    A server and a worker run on a new project, which is gone afterwards; submissions trickle in at a steady rate.

    Example: `dpipe bench freshness --minutes 2 --rate 5`
    """
    from dpipe.bench.freshness import bench_freshness

    report = bench_freshness(
        minutes=minutes, rate=rate, records=records, transform_every=transform_every, on_step=_step
    )
    if as_json:
        output.emit_json(report)
        return
    output.table(
        ("seconds from the request to", "p50", "p95", "p99", "most"),
        [
            (name, *vars(spread).values())
            for name, spread in (
                ("its answer", report.acknowledged),
                ("its commit", report.committed),
                ("marts that have it", report.published),
            )
        ],
        title=f"{report.submissions:,} submissions of {report.records_a_submission:,} records in {minutes:g} min",
    )
    output.emit(
        f"Memory: server {report.server_mb_before:,.0f} MB before, {report.server_mb_after:,.0f} MB after; "
        f"worker {report.worker_mb:,.0f} MB"
    )
    _emit_machine(report.machine)


def _numbers(text: str, *, least: int, most: int) -> list[int]:
    from dpipe.errors import UsageError

    sizes = [int(word) for word in text.split(",") if word.strip().isdecimal()]
    if len(sizes) != len(text.split(",")) or min(sizes) < least or max(sizes) > most:
        raise UsageError(
            f"`{text}` are no numbers of records",
            hint=f"write them so: `--records {least},{3 * least}`, from {least:,} to {most:,}",
        )
    return sorted(set(sizes))


def _step(step: str) -> None:
    output.note(f"bench: {step} …")


def _made(folder: Path, records: int, form: Format, compression: Compression, shape: Shape) -> Input:
    from dpipe.bench import flights, orders
    from dpipe.bench.kernel import Input
    from dpipe.errors import UsageError

    _refuse_packed_parquet(form, compression)
    if shape == Shape.NESTED and form != Format.NDJSON:
        raise UsageError(
            f"`--shape nested` is made as NDJSON, not as `{form}`",
            hint="leave `--format` out, or measure `--shape flat`",
        )
    _step(f"making {records:,} records")
    if shape == Shape.NESTED:
        path = folder / "orders.ndjson"
        orders.write(path, records, compression=compression.value)
        return Input(path, form.value, compression.value, orders.plan(), made=True)
    path = folder / f"flights.{form}"
    flights.write(path, records, form=form.value, compression=compression.value)
    return Input(path, form.value, compression.value, flights.plan(), made=True)


def _refuse_packed_parquet(form: Format, compression: Compression) -> None:
    from dpipe.errors import UsageError

    if form == Format.PARQUET and compression != Compression.NONE:
        raise UsageError(
            "`--compression` is for NDJSON and CSV", hint="leave it out, Parquet's pages are compressed"
        )


def _plan(ctx: typer.Context, contract: str | None) -> Plan:
    from dpipe.contract import contract_for, load_contract
    from dpipe.errors import UsageError

    if contract is None:
        raise UsageError(
            "`--data` needs a contract", hint="name one: `--contract FILE` or `--contract DATASET`"
        )
    if Path(contract).is_file():
        return load_contract(Path(contract)).plan
    return contract_for(open_project(ctx), contract).plan


def _own(data: Path, plan: Plan, form: Format | None, compression: Compression | None) -> Input:
    from dpipe.bench.kernel import Input
    from dpipe.errors import UsageError

    named = [suffix.lower() for suffix in data.suffixes]
    by_name = {".gz": Compression.GZIP, ".zst": Compression.ZSTD}.get(named[-1] if named else "")
    if by_name is not None:
        named.pop()
    forms = {
        ".ndjson": Format.NDJSON,
        ".jsonl": Format.NDJSON,
        ".csv": Format.CSV,
        ".parquet": Format.PARQUET,
    }
    found = form or forms.get(named[-1] if named else "")
    if found is None:
        raise UsageError(
            f"the name of `{data}` says no format", hint="give it: `--format ndjson`, `csv` or `parquet`"
        )
    chosen = compression or by_name or Compression.NONE
    return Input(data, found.value, chosen.value, plan, made=False)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    output.note(f"bench: wrote {path}")


def _show(
    report: Any,  # noqa: ANN401 - each page has a report of its own
    page: ModuleType,
    html: Path | None,
    *,
    as_json: bool,
) -> None:
    if html is not None:
        _write(html, page.html(report))
    if as_json:
        output.emit_json(report)
        return
    output.table(page.COLUMNS, page.rows(report), title=page.headline(report))
    _emit_machine(report.machine)


def _answer(report: KernelReport, *, as_json: bool) -> None:
    from dpipe.bench import kernel_page

    if as_json:
        output.emit_json(report)
        return
    output.table(kernel_page.COLUMNS, kernel_page.rows(report), title=kernel_page.headline(report))
    for note in kernel_page.notes(report):
        output.emit(note)
    _emit_machine(report.machine)


def _emit_machine(machine: Mapping[str, object]) -> None:
    output.emit("Machine: " + ", ".join(f"{name} {value}" for name, value in machine.items()))
