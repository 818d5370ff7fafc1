"""What the made-up inputs share: SQL of values that look random and are the same each time, and of lines."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from dpipe.bench.flights import Compression

# How many lines are on their way from DuckDB to the file; `COPY` can't write a faulty record.
ROWS_HELD = 100_000


def write_text(
    connection: DuckDBPyConnection, lines: str, path: Path, head: str, compression: Compression
) -> None:
    """Write what `lines` gives, SQL of one column of text, after the `head`."""
    import pyarrow as pa

    # At its own default level gzip would take longer than everything else here.
    with (
        gzip.open(path, "wb", compresslevel=1)
        if compression == "gzip"
        else pa.output_stream(str(path), compression=None if compression == "none" else compression)
    ) as out:
        out.write(head.encode())
        for batch in connection.execute(lines).to_arrow_reader(ROWS_HELD):
            out.write("".join(batch.column(0).to_pylist()).encode())


def any_of(number: int, values: tuple[str, ...], of: str = "n") -> str:
    """SQL of one of the values; the arguments as in `random_number`."""
    return f"list_extract({list(values)!r}, 1 + {random_number(number, len(values), of)})"


def random_number(number: int, below: int, of: str = "n") -> str:
    """SQL of a number from 0, the same for each run.

    `of` is SQL of the number of the record, or of something in it; `number` tells the columns apart.
    """
    return f"(hash({of} * 64 + {number}) % {below})::INTEGER"


def lines_of(line: str, records: str) -> str:
    """SQL of the lines with their ends, in order; `records` is a view with a `fault`.

    What breaks off does so in the middle.
    """
    return f"""
    SELECT CASE WHEN fault = 'breaks off' THEN line[:length(line) // 2] || chr(10)
        WHEN fault = 'twice' THEN line || chr(10) || line || chr(10)
        ELSE line || chr(10) END
    FROM (SELECT fault, {line} AS line FROM {records})"""


def quoted(path: Path) -> str:
    """A path between single quotes."""
    return str(path).replace("'", "''")
