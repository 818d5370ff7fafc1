"""`process`: one source under a contract, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe.errors import DpipeError
from dpipe.library.result import Check, Result
from dpipe.library.run import BATCH_SIZE, Options, column_profile, contract_of, counts, run

if TYPE_CHECKING:
    import os

    from dpipe._kernel import RecordBatches
    from dpipe.contract import Contract
    from dpipe.library.sources import Compression, Format, Source

_BATCH = "batch"


def process(
    source: Source,
    contract: Contract | str | os.PathLike[str],
    *,
    format: Format | None = None,  # noqa: A002 - the word that users know
    compression: Compression | None = None,
    batch_id: str | None = None,
    batch_size: int = BATCH_SIZE,
    threads: int = 0,
    profile: bool = True,
) -> Result:
    """Check every record of a source against a contract, and keep those that pass and those that don't.

    `source` is the path of a file, bytes as they would be in a file, or anything with `__arrow_c_stream__` or
    `__arrow_c_array__` (a pyarrow, polars, pandas or DuckDB table). Files and bytes are NDJSON, JSON, CSV or Parquet,
    plain or in gzip, zstd or zip; `format` and `compression` are found out by the content unless they are given. A
    stream that can be read only once is used up. `contract` is a `Contract` or the path of its YAML file.

    `batch_id` names the source in `_dpipe_batch_id`; by default it is the file's name, `bytes` or `stream`. At most
    `batch_size` records (1 to 16,777,216) are parsed at a time by each of `threads` threads, 0 for one a core; neither
    changes the result. Without `profile` the accepted values are not profiled, which saves a tenth of the time.

    All rows are held in memory, so a source that is larger than that is for a project's `dpipe process`.

    Raises `UsageError` for a source that can't be one or a file that can't be read, `ConfigError` for a contract that
    can't be carried out, `SourceError` when an Arrow stream breaks off. Bad records never raise: a source that can't
    be told apart into records at all is one rejected record (`unreadable`).
    """
    known = contract_of(contract)
    options = Options(format, compression, batch_id, batch_size, threads)
    answer, accepted, quarantine = run(source, known.plan, options, profile=profile)
    (batch,) = answer["batches"]
    counted = counts(batch)
    held = len(accepted), len(quarantine)
    if held != (counted["accepted_count"], counted["rejected_count"] + counted["duplicate_count"]):
        raise DpipeError(f"internal: {counted}, but {held} rows", hint="please report it")
    return Result(
        **counted,
        accepted=accepted,
        quarantine=quarantine,
        checks=_checks(known, accepted, counted["accepted_count"] + counted["duplicate_count"]),
        profile=tuple(column_profile(column) for column in answer["profile"]),
        format=batch["format"],
        compression=batch["compression"],
        bytes_in=batch["bytes_in"],
    )


def _checks(contract: Contract, accepted: RecordBatches, rows: int) -> tuple[Check, ...]:
    if not contract.quality:
        return ()
    import duckdb

    from dpipe.quality.batch import measure

    with duckdb.connect() as connection:
        connection.register(_BATCH, accepted)
        checks = []
        for rule in contract.quality:
            value = measure(connection, _BATCH, rule, dataset=contract.dataset, rows=rows)
            checks.append(
                Check(rule.name, rule.column, rule.holds(value), value, rule.severity, rule.describe())
            )
    return tuple(checks)
