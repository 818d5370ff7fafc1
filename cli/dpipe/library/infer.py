"""A first contract for a file: DuckDB guesses the types, the kernel says whether every value is of them."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import duckdb

from dpipe.contract import Column, Contract
from dpipe.contract.columns import NAME
from dpipe.contract.quality import quoted
from dpipe.errors import UsageError
from dpipe.library.arrow_columns import column_of
from dpipe.library.run import Options, run

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection, DuckDBPyRelation

    from dpipe.contract.plan import Kind

Form = Literal["csv", "json", "parquet"]

SUFFIXES: dict[str, Form] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}
COMPRESSED = (".gz", ".zst")
# Digits of a decimal: as many as 64 bits hold, or as many as there may be.
DIGITS = (18, 38)
# Records that numbers are judged by; whether all are like them is for the kernel to say.
SAMPLE = 100_000
# Digits after the point that say that a number is written with a fixed one, at least: `1.0` is a float's spelling.
FIXED_POINT = 2
# Spellings of null that are looked for in CSV.
TOKENS = ("NA", "N/A", "NULL", "null", "NaN", "\\N")
# What a column is taken for when some value isn't of its type.
WIDER: dict[Kind, Kind] = {
    "int32": "int64",
    "int64": "float64",
    "float64": "string",
    "decimal": "float64",
    "boolean": "string",
    "date": "string",
    "time": "string",
    "timestamp_ntz": "timestamp",
    "timestamp": "string",
}
LOGICAL: dict[Kind, str] = {
    "int32": "integer",
    "int64": "integer",
    "float64": "number",
    "decimal": "number",
    "timestamp_ntz": "timestamp",
    "struct": "object",
    "list": "array",
}


@dataclass(frozen=True)
class Draft:
    """A contract's YAML, and how many of the file's records it takes.

    `left_out` are columns that no contract can name.
    """

    text: str
    records: int
    accepted: int
    left_out: tuple[str, ...]


def infer(path: Path, dataset: str) -> Draft:
    """Draft a contract for a file: types, what is never missing, how CSV reads.

    Raises `UsageError` for what is no file of records, or a dataset's name that can't be one.
    """
    if not NAME.fullmatch(dataset):
        raise UsageError(
            f"`{dataset}` can't name a dataset", hint="use a-z, 0-9 and `_`, and begin with a letter"
        )
    columns, custom, left_out = _guess(path)
    while True:
        text = _text(dataset, columns, custom)
        answer, _, _ = run(str(path), Contract.from_text(text).plan, Options(), profile=False, keep=False)
        (batch,) = answer["batches"]
        relaxed = _relaxed(columns, batch["violations"])
        if relaxed == columns:
            return Draft(text, batch["records_in"], batch["accepted"], left_out)
        columns = relaxed


def _guess(path: Path) -> tuple[tuple[Column, ...], dict[str, Any], tuple[str, ...]]:
    """Columns, what ODCS has no word for, and names that can't be a column's."""
    with duckdb.connect() as connection:
        try:
            rows, texts, custom = _read(connection, path)
            schema = rows.limit(0).to_arrow_table().schema
            found = {field.name: column_of(field) for field in schema}
            decimals = _decimals(texts, found) if texts else {}
        except duckdb.Error as error:
            said = str(error).splitlines()[0]
            raise UsageError(
                f"`{path}` can't be read: {said}",
                hint="name a CSV, JSON, NDJSON or Parquet file, plain, .gz or .zst",
            ) from error
    found |= decimals
    usable = {name: column for name, column in found.items() if column is not None and NAME.fullmatch(name)}
    if not usable:
        raise UsageError(
            f"`{path}` has no column that a contract can name",
            hint="names are `a-z`, `0-9` and `_`, and begin with a letter",
        )
    columns = tuple(replace(column, required=True) for column in usable.values())
    return columns, custom, tuple(name for name in found if name not in usable)


def _read(
    connection: DuckDBPyConnection, path: Path
) -> tuple[DuckDBPyRelation, DuckDBPyRelation | None, dict[str, Any]]:
    """The rows as DuckDB types them, those of CSV also as texts, and what ODCS has no word for."""
    name = path.name.lower()
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    form = next((form for suffix, form in SUFFIXES.items() if name.endswith(suffix)), None)
    if not path.is_file():
        raise UsageError(
            f"there is no file `{path}`", hint="check its path; a folder's files are named one by one"
        )
    if form is None:
        raise UsageError(
            f"`{path}` is no file of a known kind",
            hint=f"its name ends with {', '.join(SUFFIXES)}, or then .gz or .zst",
        )
    if form == "parquet":
        return connection.read_parquet(str(path)), None, {}
    if form == "json":
        return connection.read_json(str(path)), None, {}
    return _read_csv(connection, path)


def _read_csv(
    connection: DuckDBPyConnection, path: Path
) -> tuple[DuckDBPyRelation, DuckDBPyRelation, dict[str, Any]]:
    sniffed = connection.execute(
        "select Delimiter, Quote, HasHeader from sniff_csv(?)", [str(path)]
    ).fetchone()
    delimiter, quote, header = sniffed or (",", '"', True)
    usual_quote = len(quote) != 1 or not quote.isprintable() or quote == '"'
    dialect: dict[str, Any] = {
        "delimiter": delimiter,
        "header": header,
        "quotechar": '"' if usual_quote else quote,
    }
    texts = connection.read_csv(str(path), all_varchar=True, **dialect)
    is_there = ", ".join(
        " or ".join(f"coalesce(bool_or({quoted(column)} = '{token}'), false)" for column in texts.columns)
        for token in TOKENS
    )
    found: Any = texts.aggregate(is_there).fetchone()
    tokens = ["", *(token for token, there in zip(TOKENS, found, strict=True) if there)]
    custom = {
        **({"dpipe.nullTokens": tokens} if len(tokens) > 1 else {}),
        **({"dpipe.csv.delimiter": delimiter} if delimiter != "," else {}),
        **({} if usual_quote else {"dpipe.csv.quote": quote}),
        **({} if header else {"dpipe.csv.header": False}),
    }
    rows = connection.read_csv(str(path), na_values=tokens, **dialect)
    return rows, connection.read_csv(str(path), na_values=tokens, all_varchar=True, **dialect), custom


def _decimals(texts: DuckDBPyRelation, columns: dict[str, Column | None]) -> dict[str, Column]:
    """Numbers that are exact by the way they are written: all with so many digits after the point, zeros too.

    The shortest spelling of a floating-point number has no zero at its end, but for `1.0`.
    """
    numbers = [name for name, column in columns.items() if column is not None and column.kind == "float64"]
    if not numbers:
        return {}
    asked = ", ".join(
        f"[min(length({text}) - {point}), max(length({text}) - {point}), max({point} - 1), "
        f"min({point}), count(*) filter ({text} like '%0')]"
        for text, point in ((quoted(name), f"instr({quoted(name)}, '.')") for name in numbers)
    )
    figures: Any = texts.limit(SAMPLE).aggregate(asked).fetchone()
    found = {}
    for name, (least, most, whole, point, ending_in_zero) in zip(numbers, figures, strict=True):
        column = columns[name]
        if column is None or not point or least != most or most < FIXED_POINT or not ending_in_zero:
            continue
        digits = next((digits for digits in DIGITS if whole + most <= digits), None)
        if digits:
            found[name] = replace(column, kind="decimal", precision=digits, scale=most)
    return found


def _relaxed(columns: tuple[Column, ...], violations: list[dict[str, Any]]) -> tuple[Column, ...]:
    """The columns, each a step wider for whose values that was needed."""
    broken = {(violation["column"], violation["rule"]) for violation in violations}
    found = []
    for column in columns:
        relaxed = replace(column, required=column.required and (column.name, "required") not in broken)
        if (column.name, "type") in broken and column.kind in WIDER:
            relaxed = replace(relaxed, kind=WIDER[column.kind], precision=0, scale=0)
        found.append(relaxed)
    return tuple(found)


def _text(dataset: str, columns: tuple[Column, ...], custom: dict[str, Any]) -> str:
    from ruamel.yaml import YAML

    schema: dict[str, Any] = {"name": dataset, "description": "What one record is."}
    if custom:
        schema["customProperties"] = [{"property": name, "value": value} for name, value in custom.items()]
    schema["properties"] = [{"name": column.name, **_definition(column)} for column in columns]
    document = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": dataset,
        "name": dataset,
        "version": "0.1.0",
        "status": "draft",
        "schema": [schema],
    }
    out = io.StringIO()
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(document, out)
    return out.getvalue()


def _definition(column: Column) -> dict[str, Any]:
    """An ODCS property without its name."""
    found: dict[str, Any] = {"logicalType": LOGICAL.get(column.kind, column.kind)}
    if column.kind == "int32":
        found["physicalType"] = "int32"
    if column.kind == "decimal":
        found["physicalType"] = f"decimal({column.precision},{column.scale})"
    if column.required:
        found["required"] = True
    if column.kind == "timestamp":
        found["logicalTypeOptions"] = {"timezone": True}
    if column.kind == "list":
        found["items"] = _definition(column.fields[0])
    if column.kind == "struct":
        found["properties"] = [{"name": part.name, **_definition(part)} for part in column.fields]
    return found
