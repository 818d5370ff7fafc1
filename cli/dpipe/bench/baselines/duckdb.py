"""DuckDB: SQL over lines, typed by `json_transform`, checked in one projection.

`read_json(ignore_errors = true)` gives a row of nulls for what it can't read, so NDJSON is read as lines, which keeps a
record's bytes; reading both, and looking only at the lines of doubtful records, takes as long. Duplicates are found by
grouping the keys and leaving out the few records that are not the first of theirs: quicker than a window over all rows.

`json_transform` coerces (`"5"` and `5.0` to integers, `5` to a string). A record that reads the same when it is written
again has nothing that was; of the others `json_type` tells, which for all of them would take three times as long.

What it does otherwise than the kernel: in records that are written in another way, decimals and what is inside objects
and arrays are coerced, which favours it. A timestamp is what `TRY_CAST` takes. CSV
records are kept as the JSON of their fields, not as bytes; `store_rejects` keeps the line of a ragged one. Numbers of
CSV records are right as long as no field holds a line break.
"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

from dpipe.bench.baselines import duckdb_nested
from dpipe.bench.baselines.duckdb_nested import BREACH, breach
from dpipe.bench.baselines.duckdb_profile import profiles
from dpipe.bench.work import BATCH_ID, TEMPORAL, Breach, Job, Outcome
from dpipe.quality.from_contract import duckdb_type

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from dpipe.bench.flights import Format
    from dpipe.contract import Column, Plan, Rule
    from dpipe.contract.plan import PartitionField

TITLE = "DuckDB"
PACKAGES = ("duckdb",)
KEEPS_BYTES: frozenset[Format] = frozenset({"ndjson"})
PARALLEL = True
# `approx_count_distinct` is off by 13% (one standard deviation).
DISTINCT_OFF = 0.5
# The header is found in 16 of these; with the plan's longest record that would be hundreds of MB.
HEADER_BYTES = 1 << 20
# What `json_type` says of the values that a column takes; of others whatever can be cast passes.
_JSON_TYPES = {
    "int32": ("UBIGINT", "BIGINT"),
    "int64": ("UBIGINT", "BIGINT"),
    "float64": ("DOUBLE", "UBIGINT", "BIGINT"),
    "boolean": ("BOOLEAN",),
    "string": ("VARCHAR",),
} | dict.fromkeys(TEMPORAL, ("VARCHAR",))
PARQUET = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"


def unable(plan: Plan, form: Format) -> str | None:
    """It does whatever baselines do, but for times inside nested columns."""
    del form
    return duckdb_nested.unable(plan)


def partly(form: Format) -> str | None:
    """See the module."""
    if form == "ndjson":
        return "coerces decimals, and values inside objects and arrays"
    if form == "csv":
        return "keeps the fields of rejected records, not their bytes"
    return None


def prepare() -> None:
    """Import what the run needs."""
    import duckdb  # noqa: F401


def run(job: Job) -> Outcome:
    """Read into a table, check it there, copy the results out."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {job.workers}; SET TimeZone = 'UTC'")
        names = _csv_names(connection, job) if job.form == "csv" else []
        connection.execute(f"CREATE TEMP TABLE records AS {_SOURCES[job.form](job, names)}")
        if job.form == "csv":
            _number_csv(connection, job, names)
        else:
            connection.execute(
                "CREATE TEMP VIEW numbered AS SELECT rowid + 1 AS _record_no, rowid AS _row, * FROM records"
            )
        return _write(connection, job)


def _ndjson(job: Job, names: list[str]) -> str:
    """Lines, their fields by type and whether all is well with them."""
    del names
    structure = _text(
        json.dumps({column.name: duckdb_nested.structure(column) for column in job.plan.columns})
    )
    fields = ", ".join(
        f'TRY_CAST(_fields."{column.name}" AS {duckdb_type(column)}) AS "{column.name}"'
        if column.kind in TEMPORAL
        else f'_fields."{column.name}" AS "{column.name}"'
        for column in job.plan.columns
    )
    return f"""
        SELECT * EXCLUDE (_strict), _strict AND {_fine(job.plan, job.form)} AS _fine FROM (
            SELECT _raw, _fields IS NOT NULL AS _whole, {fields},
                CASE WHEN to_json(_fields)::VARCHAR = _raw THEN true WHEN _fields IS NULL THEN false
                    ELSE {_is_strict(job.plan)} END AS _strict
            FROM (
                SELECT _raw, json_transform(CASE WHEN json_valid(_raw) THEN _raw END, '{structure}') AS _fields
                FROM {_lines(job, job.plan.max_record_bytes)} WHERE _raw <> ''))"""


def _lines(job: Job, longest: int) -> str:
    """A call of `read_csv` that gives whole lines."""
    return (
        f"read_csv('{_text(job.source)}', columns = {{'_raw': 'VARCHAR'}}, delim = '\\x01', quote = '', escape = '', "
        f"header = false, auto_detect = false, strict_mode = false, max_line_size = {longest}, "
        f"compression = '{job.compression}')"
    )


def _csv(job: Job, names: list[str]) -> str:
    """Records by type; those that can't be read so are in `reject_errors` instead."""
    kinds = {column.name: duckdb_type(column) for column in job.plan.columns}
    # A text that is no timestamp is read as null, without an error, when its column is one.
    texts = {column.name for column in job.plan.columns if column.kind in TEMPORAL}
    typed = ", ".join(
        (
            f'TRY_CAST("{name}" AS {kind}) AS "{name}", '
            f'"{name}" IS NOT NULL AND TRY_CAST("{name}" AS {kind}) IS NULL AS "{name} misread"'
            if name in texts
            else f'"{name}"'
        )
        if name in names
        else f'NULL::{kind} AS "{name}", false AS "{name} misread"'
        for name, kind in kinds.items()
    )
    columns = {name: "VARCHAR" if name in texts else kinds.get(name, "VARCHAR") for name in names}
    return f"""
        SELECT *, {_fine(job.plan, job.form)} AS _fine FROM (
            SELECT true AS _whole, {typed}
            FROM {_read_csv(job, job.source, columns)}, store_rejects = true, compression = '{job.compression}'))"""


def _read_csv(job: Job, path: Path, columns: dict[str, str], *, header: bool | None = None) -> str:
    """A call of `read_csv` to which options can be added."""
    options = job.plan.csv
    kinds = ", ".join(f"'{_text(name)}': '{kind}'" for name, kind in columns.items())
    nulls = ", ".join(f"'{_text(token)}'" for token in options.null_tokens)
    return f"""
        read_csv('{_text(path)}', columns = {{{kinds}}}, header = {options.header if header is None else header},
            auto_detect = false, delim = '{_text(options.delimiter)}', quote = '{_text(options.quote)}',
            nullstr = [{nulls}], allow_quoted_nulls = false"""


def _parquet(job: Job, names: list[str]) -> str:
    del names
    typed = ", ".join(
        f'TRY_CAST("{column.name}" AS {duckdb_type(column)}) AS "{column.name}"'
        for column in job.plan.columns
    )
    return f"""
        SELECT *, {_fine(job.plan, job.form)} AS _fine
        FROM (SELECT true AS _whole, {typed} FROM read_parquet('{_text(job.source)}'))"""


_SOURCES = {"ndjson": _ndjson, "csv": _csv, "parquet": _parquet}


def _csv_names(connection: DuckDBPyConnection, job: Job) -> list[str]:
    """The file's columns."""
    options = job.plan.csv
    if not options.header:
        return [column.name for column in job.plan.columns]
    lines = _lines(job, HEADER_BYTES)
    first = connection.execute(f"SELECT _raw FROM {lines} WHERE _raw <> '' LIMIT 1").fetchone()
    header = str(first[0]).removeprefix("\ufeff") if first else ""
    return next(csv.reader([header], delimiter=options.delimiter, quotechar=options.quote))


def _number_csv(connection: DuckDBPyConnection, job: Job, names: list[str]) -> None:
    """Number the rows around the records that couldn't be read, and read what has wrong types again, as texts.

    `reject_errors` has a row an error; a record with a wrong type may break rules of other columns, too.
    """
    connection.execute(f"""
        CREATE TEMP TABLE unread AS
        SELECT (line - {int(job.plan.csv.header)})::BIGINT AS _record_no,
            rtrim(any_value(csv_line), chr(10) || chr(13)) AS _raw,
            CASE WHEN bool_and(error_type = 'CAST') THEN 'type'
                WHEN bool_or(error_type::VARCHAR LIKE '%COLUMNS') THEN 'field_count' ELSE 'malformed' END AS _rule
        FROM reject_errors GROUP BY line;
        CREATE TEMP TABLE numbers AS
        SELECT _record_no FROM
            range(1, 1 + (SELECT count(*) FROM records) + (SELECT count(*) FROM unread)) numbers(_record_no)
        WHERE _record_no NOT IN (SELECT _record_no FROM unread);
        CREATE TEMP VIEW numbered AS
        SELECT _record_no, records.rowid AS _row, records.* FROM records POSITIONAL JOIN numbers;
        CREATE TEMP TABLE mistyped AS SELECT * FROM unread WHERE _rule = 'type' ORDER BY _record_no""")
    again = job.out / "mistyped.csv"
    connection.execute(
        f"COPY (SELECT _raw FROM mistyped) TO '{_text(again)}' (FORMAT csv, HEADER false, QUOTE '', DELIMITER '\x01')"
    )
    texts, typed = [], []
    for column in job.plan.columns:
        text = f'"{column.name}"' if column.name in names else "NULL"
        texts.append(f'{text} AS "{column.name} text"')
        typed.append(f'TRY_CAST({text} AS {duckdb_type(column)}) AS "{column.name}"')
    fields = ", ".join(texts + typed)
    lines = _read_csv(job, again, dict.fromkeys(names, "VARCHAR"), header=False)
    connection.execute(f"""
        CREATE TEMP TABLE reread AS
        SELECT mistyped.*, true AS _whole, {fields} FROM mistyped POSITIONAL JOIN (SELECT * FROM {lines}))""")


def _absent(column: Column, form: Format) -> str:
    """Whether a record without a value of the type has no other value there either."""
    if form == "ndjson":
        return f"json_extract_string(_raw, {_path(column)}) IS NULL"
    return f'NOT "{column.name} misread"' if form == "csv" and column.kind in TEMPORAL else "true"


def _fine(plan: Plan, form: Format) -> str:
    """Whether a record breaks nothing."""

    def holds(column: Column) -> str:
        if column.fields:
            return duckdb_nested.fine(column, _broken)
        rules = [f"NOT ({_broken(_name(column), rule)})" for rule in column.rules]
        present = " AND ".join(rules) or "true"
        absent = "false" if column.required else _absent(column, form)
        return f'CASE WHEN "{column.name}" IS NULL THEN {absent} ELSE {present} END'

    return (
        "CASE WHEN _whole THEN " + " AND ".join(holds(column) for column in plan.columns) + " ELSE false END"
    )


def _path(column: Column) -> str:
    """SQL of where a column is in the JSON of a record."""
    path = _text(f'$."{column.name}"')
    return f"'{path}'"


def _typed(column: Column) -> str:
    """The column without what was coerced."""
    taken = _JSON_TYPES.get(column.kind)
    is_of_type = f"json_type(_raw, {_path(column)}) IN {(*taken, 'NULL')}" if taken else "true"
    return f"CASE WHEN _whole THEN CASE WHEN {is_of_type} THEN {_name(column)} END END AS {_name(column)}"


def _is_strict(plan: Plan) -> str:
    """Whether the JSON of each value is of a type that its column takes."""
    by_types: dict[tuple[str, ...], list[str]] = {}
    for column in plan.columns:
        if column.kind in _JSON_TYPES:
            by_types.setdefault(_JSON_TYPES[column.kind], []).append(_path(column))
    checks = [
        f"len(list_filter(json_type(_raw, [{', '.join(paths)}]), lambda one: one NOT IN {(*taken, 'NULL')})) = 0"
        for taken, paths in by_types.items()
    ]
    return " AND ".join(checks) or "true"


def _violations(plan: Plan, absent: Callable[[Column], str]) -> str:
    """A list of everything that a record breaks; `absent` is SQL of whether a column has no value, of whatever type."""
    found = []
    nested = []
    for column in plan.columns:
        if column.fields:
            nested.append(duckdb_nested.breaches(column, _broken))
            continue
        nothing = f'"{column.name}" IS NULL'
        required = f"WHEN {nothing} THEN {breach(column.name, 'required')}" if column.required else ""
        wrong_type = f"WHEN {nothing} AND NOT ({absent(column)}) THEN {breach(column.name, 'type')}"
        found.append(f"CASE {wrong_type} {required} END")
        found += [
            f"CASE WHEN {_broken(_name(column), rule)} THEN {breach(column.name, rule.rule)} END"
            for rule in column.rules
        ]
    malformed = breach(None, "malformed")
    flat = f"list_filter([{', '.join(found)}], one -> one IS NOT NULL)"
    told = f"list_concat({', '.join([flat, *nested])})" if nested else flat
    return f"CASE WHEN _whole THEN {told} ELSE [{malformed}] END"


def _name(column: Column) -> str:
    return f'"{column.name}"'


def _broken(name: str, rule: Rule) -> str:  # noqa: PLR0911 - one a rule
    """SQL that is true when a value, of which `name` is SQL, breaks the rule."""
    value = rule.value
    match rule.rule:
        case "minimum":
            return f"{name} < {value!r}"
        case "maximum":
            return f"{name} > {value!r}"
        case "exclusiveMinimum":
            return f"{name} <= {value!r}"
        case "exclusiveMaximum":
            return f"{name} >= {value!r}"
        case "minLength":
            return f"length({name}) < {value}"
        case "maxLength":
            return f"length({name}) > {value}"
        case "pattern":
            return f"NOT regexp_matches({name}, '{_text(str(value))}')"
        case "enum":
            # `IN` with more than a few becomes a join, after which rows are in another order.
            allowed = ", ".join(f"'{_text(text)}'" for text in value) if isinstance(value, tuple) else ""
            return f"NOT list_contains([{allowed}], {name}::VARCHAR)"
        case other:
            raise ValueError(f"no baseline has the rule `{other}`")


def _write(connection: DuckDBPyConnection, job: Job) -> Outcome:
    """Find duplicates, then write both kinds of records, count them, and profile what is accepted."""
    columns = ", ".join(f'"{column.name}"' for column in job.plan.columns)
    connection.execute(f"CREATE TEMP TABLE duplicates AS {_duplicates(job.plan)}")
    connection.execute(f"CREATE TEMP TABLE kept AS {_kept(job)}")
    # From here on what is fine is what is accepted.
    connection.execute("UPDATE records SET _fine = false FROM duplicates WHERE records.rowid = _row")
    job.data.mkdir(parents=True)
    job.quarantine.mkdir(parents=True)
    accepted = f"""
        SELECT {columns}, '{BATCH_ID}' AS _dpipe_batch_id, _record_no AS _dpipe_record_no,
            '{job.plan.contract}' AS _dpipe_contract{_partition_columns(job.plan.partition)}
        FROM numbered WHERE _fine"""
    where = f"'{_text(job.data)}/accepted.parquet' ({PARQUET})"
    if job.plan.partition:
        names = ", ".join(f'"partition {number}"' for number in range(len(job.plan.partition)))
        where = f"'{_text(job.data)}' ({PARQUET}, PARTITION_BY ({names}), OVERWRITE_OR_IGNORE true)"
    accepted_rows = _one(connection, f"COPY ({accepted}) TO {where}")
    connection.execute(f"COPY kept TO '{_text(job.quarantine)}/kept.parquet' ({PARQUET})")
    rejected = _one(connection, "SELECT count(*) FROM kept WHERE disposition = 'rejected'")
    duplicate = _one(connection, "SELECT count(*) FROM kept WHERE disposition = 'duplicate'")
    counts = connection.execute(
        """SELECT one.column, one.rule, count(*) FROM (SELECT unnest(list_distinct(violations)) AS one FROM kept)
        GROUP BY ALL"""
    )
    violations: dict[Breach, int] = {(column, rule): number for column, rule, number in counts.fetchall()}
    profile = profiles(connection, job.plan, accepted_rows) if job.profile else {}
    return Outcome(
        accepted_rows + rejected + duplicate, accepted_rows, rejected, duplicate, violations, profile
    )


def _duplicates(plan: Plan) -> str:
    """Records that are fine, but not the first with their key."""
    if not plan.key:
        return "SELECT NULL::BIGINT AS _row WHERE false"
    key = ", ".join(f'"{name}"' for name in plan.key)
    same = " AND ".join(f'later."{name}" IS NOT DISTINCT FROM first."{name}"' for name in plan.key)
    return f"""
        SELECT later.rowid AS _row FROM records AS later JOIN (
            SELECT {key}, min(rowid) AS _winner FROM records WHERE _fine GROUP BY ALL HAVING count(*) > 1
        ) AS first ON {same} WHERE _fine AND later.rowid > _winner"""


def _kept(job: Job) -> str:
    """Records that are not accepted, in order, as quarantine has them."""
    fields = ", ".join(f"'{column.name}': \"{column.name}\"" for column in job.plan.columns)
    raw = "encode(_raw)" if job.form == "ndjson" else f"encode(to_json({{{fields}}})::VARCHAR)"
    found = _violations(job.plan, lambda column: _absent(column, job.form))
    left_out = "(SELECT * FROM numbered WHERE NOT _fine OR _row IN (SELECT _row FROM duplicates))"
    if job.form == "ndjson":
        left_out = (
            f"(SELECT * REPLACE ({', '.join(_typed(column) for column in job.plan.columns)}) FROM {left_out})"
        )
    selects = [
        f"""SELECT _record_no, {raw} AS _raw, if(_fine, 'duplicate', 'rejected') AS disposition,
            CASE WHEN _fine THEN []::{BREACH}[] ELSE {found} END AS violations
        FROM {left_out}"""
    ]
    if job.form == "csv":
        found = _violations(job.plan, lambda column: f'"{column.name} text" IS NULL')
        selects += [
            f"SELECT _record_no, encode(_raw), 'rejected', {found} FROM reread",
            f"""SELECT _record_no, encode(_raw), 'rejected', [{{'column': NULL, 'rule': _rule}}::{BREACH}]
            FROM unread WHERE _rule <> 'type'""",
        ]
    return f"""
        SELECT '{BATCH_ID}' AS _dpipe_batch_id, _record_no AS _dpipe_record_no, _raw AS raw, disposition, violations
        FROM ({" UNION ALL ".join(selects)}) ORDER BY _record_no"""


def _partition_columns(fields: tuple[PartitionField, ...]) -> str:
    """Columns that only name the folders."""

    def value(field: PartitionField) -> str:
        column = f'"{field.column}"'
        return column if field.transform == "identity" else f"date_trunc('{field.transform}', {column})"

    return "".join(f', {value(field)} AS "partition {number}"' for number, field in enumerate(fields))


def _one(connection: DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    return int(row[0]) if row else 0


def _text(value: object) -> str:
    """Text between single quotes."""
    return str(value).replace("'", "''")
