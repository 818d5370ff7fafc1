"""The commands themselves, start-up and Iceberg's commits included, on a project that lives as long as the run."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpipe.bench import flights
from dpipe.bench.machine import machine
from dpipe.errors import DpipeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dpipe.bench.flights import Compression, Format

PATH = ("ingest", "process")
REST_OF_PATH = ("validate raw", "transform", "validate marts", "publish")
# The project's datasets beside flights, which the marts need.
OTHERS = ("airlines", "airports", "planes", "weather")
ARGUMENTS = {
    "process": ("process", "flights"),
    "validate raw": ("validate", "--layer", "raw"),
    "transform": ("transform",),
    "validate marts": ("validate", "--layer", "staging", "--layer", "marts"),
    "publish": ("publish",),
}


@dataclass(frozen=True)
class StageReport:
    """A command's wall seconds in each run."""

    stage: str
    seconds: list[float]
    median_seconds: float
    records_per_second: int


@dataclass(frozen=True)
class PipelineReport:
    """What was measured; `seconds` is the sum of the stages' medians."""

    bench: str
    input: dict[str, Any]
    runs: int
    stages: list[StageReport]
    seconds: float
    machine: dict[str, Any]


def bench_pipeline(
    records: int,
    *,
    form: Format,
    compression: Compression,
    runs: int,
    whole: bool,
    on_step: Callable[[str], None] = lambda _step: None,
) -> PipelineReport:
    """Time each stage as a command on made-up flights, each run in a new project like the one of `dpipe init`.

    `whole` goes on to the published marts, for which the project's other datasets are landed and processed before.
    Raises `DpipeError` when a command fails.
    """
    taken: dict[str, list[float]] = {stage: [] for stage in (*PATH, *(REST_OF_PATH if whole else ()))}
    with tempfile.TemporaryDirectory(prefix="dpipe-bench-") as name:
        folder = Path(name)
        source = folder / f"flights.{form}"
        on_step(f"making {records:,} records")
        flights.write(source, records, form=form, compression=compression)
        for number in range(1, runs + 1):
            project = new_project(folder / f"project_{number}", whole=whole)
            for stage, seconds in taken.items():
                on_step(f"run {number} of {runs}: {stage}")
                arguments = ARGUMENTS.get(stage, ("ingest", "flights", str(source)))
                seconds.append(command(*arguments, project=project))
        size = source.stat().st_size
    stages = [
        StageReport(
            stage=stage,
            seconds=[round(second, 3) for second in seconds],
            median_seconds=round(statistics.median(seconds), 3),
            records_per_second=round(records / statistics.median(seconds)),
        )
        for stage, seconds in taken.items()
    ]
    return PipelineReport(
        bench="pipeline",
        input={"records": records, "bytes": size, "format": form, "compression": compression},
        runs=runs,
        stages=stages,
        seconds=round(sum(stage.median_seconds for stage in stages), 3),
        machine=machine(),
    )


def new_project(folder: Path, *, whole: bool) -> Path:
    """A project like that of `dpipe init`; with what the marts need beside flights, when they are asked for."""
    command("init", str(folder))
    if whole:
        for dataset in OTHERS:
            command("ingest", dataset, project=folder)
        command("process", *OTHERS, project=folder)
    return folder


def command(*arguments: str, project: Path | None = None) -> float:
    """Wall seconds of `dpipe …`. Raises `DpipeError` when it fails."""
    where = [] if project is None else ["--project", str(project)]
    # Installed software has its byte code at hand; where none may be written, each command would compile it anew.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "dpipe", "--quiet", *where, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise DpipeError(f"`dpipe {' '.join(arguments)}` failed: {said}", hint="please report it")
    return seconds
