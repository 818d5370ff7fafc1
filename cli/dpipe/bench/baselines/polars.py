"""polars: lines in, those that are no record apart, the rest through its own readers, checked in expressions.

`scan_ndjson` ends at the first malformed line, and `str.json_decode` at the first value of another type. So lines are
read as text, and `read_ndjson(ignore_errors=True)` reads them with the plan's types, where what doesn't fit is null.
Lines that don't end with a brace are looked at by `json_path_match` before; only when others are malformed, all lines
are. Whether a null was one is looked up in the few records that have any. `scan_csv` fills up a ragged record in
silence, so CSV is read as lines too, whose delimiters are counted.

What it does otherwise than the kernel: numbers pass as strings; timestamps have the spelling of the first; CSV
fields may hold no line breaks, and a quoted null token is null.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from dpipe.bench.baselines import polars_nested
from dpipe.bench.baselines.polars_profile import profiles
from dpipe.bench.work import BATCH_ID, TEMPORAL, Breach, Job, Outcome, nested

if TYPE_CHECKING:
    import polars as pl

    from dpipe.bench.flights import Format
    from dpipe.contract import Column, Plan, Rule
    from dpipe.contract.plan import PartitionField

TITLE = "polars"
PACKAGES = ("polars",)
KEEPS_BYTES: frozenset[Format] = frozenset({"ndjson", "csv"})
PARALLEL = True
# `approx_n_unique` was off by 16% of 165,000 numbers.
DISTINCT_OFF = 0.3


def unable(plan: Plan, form: Format) -> str | None:
    """It does whatever baselines do, but for times inside nested columns."""
    del form
    return polars_nested.unable(plan)


def partly(form: Format) -> str | None:
    """See the module."""
    return "takes numbers as strings" if form == "ndjson" else None


def prepare() -> None:
    """Import what the run needs."""
    import polars as pl  # noqa: F401


def run(job: Job) -> Outcome:
    """Read into frames of whole records and of broken ones, check, tell duplicates, write, profile."""
    import polars as pl

    read = {"ndjson": _ndjson, "csv": _csv, "parquet": _parquet}[job.form]
    records, broken = read(job)
    records, inside = polars_nested.typed(records, job.plan, _type, _broken_rule)
    is_whole = ~pl.col("_record_no").is_in(inside["_record_no"].implode())
    records = records.with_columns((_fine(job.plan) & is_whole).alias("_fine"))
    names = [column.name for column in job.plan.columns]
    good = records.lazy().filter("_fine").select("_record_no", "_raw", *names).collect()
    if job.plan.key:
        first = pl.struct(job.plan.key).is_first_distinct()
        good = good.with_columns(first.alias("_first"))
        duplicates, good = good.filter(~pl.col("_first")), good.filter("_first")
    else:
        duplicates = good.clear()
    rejected = _with_violations(records.filter(~pl.col("_fine")), job.plan, inside)
    none = pl.lit([], dtype=_breaches_type())
    kept = pl.concat(
        [
            _entries(rejected, "rejected"),
            _entries(broken, "rejected"),
            _entries(duplicates.with_columns(none.alias("_violations")), "duplicate"),
        ]
    ).sort("_dpipe_record_no")
    _write(job, good, kept)
    counts = (
        kept.select(pl.col("violations").list.unique().explode(empty_as_null=False))
        .unnest("violations")
        .group_by("column", "rule")
        .len()
    )
    violations: dict[Breach, int] = {(column, rule): number for column, rule, number in counts.iter_rows()}
    rejects = len(rejected) + len(broken)
    profile = profiles(good, job.plan) if job.profile else {}
    return Outcome(len(good) + len(kept), len(good), rejects, len(duplicates), violations, profile)


def _lines(job: Job) -> pl.DataFrame:
    """Lines that aren't blank, with their numbers."""
    import polars as pl

    lines = pl.scan_lines(job.source, name="_raw").filter(pl.col("_raw") != "").collect(engine="streaming")
    return lines.with_row_index("_record_no", offset=1)


def _ndjson(job: Job) -> tuple[pl.DataFrame, pl.DataFrame]:
    import polars as pl

    lines = _lines(job)
    schema = {column.name: _type(column, read=True) for column in job.plan.columns}
    try:
        malformed = _malformed(lines.filter(_breaks_off(job.plan)), job.plan)
        records = _typed(lines, malformed, schema)
    except (pl.exceptions.ComputeError, pl.exceptions.ShapeError):
        malformed = _malformed(lines, job.plan)
        records = _typed(lines, malformed, schema)
    # Text instead of null, where there was something.
    names = [column.name for column in _plain(job.plan)]
    has_null = records.filter(pl.any_horizontal(pl.col(name).is_null() for name in names))
    texts = has_null.select(
        "_record_no",
        pl.col("_raw").str.json_decode(pl.Struct(dict.fromkeys(names, pl.String))).struct.unnest(),
    ).rename({name: f"{name} text" for name in names})
    records = records.join(texts, on="_record_no", how="left", maintain_order="left")
    return _timed(records, job.plan), _broken(malformed, "malformed")


def _breaks_off(plan: Plan) -> pl.Expr:
    """Whether a line looks as if it did; one of nested columns may do so after a brace."""
    import polars as pl

    breaks_off = ~pl.col("_raw").str.ends_with("}")
    if nested(plan):
        opened, closed = (pl.col("_raw").str.count_matches(brace, literal=True) for brace in "{}")
        breaks_off |= opened != closed
    return breaks_off


def _malformed(lines: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """Lines that are no JSON object."""
    import polars as pl

    # A path to a field costs less than the whole record, but tells nothing of a record without that field.
    named = next((column.name for column in plan.columns if column.required), plan.columns[0].name)
    has_field = pl.col("_raw").str.json_path_match(f"$.{named}").is_not_null()
    doubtful = lines.lazy().filter(~has_field).collect(engine="streaming")
    is_object = pl.col("_raw").str.json_path_match("$").str.starts_with("{").fill_null(value=False)
    return doubtful.filter(~is_object)


def _typed(lines: pl.DataFrame, malformed: pl.DataFrame, schema: dict[str, Any]) -> pl.DataFrame:
    """Lines that aren't malformed with their fields; raises when one is that isn't among them."""
    import polars as pl

    if len(malformed):
        lines = lines.join(malformed, on="_record_no", how="anti", maintain_order="left")
    return lines.hstack(pl.read_ndjson(_joined(lines), schema=schema, ignore_errors=True))


def _csv(job: Job) -> tuple[pl.DataFrame, pl.DataFrame]:
    import csv

    import polars as pl

    lines, options = _lines(job), job.plan.csv
    names = [column.name for column in job.plan.columns]
    if options.header:
        header = lines["_raw"][0]
        names = next(csv.reader([header], delimiter=options.delimiter, quotechar=options.quote))
        lines = lines[1:].with_columns(pl.col("_record_no") - 1)
    bare = pl.col("_raw")
    if lines["_raw"].str.contains(options.quote, literal=True).any():
        quote = f"\\x{ord(options.quote):02x}"
        bare = bare.str.replace_all(f"{quote}[^{quote}]*{quote}", "")
    is_whole = bare.str.count_matches(options.delimiter, literal=True) == len(names) - 1
    lines = lines.with_columns(is_whole.alias("_whole"))
    whole = lines.filter("_whole")
    texts = pl.read_csv(
        _joined(whole),
        has_header=False,
        schema=dict.fromkeys(names, pl.String),
        separator=options.delimiter,
        quote_char=options.quote,
        null_values=list(options.null_tokens),
        empty_string_is_null="" in options.null_tokens,
    )
    typed = []
    for column in job.plan.columns:
        text = pl.col(column.name) if column.name in names else pl.lit(None, dtype=pl.String)
        kind = _type(column, read=True)
        typed += [
            text.alias(f"{column.name} text"),
            (text == "true" if kind == pl.Boolean else text.cast(kind, strict=False)).alias(column.name),
        ]
    records = whole.select("_record_no", "_raw").hstack(
        texts.lazy().select(typed).collect(engine="streaming")
    )
    return _timed(records, job.plan), _broken(lines.filter(~pl.col("_whole")), "field_count")


def _parquet(job: Job) -> tuple[pl.DataFrame, pl.DataFrame]:
    import polars as pl

    names = [column.name for column in job.plan.columns]
    cast = [pl.col(column.name).cast(_type(column), strict=False) for column in job.plan.columns]
    records = (
        pl.scan_parquet(job.source)
        .select(cast)
        .with_row_index("_record_no", offset=1)
        .collect(engine="streaming")
    )
    nothing = [pl.lit(None, dtype=pl.String).alias(f"{name} text") for name in names]
    raw = pl.lit(None, dtype=pl.String).alias("_raw")
    records = records.with_columns(raw, *nothing)
    return records, _broken(records.clear(), "malformed")


def _type(column: Column, *, read: bool = False) -> Any:  # noqa: ANN401 - polars' classes and instances
    """The column's type; times are read as texts."""
    import polars as pl

    if column.fields:
        return polars_nested.read_type(column, _type)
    kinds = {
        "int32": pl.Int32(),
        "int64": pl.Int64(),
        "float64": pl.Float64(),
        "boolean": pl.Boolean(),
        "string": pl.String(),
        "date": pl.Date(),
        "timestamp": pl.Datetime("us", "UTC"),
        "timestamp_ntz": pl.Datetime("us"),
    }
    return pl.String() if read and column.kind in TEMPORAL else kinds[column.kind]


def _timed(records: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """Records with times instead of their texts."""
    import polars as pl

    times = []
    for column in plan.columns:
        text = pl.col(column.name)
        if column.kind == "date":
            times.append(text.str.to_date(strict=False))
        elif column.kind in TEMPORAL:
            zone = "UTC" if column.kind == "timestamp" else None
            times.append(text.str.to_datetime(time_unit="us", time_zone=zone, strict=False))
        if column.kind in TEMPORAL:
            times.append(pl.coalesce(f"{column.name} text", text).alias(f"{column.name} text"))
    return records.with_columns(times)


def _joined(lines: pl.DataFrame) -> bytes:
    """The lines as a file again."""
    file = io.BytesIO()
    lines.select("_raw").write_csv(file, include_header=False, quote_style="never")
    return file.getvalue()


def _broken(lines: pl.DataFrame, rule: str) -> pl.DataFrame:
    """Records that are no records."""
    import polars as pl

    breach = pl.lit([{"column": None, "rule": rule}], dtype=_breaches_type())
    return lines.select("_record_no", "_raw", breach.alias("_violations"))


def _breaches_type() -> pl.List:
    import polars as pl

    return pl.List(pl.Struct({"column": pl.String, "rule": pl.String}))


def _plain(plan: Plan) -> list[Column]:
    """The columns that aren't nested."""
    return [column for column in plan.columns if not column.fields]


def _fine(plan: Plan) -> pl.Expr:
    """Whether a record breaks nothing in its plain columns."""
    import polars as pl

    held = [pl.lit(value=True)]
    for column in _plain(plan):
        value, text = pl.col(column.name), pl.col(f"{column.name} text")
        held.append(value.is_not_null() if column.required else value.is_not_null() | text.is_null())
        held += [(~_broken_rule(value, column, rule)).fill_null(value=True) for rule in column.rules]
    return pl.all_horizontal(held)


def _with_violations(rejected: pl.DataFrame, plan: Plan, inside: pl.DataFrame) -> pl.DataFrame:
    """Records with a list of everything that they break; `inside` is what was found in nested columns."""
    import polars as pl

    found = [inside.lazy()]

    def look_for(column: Column, rule: str, condition: pl.Expr) -> None:
        one = pl.struct(pl.lit(column.name).alias("column"), pl.lit(rule).alias("rule"))
        found.append(rejected.lazy().filter(condition).select("_record_no", one.alias("_violations")))

    for column in _plain(plan):
        nothing, text = pl.col(column.name).is_null(), pl.col(f"{column.name} text")
        look_for(column, "type", nothing & text.is_not_null())
        if column.required:
            look_for(column, "required", nothing & text.is_null())
        for rule in column.rules:
            look_for(column, rule.rule, _broken_rule(pl.col(column.name), column, rule))
    # Quicker than one list over all of the conditions in each record.
    lists = pl.concat(found).group_by("_record_no").agg("_violations").collect()
    return rejected.join(lists, on="_record_no", how="left", maintain_order="left")


def _broken_rule(value: pl.Expr, column: Column, rule: Rule) -> pl.Expr:  # noqa: PLR0911 - one a rule
    """Whether a value breaks the rule; null for none."""
    limit: Any = rule.value
    match rule.rule:
        case "minimum":
            return value.lt(limit)
        case "maximum":
            return value.gt(limit)
        case "exclusiveMinimum":
            return value.le(limit)
        case "exclusiveMaximum":
            return value.ge(limit)
        case "minLength":
            return value.str.len_chars().lt(limit)
        case "maxLength":
            return value.str.len_chars().gt(limit)
        case "minItems":
            return value.list.len().lt(limit)
        case "maxItems":
            return value.list.len().gt(limit)
        case "pattern":
            return ~value.str.contains(limit)
        case "enum":
            return ~value.is_in(limit if column.kind == "string" else [int(text) for text in limit])
        case other:
            raise ValueError(f"no baseline has the rule `{other}`")


def _entries(records: pl.DataFrame, disposition: str) -> pl.DataFrame:
    """Records as quarantine has them; what Parquet has no bytes of is kept as JSON."""
    import polars as pl

    raw = pl.col("_raw")
    if len(records) and records["_raw"].null_count() == len(records):
        hidden = {"_record_no", "_raw", "_fine", "_first", "_violations"}
        names = [name for name in records.columns if name not in hidden and not name.endswith(" text")]
        raw = pl.struct(names).struct.json_encode()
    return records.select(
        pl.lit(BATCH_ID).alias("_dpipe_batch_id"),
        pl.col("_record_no").cast(pl.Int64).alias("_dpipe_record_no"),
        raw.cast(pl.Binary).alias("raw"),
        pl.lit(disposition).alias("disposition"),
        pl.col("_violations").alias("violations"),
    )


def _write(job: Job, good: pl.DataFrame, kept: pl.DataFrame) -> None:
    import polars as pl

    accepted = good.lazy().select(
        *(column.name for column in job.plan.columns),
        pl.lit(BATCH_ID).alias("_dpipe_batch_id"),
        pl.col("_record_no").cast(pl.Int64).alias("_dpipe_record_no"),
        pl.lit(job.plan.contract).alias("_dpipe_contract"),
    )
    target: Any = job.data / "accepted.parquet"
    if job.plan.partition:
        key = {f"partition {number}": _partition(field) for number, field in enumerate(job.plan.partition)}
        accepted = accepted.with_columns(**key)
        target = pl.PartitionBy(job.data, key=list(key), include_key=False, approximate_bytes_per_file=None)
    accepted.sink_parquet(target, compression="zstd", compression_level=1, mkdir=True, engine="streaming")
    job.quarantine.mkdir(parents=True)
    kept.write_parquet(job.quarantine / "kept.parquet", compression="zstd", compression_level=1)


def _partition(field: PartitionField) -> pl.Expr:
    import polars as pl

    column = pl.col(field.column)
    every = {"year": "1y", "month": "1mo", "day": "1d", "hour": "1h"}
    return column if field.transform == "identity" else column.dt.truncate(every[field.transform])
