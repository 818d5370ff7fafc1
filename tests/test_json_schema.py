"""A contract as JSON Schema: what the kernel accepts is valid, and what can be said exactly is said so."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import dpipe
import pyarrow as pa
import pytest
from contract_texts import CONTRACTS
from dpipe.commands.contract import app
from dpipe.context import Globals
from dpipe.contract import Column, Contract, Rule
from dpipe.contract.ecma import to_ecma
from dpipe.contract.json_schema import json_schema
from dpipe.stages.judge import judge_records
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from typer.testing import CliRunner

if TYPE_CHECKING:
    from pathlib import Path

ROOT = CONTRACTS.parent.parent
SAMPLES = ROOT / "cli" / "dpipe" / "sample" / "data"
FILES = sorted(CONTRACTS.glob("*.odcs.yaml"))
REJECT = {"property": "dpipe.unknownFields", "value": "reject"}


def contract(*properties: dict[str, Any], custom: tuple[dict[str, Any], ...] = ()) -> Contract:
    """A contract of the dataset `d` with these columns."""
    return Contract.from_dict(
        {
            "apiVersion": "v3.1.0",
            "kind": "DataContract",
            "id": "d",
            "version": "1.0.0",
            "status": "active",
            "schema": [{"name": "d", "customProperties": list(custom), "properties": list(properties)}],
        }
    )


def column(logical: str, options: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The property `a` of ODCS."""
    return {"name": "a", "logicalType": logical, "logicalTypeOptions": options or {}} | more


def listing(values: list[Any]) -> list[dict[str, Any]]:
    """The whole-batch rule that is an enumeration."""
    return [{"metric": "invalidValues", "arguments": {"validValues": values}, "mustBe": 0}]


def schema_of(made: Contract) -> dict[str, Any]:
    """The schema, as a client reads it."""
    schema: dict[str, Any] = json.loads(json.dumps(json_schema(made)))
    Draft202012Validator.check_schema(schema)
    return schema


def keywords(logical: str, options: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The schema of one required column."""
    made = contract(column(logical, options, required=True, **more))
    found: dict[str, Any] = schema_of(made)["properties"]["a"]
    return found


def is_accepted(made: Contract, record: str) -> bool:
    """Whether the kernel accepts a line of NDJSON."""
    counts, _, _ = judge_records(
        made, record.encode() + b"\n", batch_id="b", form="ndjson", compression="none", threads=1, keep=False
    )
    return bool(counts["accepted"] == 1)


def is_valid(schema: dict[str, Any], record: str, **read: Any) -> bool:
    """Whether the record is valid, with every format checked; `read` is how numbers are read."""
    form = json.loads(json.dumps(schema), **read)
    checked = Draft202012Validator(form, format_checker=FormatChecker())
    return bool(checked.is_valid(json.loads(record, **read)))


@pytest.mark.parametrize(
    ("logical", "options", "more", "expected"),
    [
        ("integer", {"format": "i32"}, {}, {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}),
        ("integer", {}, {}, {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}),
        ("integer", {"format": "u8"}, {}, {"type": "integer", "minimum": 0, "maximum": 255}),
        ("integer", {"format": "u64"}, {}, {"type": "integer", "minimum": 0, "maximum": 2**64 - 1}),
        (
            "integer",
            {"minimum": 1.5, "exclusiveMaximum": 10},
            {},
            {"type": "integer", "minimum": 1.5, "exclusiveMaximum": 10},
        ),
        (
            "integer",
            {"format": "i32", "multipleOf": 2.5},
            {},
            {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1, "multipleOf": 5},
        ),
        ("number", {}, {}, {"type": "number"}),
        ("number", {"exclusiveMinimum": 0}, {}, {"type": "number", "exclusiveMinimum": 0}),
        ("boolean", {}, {}, {"type": "boolean"}),
        ("string", {}, {}, {"type": "string"}),
        (
            "string",
            {"minLength": 1, "maxLength": 9, "pattern": "^a"},
            {},
            {"type": "string", "minLength": 1, "maxLength": 9, "pattern": "^a"},
        ),
        ("string", {"format": "uuid"}, {}, {"type": "string", "format": "uuid"}),
        ("string", {}, {"quality": listing(["x", "y"])}, {"type": "string", "enum": ["x", "y"]}),
        (
            "array",
            {"minItems": 1, "maxItems": 3, "uniqueItems": True},
            {"items": {"logicalType": "boolean", "name": "i"}},
            {
                "type": "array",
                "items": {"type": ["boolean", "null"]},
                "minItems": 1,
                "maxItems": 3,
                "uniqueItems": True,
            },
        ),
        (
            "object",
            {"required": ["x"]},
            {"properties": [{"name": "x", "logicalType": "string"}, {"name": "y", "logicalType": "boolean"}]},
            {
                "type": "object",
                "properties": {"x": {"type": "string"}, "y": {"type": ["boolean", "null"]}},
                "required": ["x"],
            },
        ),
    ],
)
def test_types_and_rules_are_keywords(
    logical: str, options: dict[str, Any], more: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert keywords(logical, options, **more) == expected


def test_a_decimal_has_the_range_of_its_digits() -> None:
    assert keywords("number", physicalType="decimal(10,2)") == {
        "description": "Exact decimal of 10 digits, 2 of them after the point.",
        "type": "number",
        "minimum": -99999999.99,
        "maximum": 99999999.99,
    }
    assert keywords("integer", {"format": "i128"})["maximum"] == 10**38 - 1


def test_a_missing_value_may_be_null_where_it_is_not_required() -> None:
    schema = schema_of(contract(column("string", quality=listing(["x"])), {**column("date"), "name": "b"}))
    assert schema["properties"]["a"] == {"type": ["string", "null"], "enum": ["x", None]}
    assert schema["properties"]["b"]["type"] == ["string", "null"]
    assert "required" not in schema
    assert is_valid(schema, "{}")
    assert is_valid(schema, '{"a": null, "b": null}')


def test_fields_that_the_contract_does_not_know_are_refused_only_where_it_says_so() -> None:
    inner = column("object", properties=[{"name": "x", "logicalType": "string"}])
    assert is_valid(schema_of(contract(inner)), '{"a": {"y": 1}, "b": 1}')
    closed = schema_of(contract(inner, custom=(REJECT,)))
    assert is_valid(closed, '{"a": {"x": "1"}}')
    assert not is_valid(closed, '{"b": 1}')
    assert not is_valid(closed, '{"a": {"y": 1}}')


@pytest.mark.parametrize(
    ("logical", "options", "good", "bad"),
    [
        ("date", {}, ["2024-02-29"], ["2024-2-9", "2024-13-01", "20240229", "2024-02-29T00:00"]),
        ("time", {}, ["08:30", "08:30:00.5000000"], ["8:30", "24:00", "08:30Z"]),
        (
            "timestamp",
            {},
            ["2024-02-29T12:00", "2024-02-29 12:00:00.123456000"],
            ["2024-02-29", "2024-02-29T12:00Z"],
        ),
        (
            "timestamp",
            {"timezone": True},
            ["2024-02-29t12:00z", "2024-02-29 12:00:00-0530", "2024-02-29T12:00+01"],
            ["2024-02-29T12:00"],
        ),
        (
            "timestamp",
            {"timezone": True, "defaultTimezone": "UTC"},
            ["2024-02-29T12:00", "2024-02-29T12:00+01:00"],
            ["2024-02-29"],
        ),
        ("timestamp", {"defaultTimezone": "-05:30"}, ["2024-02-29T12:00"], ["2024-02-29T12:00Z"]),
        ("date", {"format": "dd.MM.yyyy"}, ["29.02.2024"], []),
        ("string", {"format": "date-time"}, ["2024-02-29 12:00Z"], ["2024-02-29T12:00"]),
        ("string", {"format": "byte"}, ["", "YQ=="], ["YQ=", "YW-_"]),
        ("string", {"format": "hostname"}, ["xn--x.1", "a-b"], ["a_b", "-a", "a..b"]),
        ("string", {"format": "uri"}, ["a:[", "urn:x#y"], ["a", "a:é", "a:b#c#d"]),
        ("string", {"format": "email"}, ["a@1.2"], ["a"]),
        ("string", {"format": "ipv4"}, ["127.0.0.1"], ["127.0.0.01"]),
        ("string", {"format": "ipv6"}, ["::ffff:1.2.3.4"], ["fe80::1%eth0"]),
    ],
)
def test_texts_are_valid_as_the_kernel_takes_them(
    logical: str, options: dict[str, Any], good: list[str], bad: list[str]
) -> None:
    made = contract(column(logical, options, required=True))
    schema = schema_of(made)
    for texts, expected in ((good, True), (bad, False)):
        for text in texts:
            record = json.dumps({"a": text})
            assert (is_accepted(made, record), is_valid(schema, record)) == (expected, expected), text


@pytest.mark.parametrize(
    ("logical", "options", "more", "said"),
    [
        ("date", {"minimum": "2020-01-01"}, {}, "Also held to: minimum 2020-01-01."),
        ("date", {"format": "dd.MM.yyyy"}, {}, "Written as `%d.%m.%Y`."),
        ("timestamp", {"timezone": True}, {}, "Date and time in ISO 8601, with its zone."),
        (
            "timestamp",
            {"defaultTimezone": "-05:30"},
            {},
            "Date and time in ISO 8601, without a zone, in -05:30.",
        ),
        ("number", {"multipleOf": 0.1}, {}, "Also held to: multipleOf 0.1."),
        ("string", {"format": "uri"}, {}, "Text of the format `uri`."),
        (
            "array",
            {"uniqueItems": True},
            {"items": {"logicalType": "integer", "name": "i"}},
            "Also held to: no item twice.",
        ),
    ],
)
def test_what_json_schema_can_not_say_is_in_the_description(
    logical: str, options: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    assert keywords(logical, options, **more)["description"] == said
    assert keywords(logical, options, description="Of a.", **more)["description"] == f"Of a. {said}"


@pytest.mark.parametrize(
    ("more", "options", "records"),
    [
        # The next floats are 2 away, or the decimal is no float at all.
        ({}, {"maximum": 2**53}, ["9007199254740993"]),
        ({}, {"multipleOf": 0.1}, ["0.3"]),
        ({}, {"multipleOf": 2}, ["9007199254740993"]),
        ({"physicalType": "decimal(20,18)"}, {"exclusiveMaximum": 1}, ["0.999999999999999999"]),
        (
            {"physicalType": "decimal(38,2)"},
            {},
            ["999999999999999999999999999999999999.99", "1e35", "999999999999999999999999999999999999"],
        ),
        (
            {"physicalType": "decimal(22,2)", "quality": listing(["12345678901234567890"])},
            {},
            ["12345678901234567890.00", "12345678901234567890"],
        ),
    ],
)
def test_numbers_that_floats_do_not_hold_are_never_refused(
    more: dict[str, Any], options: dict[str, Any], records: list[str]
) -> None:
    made = contract(column("number", options, required=True, **more))
    for text in records:
        record = f'{{"a": {text}}}'
        assert is_accepted(made, record)
        assert is_valid(schema_of(made), record), text


def test_multiples_beyond_what_floats_hold_are_let_through() -> None:
    schema = schema_of(contract(column("integer", {"multipleOf": 3})))
    assert is_valid(schema, '{"a": 9007199254740993}', parse_int=float)
    assert is_valid(schema, '{"a": 9}')
    assert not is_valid(schema, '{"a": 10}')


def test_two_patterns_must_both_hold() -> None:
    found = keywords("string", {"format": "uri", "pattern": "^a:"})
    assert found["pattern"] == "^a:"
    assert len(found["allOf"]) == 1
    assert "pattern" in found["allOf"][0]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("^[0-9A-Z]{2}$", "^[0-9A-Z]{2}$"),
        ("a.b", r"a[^\n]b"),
        (r"\.[.]", r"\.[.]"),
        (r"\!\-\"\/\x41\n", r'!-"\/\x41\n'),
        (r"[\-\&\&\]\x41]\&", r"[\-\x26\x26\]\x41]&"),
    ],
)
def test_patterns_are_written_for_ecma_262(pattern: str, expected: str) -> None:
    assert to_ecma(pattern) == expected


def test_a_pattern_that_is_not_portable_is_left_out_with_a_comment() -> None:
    made = contract(column("string"))
    rules = (Rule("pattern", "(?i)a"),)
    made = replace(made, plan=replace(made.plan, columns=(Column("a", "string", rules=rules),)))
    found = schema_of(made)["properties"]["a"]
    assert "pattern" not in found
    assert "engines read differently" in found["$comment"]
    assert found["description"] == "Also held to: matches (?i)a."


def test_the_schema_names_its_dataset_and_the_contracts_hash() -> None:
    made = Contract.load(CONTRACTS / "airlines.odcs.yaml")
    schema = json_schema(made)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:dpipe:airlines:{made.hash}"
    assert (schema["title"], schema["description"]) == ("airlines", made.description)
    assert schema["properties"]["carrier"]["title"] == "Carrier code"
    assert schema["examples"] == [{"carrier": "UA", "name": "United Air Lines Inc."}]


def test_examples_that_the_kernel_rejects_are_left_out() -> None:
    made = contract(column("integer", {"minimum": 5}, required=True, examples=["7", 3, 8]))
    schema = schema_of(made)
    assert schema["properties"]["a"]["examples"] == [8]
    assert schema["examples"] == [{"a": 8}]


def test_a_record_is_made_where_columns_have_no_examples() -> None:
    made = contract(
        column("integer", {"minimum": 5}, required=True),
        {**column("date", {"format": "dd.MM.yyyy"}), "name": "b"},
        {**column("array", items={"name": "i", "logicalType": "string"}), "name": "c"},
    )
    assert schema_of(made)["examples"] == [{"a": 5, "b": "31.01.2024", "c": ["a"]}]


def test_no_record_is_made_where_a_required_column_has_a_pattern() -> None:
    assert "examples" not in schema_of(contract(column("string", {"pattern": "^[B-Z]{3}$"}, required=True)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_projects_records_are_valid(path: Path) -> None:
    made = Contract.load(path)
    schema = schema_of(made)
    lines = (SAMPLES / f"{made.dataset}.csv").read_bytes().splitlines(keepends=True)
    rows = pa.table(dpipe.process(b"".join(lines[:200]), made, format="csv").accepted).to_pylist()
    assert rows
    for row in [*rows, *schema["examples"]]:
        values = {name: value for name, value in row.items() if not name.startswith("_dpipe")}
        record = json.dumps(values, default=lambda moment: moment.isoformat())
        assert is_valid(schema, record)
        assert is_accepted(made, record)


def test_the_command_prints_the_schema_of_a_dataset_or_a_file() -> None:
    path = CONTRACTS / "flights.odcs.yaml"
    expected = json_schema(Contract.load(path))
    for arguments in (["flights"], [str(path)], ["flights", "--json"]):
        result = CliRunner().invoke(app, ["schema", *arguments], obj=Globals(ROOT))
        assert result.exit_code == 0
        assert json.loads(result.stdout) == expected


# What follows draws contracts and records, and asks the kernel.

NUMBERS: list[float] = [0, 1, -1, 0.1, 0.5, 1.5, 99.99, 255, 1000, 2**31 - 1, 2**53 - 1, 1e15, 0.1 + 0.2]
LARGE: list[float] = [*NUMBERS, 2**53, 2**53 + 2, 1e23, 1e300, -1e300]
STEPS: list[float] = [1, 2, 5, 1000, 0.01, 0.1, 0.5, 2.5, 3]
PATTERNS = ["^[a-c]+$", "b", "^.b", r"[\-\&x]", "^(?:a|x)?$", r"\!"]
INTEGERS = ["i8", "u8", "i32", "u32", "i64", "u64", "i128"]
FORMATS = ["byte", "date", "date-time", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"]
TEXTS = [
    *("", "a", "ab", "abc", "a\rb", "a\u2028b", "b\n", "x", "!", "&", "-", "😀b", "é"),
    *("yes", "5", "YQ==", "a:b", "a:[#"),
    *("2024-02-29", "2024-02-30", "0001-01-01", "29.02.2024", "08:30", "08:30:00.5", "08:30.5", "23:59:59.9999990"),
    *("2024-02-29T12:00", "2024-02-29 12:00:00Z", "2024-02-29t12:00:00.123456-05", "2024-02-29T12:00.5+0100"),
    *("a@b.co", "a@1.2", "localhost", "xn--x", "ab--c.d", "1.2.3.4", "::1", "::ffff:1.2.3.4"),
    *("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6BA7E810-9DAD-11D1-80B4-00C04FD430C8"),
]  # fmt: skip
ODD = ["null", "true", "false", "0", "1", "1.0", "-0", "-0.0", "1e2", '"1"', "[]", "{}", "[1]", '{"x": 1}']


def subsets(draw: st.DrawFn, options: dict[str, Any]) -> dict[str, Any]:
    """Some of the options."""
    chosen = draw(st.sets(st.sampled_from(sorted(options)), max_size=2))
    return {name: options[name] for name in sorted(chosen)}


def limit_options(draw: st.DrawFn, values: list[Any]) -> dict[str, Any]:
    value = st.sampled_from(values)
    names = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    return subsets(draw, {name: draw(value) for name in names})


@st.composite
def properties(draw: st.DrawFn, name: str, exact: bool, depth: int = 0) -> dict[str, Any]:
    """A column or part; with `exact`, of what JSON Schema says to the letter."""
    types = ["integer", "number", "string", "boolean"]
    types += [] if exact else ["decimal", "decimal", "date", "time", "timestamp"]
    types += ["object", "array"] if depth < 2 else []
    logical = draw(st.sampled_from(types))
    more: dict[str, Any] = {"name": name, "required": draw(st.booleans())}
    options: dict[str, Any] = {}
    steps = st.sampled_from(STEPS[:4] if exact else STEPS)
    is_listed = depth == 0 and draw(st.integers(0, 3)) == 0
    if logical == "integer":
        options = {"format": draw(st.sampled_from(INTEGERS[:4] if exact else INTEGERS))}
        options |= limit_options(draw, NUMBERS) | subsets(draw, {"multipleOf": draw(steps)})
        if is_listed:
            more["quality"] = listing(draw(st.sampled_from([[1], [0, 7], [100]])))
    elif logical == "number":
        options = limit_options(draw, NUMBERS if exact else LARGE)
        options |= {} if exact else subsets(draw, {"multipleOf": draw(steps)})
    elif logical == "decimal":
        logical = "number"
        digits = draw(st.sampled_from([(4, 2), (15, 3), (16, 16), (20, 3), (22, 2), (38, 0), (38, 38)]))
        more["physicalType"] = "decimal({},{})".format(*digits)
        texts = ["0.5", "12345678901234567.25", "0.12345678901234567890", "-3", "0.99"]
        options = limit_options(draw, [*NUMBERS, *texts]) | subsets(draw, {"multipleOf": draw(steps)})
        if is_listed:
            more["quality"] = listing(draw(st.sampled_from([["0.5"], [0, "0.25"], ["12345678901234567"]])))
    elif logical == "string":
        known = {"minLength": 1, "maxLength": 3, "pattern": draw(st.sampled_from(PATTERNS))}
        options = subsets(draw, known if exact else known | {"format": draw(st.sampled_from(FORMATS))})
        if is_listed:
            more["quality"] = listing(draw(st.sampled_from([["x"], ["a", "yes"], [""]])))
    elif logical == "date":
        options = subsets(draw, {"minimum": "2020-01-01", "format": "dd.MM.yyyy"})
    elif logical == "time":
        options = subsets(draw, {"maximum": "20:00"})
    elif logical == "timestamp":
        options = subsets(
            draw, {"timezone": True, "defaultTimezone": draw(st.sampled_from(["UTC", "+01:00"]))}
        )
    elif logical == "array":
        more["items"] = draw(properties("i", exact, depth + 1))
        known = {"minItems": 1, "maxItems": 2}
        options = subsets(draw, known if exact else known | {"uniqueItems": True})
    elif logical == "object":
        more["properties"] = [draw(properties(part, exact, depth + 1)) for part in ("x", "y")]
    return more | {"logicalType": logical, "logicalTypeOptions": options}


@st.composite
def contracts(draw: st.DrawFn, exact: bool) -> Contract:
    """A contract of one or two columns."""
    made = [draw(properties(name, exact)) for name in ("a", "b")[: draw(st.integers(1, 2))]]
    try:
        return contract(*made, custom=draw(st.sampled_from([(), (REJECT,)])))
    except dpipe.DpipeError:
        reject()  # limits that leave no value


def spellings(value: Decimal) -> list[str]:
    """A number's text in JSON, in several forms."""
    text = f"{value:f}"
    return [text, f"{value:e}", f"{text}.0" if "." not in text else f"{text}0"]


@st.composite
def numbers(draw: st.DrawFn, made: Column) -> str:
    """The text of a number that is at a limit of the column's, or beside it."""
    named = [text for rule in made.rules if isinstance(rule.value, tuple) for text in rule.value]
    named += [str(rule.value) for rule in made.rules if not isinstance(rule.value, tuple)]
    edge = Decimal(10) ** (made.precision - made.scale)
    near = Decimal(draw(st.sampled_from([*named, "0", "7", "0.3", "9007199254740993", str(edge), "1e23"])))
    places = draw(st.sampled_from([0, 0, 1, 2, made.scale, 17]))
    moved = near + draw(st.integers(-3, 3)) * Decimal(1).scaleb(-places)
    return draw(st.sampled_from(spellings(moved)))


@st.composite
def values(draw: st.DrawFn, made: Column) -> str:
    """The text of a value in JSON, mostly of the column's type."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(ODD))
    if made.kind == "boolean":
        return draw(st.sampled_from(["true", "false"]))
    if made.kind == "list":
        items = draw(st.lists(values(made.fields[0]), max_size=3))
        return f"[{', '.join(items)}]"
    if made.kind == "struct":
        return draw(records(made.fields))
    if made.kind in {"int32", "int64", "float64", "decimal"}:
        return draw(numbers(made))
    return json.dumps(draw(st.sampled_from(TEXTS) | st.text("ab-&x!é😀", max_size=4)))


@st.composite
def records(draw: st.DrawFn, columns: tuple[Column, ...]) -> str:
    """The text of an object with most of the columns, and now and then one that the contract doesn't know."""
    fields = {column.name: draw(values(column)) for column in columns if draw(st.integers(0, 9))}
    if draw(st.integers(0, 9)) == 0:
        fields["unknown"] = draw(st.sampled_from(ODD))
    return "{" + ", ".join(f'"{name}": {text}' for name, text in fields.items()) + "}"


def as_exact(made: Column, value: Any) -> Any:
    """A value as it is when integers have no point, and floats no more digits than they hold."""
    if isinstance(value, list) and made.kind == "list":
        return [as_exact(made.fields[0], item) for item in value]
    if isinstance(value, dict):
        parts = {part.name: part for part in made.fields}
        return {name: as_exact(parts[name], item) if name in parts else item for name, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


READERS: list[dict[str, Any]] = [{}, {"parse_int": float}]


@settings(max_examples=200, deadline=None)
@given(contracts(exact=False), st.data())
def test_what_the_kernel_accepts_is_valid(made: Contract, data: st.DataObject) -> None:
    schema = schema_of(made)
    has_floats = "float64" in str([column.type_name for column in made.plan.columns])
    for _ in range(8):
        record = data.draw(records(made.plan.columns))
        if not is_accepted(made, record):
            continue
        for read in READERS:
            assert is_valid(schema, record, **read), (schema, record, read)
        if not has_floats:
            # A float column rounds what has more digits, and a validator that reads every digit can't know.
            assert is_valid(schema, record, parse_float=Decimal), (schema, record)


@st.composite
def at_a_limit(draw: st.DrawFn) -> tuple[Contract, list[str]]:
    """A column of numbers with one rule, and numbers at its limit or the type's and right beside them."""
    rule = draw(st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]))
    precision, scale = draw(st.sampled_from([(4, 2), (16, 16), (20, 18), (22, 2), (38, 0), (38, 38)]))
    edge = 10**precision - 1
    limit = draw(st.sampled_from([1, 10**scale, edge, edge // 3]) | st.integers(-edge, edge))
    spelled = Decimal((int(limit < 0), tuple(map(int, str(abs(limit)))), -scale))
    more = {"physicalType": f"decimal({precision},{scale})", "required": True}
    value: float | str = f"{spelled:f}"
    if rule == "multipleOf":
        value, limit = draw(st.sampled_from([(0.1, 1), (3, 1 << 53), (7, edge)]))
    elif draw(st.booleans()):
        # A float, with integers around it.
        value, scale = draw(st.sampled_from([float(2**53), 2.0**53 + 2, 1e17, 1e23, -1e23, 0.3])), 0
        limit, more = int(value), {"required": True}
    near = [limit + moved for moved in (-1, 0, 1, draw(st.integers(-100, 100)))]
    units = [*near, edge, -edge, draw(st.integers(-edge, edge))]
    numbers = [Decimal((int(unit < 0), tuple(map(int, str(abs(unit)))), -scale)) for unit in units]
    try:
        made = contract(column("number", {rule: value}, **more))
    except dpipe.DpipeError:
        reject()
    return made, [text for number in numbers for text in spellings(number)]


@settings(max_examples=150, deadline=None)
@given(at_a_limit())
def test_numbers_that_the_kernel_accepts_are_valid_at_every_limit(drawn: tuple[Contract, list[str]]) -> None:
    made, texts = drawn
    schema = schema_of(made)
    readers = [*READERS, {"parse_float": Decimal}]
    for record in (f'{{"a": {text}}}' for text in texts):
        if is_accepted(made, record):
            wrongly = [read for read in readers if not is_valid(schema, record, **read)]
            assert not wrongly, (schema, record)


@settings(max_examples=150, deadline=None)
@given(contracts(exact=True), st.data())
def test_types_ranges_lengths_and_lists_are_exact(made: Contract, data: st.DataObject) -> None:
    schema = schema_of(made)
    whole = Column("record", "struct", fields=made.plan.columns)
    for _ in range(8):
        drawn = json.loads(data.draw(records(made.plan.columns)))
        record = json.dumps(as_exact(whole, drawn))
        if "\\n" in record or "Infinity" in record:
            continue  # Python's `$` matches before a last line feed, the kernel's and ECMA-262's don't.
        assert is_valid(schema, record) == is_accepted(made, record), (schema, record)


@settings(max_examples=50, deadline=None)
@given(contracts(exact=False))
def test_examples_are_accepted(made: Contract) -> None:
    for record in json_schema(made).get("examples", []):
        assert is_accepted(made, json.dumps(record))
