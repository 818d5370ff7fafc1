"""Take TPC-H's files the whole way in a folder of its own, with time and memory of each step; `just tpch` runs it.

    python measure.py dpipe tpchgen-cli SCALE FOLDER

Ends with an error when a count, or the answer to query 1, isn't what DuckDB says of the files.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import duckdb

HERE = Path(__file__).parent
PARTS = ("configs", "transform", "checks")
TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")
AMOUNTS = (
    *("l_quantity", "l_extendedprice", "l_discount", "l_tax", "o_totalprice"),
    *("c_acctbal", "s_acctbal", "p_retailprice", "ps_supplycost"),
)


def step(name: str, command: list[str], folder: Path) -> str:
    """Run a command, say what it took, return what it said."""
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        said = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"`{' '.join(command)}` ended with exit code {process.returncode}")
    seconds, cpu = time.perf_counter() - started, used.ru_utime + used.ru_stime
    tell(f"{name:<32}{seconds:>9.1f} s {cpu:>9.1f} s of CPU {used.ru_maxrss / 1024:>9,.0f} MB at most")
    return said


def tell(line: str) -> None:
    """Say it at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(dpipe: str, tpchgen: str, scale: str, folder: Path) -> None:
    """Make files and a project, run every step, compare."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in PARTS:
        shutil.copytree(HERE / part, folder / part, ignore=shutil.ignore_patterns("target", "logs"))
    step("tpchgen-cli csv", [tpchgen, "csv", "-s", scale, "-o", "data", "--no-progress"], folder)
    files = sorted(str(path.relative_to(folder)) for path in (folder / "data").iterdir())
    for file in files:
        step(f"contract infer {Path(file).name}", [dpipe, "-q", "contract", "infer", file], folder)
    reports = {
        words: step(words, [dpipe, "-q", *words.split(), "--json"], folder)
        for words in (
            *("ingest", "process", "validate --layer raw", "transform", "validate --layer marts", "publish"),
            *("audit verify", "run"),
        )
    }
    compare(folder, json.loads(reports["process"]))


def compare(folder: Path, processed: object) -> None:
    """Hold the lake's counts and the marts' answer against DuckDB's over the files."""
    found = {done["dataset"]: done for done in processed["datasets"]}  # type: ignore[index]
    with duckdb.connect() as files:
        for name in TABLES:
            path = folder / f"data/{name}.csv"
            columns = files.read_csv(str(path)).columns
            types = {column: "decimal(15,2)" for column in columns if column in AMOUNTS}
            files.read_csv(str(path), dtype=types).create_view(name)
            (records,) = files.execute(f"select count(*) from {name}").fetchone() or (None,)  # noqa: S608
            done = found[name]
            kept = done["accepted"] + done["rejected"] + done["duplicate"]
            if not records == done["records_in"] == kept:
                sys.exit(f"{name}: DuckDB counts {records} records, dpipe {done}")
        expected = files.execute((HERE / "query_1.sql").read_text(encoding="utf-8")).fetchall()
    with duckdb.connect(str(folder / "var/warehouse/warehouse.duckdb"), read_only=True) as marts:
        answer = marts.execute("from marts.pricing_summary order by return_flag, line_status").fetchall()
    if answer != expected:
        sys.exit(f"query 1: DuckDB says {expected}, the marts {answer}")
    records = sum(done["records_in"] for done in found.values())
    tell(f"{records:,} records accounted for; the answer to query 1 is DuckDB's")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
