"""Random plans and files for the kernel.

A file is runs of records that one program might have written, with records in between that differ in some way: so the
kernel's quick path and its general one are both met, and change over in the middle of a file.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import reference
from dpipe.contract import Column, Comparison, CsvOptions, PartitionField, Plan, Rule
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    from dpipe.contract.plan import Kind, Operator
    from hypothesis.strategies import DrawFn, SearchStrategy

# Some begin as others do, and one is longer than the words that names are compared in.
NAMES = ["a", "ab", "abc", "day", "größe", "a_name_that_is_longer_than_thirty_two_bytes", "id", "x1"]
STRANGERS = ["z", "ab_", "other", "naïve"]
KINDS: list[Kind] = ["int32", "int64", "float64", "boolean", "string", "date", "timestamp", "timestamp_ntz"]
NUMBER_RULES = [
    (),
    (Rule("minimum", -3.0), Rule("maximum", 1000.0)),
    (Rule("exclusiveMinimum", 0.0),),
    (Rule("minimum", 0.5), Rule("exclusiveMaximum", 99.5)),
]
RULES: dict[str, list[tuple[Rule, ...]]] = {
    "int32": [*NUMBER_RULES, (Rule("enum", ("1", "2", "-3", "40")),)],
    "int64": [*NUMBER_RULES, (Rule("maximum", 2.0**53),)],
    "float64": NUMBER_RULES,
    "string": [
        (),
        (Rule("minLength", 1), Rule("maxLength", 8)),
        (Rule("minLength", 3),),
        (Rule("pattern", "^[a-z]+$"),),
        (Rule("enum", ("x", "yes", "ünï")), Rule("maxLength", 2)),
    ],
}
LETTERS = "abcxyz" * 4 + "ABC 01,;|'/é😀"
ODD_TEXTS = [
    "",
    "x",
    "yes",
    "ünï",
    " ",
    "NA",
    "-1",
    "2024-02-30",
    "2024-02-29",
    "1",
    "true",
    "a\\b",
    'a"b',
    "a\nb",
    "\x00",
]
ODD_JSON = [
    *(
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "-1",
        "1.0",
        "1e2",
        "1E+2",
        "-0.0",
        "0.1",
        "1e999",
        "1e-999",
        "nul",
    ),
    *(
        "2147483647",
        "2147483648",
        "-2147483649",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
    ),
    *("123456789012345678901234567890", "12345678", "1234567890123456", "0.123456789", "123456.789012345"),
    *(
        "01",
        "+1",
        "1.",
        ".5",
        "-",
        "--1",
        "1e",
        "NaN",
        "Infinity",
        "tru",
        "[]",
        "{}",
        "[1, [2]]",
        '{"a": {"b": []}}',
    ),
    *(
        "[1,",
        "{",
        '"',
        "'x'",
        '"\\ud83d"',
        '"\\ud83d\\ude00"',
        '"\\u0000"',
        '"a\tb"',
        '"\\x"',
        '"\\u12"',
        '"5"',
    ),
    *(
        '"2024-02-29"',
        '"2024-02-30"',
        '"2024-02-29T12:00:00Z"',
        '"2024-02-29 12:00"',
        '"2024-02-29T12:00:00.1234567"',
    ),
    *('"0001-01-01T00:00:00+01:00"', '"9999-12-31T23:59:59.999999Z"', '"2016-12-31T23:59:60Z"', '"T"'),
]
ODD_FIELDS = [
    *(
        "",
        " ",
        "NA",
        '""',
        "-1",
        "0",
        "+5",
        "007",
        "-0",
        "1.0",
        "1e2",
        "1.",
        ".5",
        ".",
        "nan",
        "inf",
        "1e999",
        "0x1",
    ),
    *(
        "TRUE",
        "False",
        "t",
        "1_0",
        "٣",
        "2147483648",
        "9223372036854775808",
        "123456789012345678",
        "2024-02-29",
    ),
    *("2024-2-9", "2024-02-29 12:00Z", "2024-02-29T12:00:00.5", "a\x00b", "a\rb", "\r", '"', 'a"b', "'"),
]
JSON_BYTES = b'{}[]",:\\ \t\r\n0-9eE.+ulnra\x00\x1f\x7f\xc3\xa9\xff'
CSV_BYTES = b"\",;'\r\n\t 0-9eE.+NAa\x00\xc3\xa9\xff"


@dataclass(frozen=True)
class Piece:
    """A run of `count` records that all differ in the way `how`, or a `regular` one."""

    how: str
    count: int
    seed: int


@st.composite
def plans(draw: DrawFn) -> Plan:
    """A plan of a few columns of any types."""
    columns = []
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True)):
        kind = draw(st.sampled_from(KINDS))
        rules = draw(st.sampled_from(RULES.get(kind, [()])))
        columns.append(Column(name, kind, required=draw(st.sampled_from([False, False, True])), rules=rules))
    names = [column.name for column in columns]
    partition = [
        PartitionField(
            column.name, "month" if column.kind.startswith(("date", "timestamp")) else "identity", "p"
        )
        for column in columns
        if column.kind != "float64"
    ]
    return Plan(
        dataset="things",
        contract="0" * 64,
        columns=tuple(columns),
        key=tuple(draw(st.lists(st.sampled_from(names), max_size=2, unique=True))),
        unique=tuple(draw(st.sampled_from([0, 0, 1, 2]).flatmap(lambda most: _some(names, most)))),
        comparisons=draw(_comparisons(columns)),
        partition=tuple(draw(st.lists(st.sampled_from(partition), max_size=1)) if partition else ()),
        unknown_fields=draw(st.sampled_from(["ignore", "ignore", "reject"])),
        csv=CsvOptions(
            delimiter=draw(st.sampled_from([",", ",", ";", "\t", "|", "-", "1"])),
            quote=draw(st.sampled_from(['"', '"', "'"])),
            header=draw(st.sampled_from([True, True, False])),
            null_tokens=draw(
                st.sampled_from([("",), ("", "NA"), ("NA",), ("", "-1"), ("0", "", "null"), ()])
            ),
            escape=draw(st.sampled_from([None, None, "\\"])),
            comment=draw(st.sampled_from([None, None, "#", "2"])),
        ),
        max_record_bytes=draw(st.sampled_from([16 << 20, 16 << 20, 200])),
    )


def _comparisons(columns: list[Column]) -> SearchStrategy[tuple[Comparison, ...]]:
    """Up to two rules over columns that can be compared; most records keep most of them."""
    numbers = {"int32", "int64", "float64"}
    pairs = [
        (one.name, other.name, one.kind)
        for one in columns
        for other in columns
        if one.name != other.name and (one.kind == other.kind or {one.kind, other.kind} <= numbers)
    ]
    if not pairs:
        return st.just(())

    def made(pair: tuple[str, str, Kind], operator: Operator) -> Comparison:
        return Comparison(pair[0], "!=" if pair[2] == "boolean" else operator, pair[1])

    operators: list[Operator] = ["!=", "!=", "!=", "=", "<", "<=", ">", ">="]
    rules = st.builds(made, st.sampled_from(pairs), st.sampled_from(operators))
    return st.sampled_from([0, 1, 1, 2]).flatmap(lambda most: st.lists(rules, max_size=most).map(tuple))


def _some(names: list[str], most: int) -> SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), max_size=most, unique=True)


def pieces(deviations: list[str], most: int = 8) -> SearchStrategy[list[Piece]]:
    """Runs of records, most of them regular."""
    regular = st.builds(Piece, st.just("regular"), st.integers(1, 12), st.integers(0, 1 << 20))
    other = st.builds(Piece, st.sampled_from(deviations), st.integers(1, 4), st.integers(0, 1 << 20))
    return st.lists(st.one_of(regular, other), max_size=most)


def _text(rng: random.Random) -> str:
    if rng.random() < 0.1:
        return rng.choice(ODD_TEXTS)
    return "".join(rng.choices(LETTERS, k=rng.choice([1, 2, 3, 5, 8, 9, 15, 16, 17, 33, 50])))


def _integer(rng: random.Random, bits: int) -> int:
    if rng.random() < 0.5:
        return rng.randint(-3, 9)
    value = rng.getrandbits(rng.randint(1, bits - 1))
    return -value if rng.random() < 0.3 else value


def _float(rng: random.Random) -> str:
    return rng.choice(
        [str(rng.randint(-5, 120)), f"{rng.uniform(-10, 200):.{rng.randint(1, 9)}f}", repr(rng.uniform(-1e9, 1e9)),
         f"{rng.random():.17g}", f"{rng.randint(1, 9)}e{rng.randint(-9, 9)}"]
    )  # fmt: skip


def _date(rng: random.Random) -> str:
    return (
        f"{rng.choice([1, 1582, 1969, 2000, 2024, 9999]):04}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    )


def _timestamp(rng: random.Random, kind: str) -> str:
    second = rng.choice(
        ["", f":{rng.randint(0, 59):02}", f":{rng.randint(0, 59):02}.{rng.randint(0, 10**6)}"]
    )
    zone = rng.choice(["Z", "z", "+01:00", "-0530", "+14"]) if kind == "timestamp" else ""
    time = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}{second}"
    return f"{_date(rng)}{rng.choice('TTt ')}{time}{zone}"


def _plain(rng: random.Random, column: Column) -> str:
    """The text of a value as the column mostly has it."""
    kind = column.kind
    spellings: dict[str, Callable[[], str]] = {
        "int32": lambda: str(_integer(rng, 32)),
        "int64": lambda: str(_integer(rng, 64)),
        "float64": lambda: _float(rng),
        "boolean": lambda: rng.choice(["true", "false"]),
        "string": lambda: _text(rng),
        "date": lambda: _date(rng),
    }
    spell = spellings.get(kind, lambda: _timestamp(rng, kind))
    if rng.random() < 0.03:
        return spell()
    value = {"int32": int, "int64": int, "float64": float}.get(kind, str)
    allowed = [rule.value for rule in column.rules if isinstance(rule.value, tuple)]
    for _ in range(20):
        text = rng.choice(allowed[0]) if allowed else spell()
        if all(reference.holds(rule, value(text)) for rule in column.rules):
            break
    return text


def _mutated(rng: random.Random, record: bytes, pool: bytes) -> bytes:
    at = rng.randint(0, len(record))
    byte = bytes([rng.choice(pool)])
    return record[:at] + rng.choice([byte, b"", byte * 2]) + record[at + rng.randint(0, 1) :]


def _bad_utf8(rng: random.Random, record: bytes) -> bytes:
    at = rng.randint(1, len(record)) if record else 0
    return record[:at] + rng.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"]) + record[at:]


# NDJSON.

JSON_DEVIATIONS = [
    *("spaces", "reorder", "escape", "odd", "null", "missing", "unknown", "duplicate", "truncate", "mutate"),
    *("bad_utf8", "blank", "no_object", "crlf", "again"),
]


@dataclass(frozen=True)
class Spacing:
    """White space around a record's parts."""

    open: str = "{"
    comma: str = ", "
    colon: str = ": "
    close: str = "}"


SPACINGS = [
    Spacing(),
    Spacing(comma=",", colon=":"),
    Spacing(" { ", " ,\t", " : ", " } "),
    Spacing("{\r", ",", ":", "}"),
]


def _json_text(rng: random.Random, column: Column) -> str:
    if not column.required and rng.random() < 0.08:
        return "null"
    plain = _plain(rng, column)
    is_text = column.kind in {"string", "date", "timestamp", "timestamp_ntz"}
    return json.dumps(plain, ensure_ascii=False) if is_text else plain


def _json_fields(plan: Plan, how: str, rng: random.Random) -> list[tuple[str, str]]:
    """Names and values as they are written."""
    fields = [
        (json.dumps(column.name, ensure_ascii=False), _json_text(rng, column)) for column in plan.columns
    ]
    at = rng.randrange(len(fields))
    if how == "reorder":
        rng.shuffle(fields)
    elif how == "escape":
        fields = [
            ("".join(f"\\u{ord(letter):04x}" if letter.isalpha() else letter for letter in name), value)
            if rng.random() < 0.3
            else (name, value.replace("/", "\\/").replace("a", "\\u0061").replace("é", "\\u00e9"))
            for name, value in fields
        ]
    elif how == "odd":
        fields[at] = (fields[at][0], rng.choice(ODD_JSON))
    elif how == "null":
        fields[at] = (fields[at][0], "null")
    elif how == "missing":
        del fields[at]
    elif how == "unknown":
        for name in rng.choices(STRANGERS, k=rng.randint(1, 3)):
            fields.insert(rng.randint(0, len(fields)), (json.dumps(name), rng.choice(ODD_JSON[:15])))
    elif how == "duplicate":
        fields.insert(rng.randint(0, len(fields)), (fields[at][0], rng.choice(["null", fields[at][1], "1"])))
    return fields


def _damaged(record: bytes, how: str, alphabet: bytes, rng: random.Random) -> bytes:
    """The record with damage to its bytes, if `how` asks for one."""
    if how == "truncate":
        return record[: rng.randint(0, len(record))]
    if how == "mutate":
        return _mutated(rng, record, alphabet)
    if how == "bad_utf8":
        return _bad_utf8(rng, record)
    return record


def json_record(plan: Plan, how: str, spacing: Spacing, rng: random.Random) -> bytes:
    if how == "blank":
        return rng.choice([b"", b" ", b"\t \r"])
    if how == "no_object":
        return rng.choice(
            [b"[]", b"null", b"5", b'"x"', b"{}", b"{", b"}", b"{}{}", b"[{}]", b"\xef\xbb\xbf{}"]
        )
    if how == "spaces":
        spacing = rng.choice(SPACINGS)
    fields = spacing.comma.join(
        f"{name}{spacing.colon}{value}" for name, value in _json_fields(plan, how, rng)
    )
    record = f"{spacing.open}{fields}{spacing.close}".encode()
    return _damaged(record, how, JSON_BYTES, rng)


@st.composite
def ndjson_files(draw: DrawFn, plan: Plan, most: int = 8) -> bytes:
    """A file of NDJSON for the plan."""
    spacing = draw(st.sampled_from(SPACINGS))
    is_crlf = draw(st.booleans())
    lines: list[bytes] = []
    for piece in draw(pieces(JSON_DEVIATIONS, most)):
        rng = random.Random(piece.seed)
        for _ in range(piece.count):
            record = json_record(plan, piece.how, spacing, rng)
            if piece.how == "again" and lines:
                record = rng.choice(lines).removesuffix(b"\n")
            lines.append(record + (b"\r\n" if is_crlf or piece.how == "crlf" else b"\n"))
    content = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + b"".join(lines)
    end = draw(st.sampled_from([0, 0, 1, 2]))
    return content[: len(content) - end]


# JSON arrays.

SOUND_DEVIATIONS = [
    how for how in JSON_DEVIATIONS if how not in {"truncate", "mutate", "bad_utf8", "blank", "crlf", "again"}
]


def _is_sound(record: bytes) -> bool:
    """Whether an array with this element is JSON. Half a pair of surrogates is no fault of the array."""

    def constant(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(record.decode(), parse_constant=constant)
    except ValueError:
        return False
    return True


@st.composite
def json_files(draw: DrawFn, plan: Plan, most: int = 8) -> bytes:
    """A JSON array for the plan: its elements may be anything, but the array is sound."""
    spacing = draw(st.sampled_from([*SPACINGS, Spacing("{\n  ", ",\n  ", ": ", "\n}")]))
    separator = draw(st.sampled_from([b",", b", ", b"\r\n,\t", b",\n"]))
    elements: list[bytes] = []
    for piece in draw(pieces(SOUND_DEVIATIONS, most)):
        rng = random.Random(piece.seed)
        records = (json_record(plan, piece.how, spacing, rng).strip() for _ in range(piece.count))
        elements += [record for record in records if _is_sound(record)]
    start = draw(st.sampled_from([b"[", b"\xef\xbb\xbf \n[ "]))
    return start + separator.join(elements) + draw(st.sampled_from([b"]", b"\n]\n"]))


# CSV.

CSV_DEVIATIONS = [
    *(
        "quoted",
        "doubled",
        "line_end",
        "odd",
        "null",
        "fewer",
        "more",
        "truncate",
        "mutate",
        "bad_utf8",
        "blank",
    ),
    *("crlf", "open_quote", "after_quote", "again", "escaped", "comment"),
]


def _quoted(plan: Plan, text: str) -> str:
    quote = plan.csv.quote
    return f"{quote}{text.replace(quote, quote * 2)}{quote}"


def _csv_field(plan: Plan, column: Column | None, rng: random.Random) -> str:
    if column is None:
        return rng.choice(["", "x", "1"])
    if not column.required and rng.random() < 0.08:
        return rng.choice([*plan.csv.null_tokens, ""])
    text = _plain(rng, column)
    return (
        _quoted(plan, text)
        if any(byte in text for byte in f"{plan.csv.delimiter}{plan.csv.quote}\n\r")
        else text
    )


def csv_record(plan: Plan, columns: list[Column | None], how: str, rng: random.Random) -> bytes:
    if how == "blank":
        return rng.choice([b"", b" ", b"\t"])
    if how == "comment":
        return rng.choice([b"#", b"# x,y", b'#"', b'#"x\n"', b"2"])
    fields = [_csv_field(plan, column, rng) for column in columns]
    at = rng.randrange(len(fields))
    changes: dict[str, Callable[[], str]] = {
        "quoted": lambda: _quoted(plan, fields[at].strip(plan.csv.quote)),
        "doubled": lambda: _quoted(plan, f"a{plan.csv.quote}b{plan.csv.delimiter}"),
        "escaped": lambda: _quoted(
            plan, rng.choice(["\\\\", "\\a", "é\\é", "\\\n", f"\\{plan.csv.quote}", "\\"])
        ),
        "line_end": lambda: _quoted(plan, rng.choice(["a\nb", "a\r\nb", "\n", "a\nb\n\nc"])),
        "odd": lambda: rng.choice(ODD_FIELDS),
        "null": lambda: rng.choice([*plan.csv.null_tokens, "", _quoted(plan, "NA"), _quoted(plan, "")]),
        "open_quote": lambda: f"{plan.csv.quote}{fields[at]}",
        "after_quote": lambda: f"{_quoted(plan, 'x')}{rng.choice(['y', ' ', plan.csv.quote])}",
    }
    if how in changes:
        fields[at] = changes[how]()
    elif how == "fewer":
        del fields[at]
    elif how == "more":
        fields.insert(at, rng.choice(["", "x", _quoted(plan, "a\nb")]))
    record = plan.csv.delimiter.join(fields).encode()
    return _damaged(record, how, CSV_BYTES, rng)


@st.composite
def csv_files(draw: DrawFn, plan: Plan, most: int = 8) -> bytes:
    """A CSV file for the plan, whose header is sound."""
    columns: list[Column | None] = list(plan.columns)
    names = [column.name for column in plan.columns]
    if plan.csv.header:
        order = draw(st.permutations(range(len(columns))))
        chosen = order[: draw(st.integers(1, len(columns)))] if draw(st.booleans()) else order
        columns, names = [columns[index] for index in chosen], [names[index] for index in chosen]
        if plan.unknown_fields == "ignore" and draw(st.booleans()):
            at = draw(st.integers(0, len(names)))
            columns.insert(at, None)
            names.insert(at, draw(st.sampled_from(STRANGERS)))
    is_crlf = draw(st.booleans())
    end = b"\r\n" if is_crlf else b"\n"
    lines: list[bytes] = []
    for piece in draw(pieces(CSV_DEVIATIONS, most)):
        rng = random.Random(piece.seed)
        for _ in range(piece.count):
            record = csv_record(plan, columns, piece.how, rng)
            if piece.how == "again" and lines:
                record = rng.choice(lines).removesuffix(b"\n").removesuffix(b"\r")
            lines.append(record + (b"\r\n" if piece.how == "crlf" else end))
    names = [_quoted(plan, name) if plan.csv.delimiter in name else name for name in names]
    header = [plan.csv.delimiter.join(names).encode() + end] if plan.csv.header else []
    mark = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]))
    content = mark + b"".join([*header, *lines])
    cut = draw(st.sampled_from([0, 0, 1, 2])) if lines else 0
    return content[: len(content) - cut]


@st.composite
def sources(draw: DrawFn, form: str, most: int = 8) -> tuple[Plan, dict[str, bytes]]:
    """A plan and one to three files for it, by batch id."""
    plan = draw(plans())
    if form != "ndjson":
        # Where a record that is too long ends is a matter of its own: the reference knows only lines.
        plan = replace(plan, max_record_bytes=16 << 20)
    files = {"ndjson": ndjson_files, "json": json_files, "csv": csv_files}[form]
    count = draw(st.integers(1, 3))
    return plan, {f"batch-{number}": draw(files(plan, most)) for number in range(count)}
