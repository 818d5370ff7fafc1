"""The marks beneath a quarantined record: at the value that is wrong, and never in the way of showing it."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from dpipe.contract import CsvOptions
from dpipe.stages.marks import field_spans, marked
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters=".["), min_size=1, max_size=5),
    unique=True,
    min_size=1,
    max_size=5,
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=30)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def row(
    raw: bytes, *columns: str | None, form: str = "ndjson", header: bytes | None = None
) -> dict[str, Any]:
    violations = [{"column": column, "rule": "rule", "message": "message"} for column in columns]
    return {"raw": raw, "raw_format": form, "raw_header": header, "violations": violations}


def beneath(lines: list[str]) -> str:
    """What the carets of the one mark stand beneath."""
    (at,) = [index for index, line in enumerate(lines) if line.strip() and not line.strip("^ ")]
    carets = lines[at]
    return lines[at - 1][carets.index("^") : len(carets)]


@given(names=NAMES, data=st.data(), spaces=st.booleans(), ascii_only=st.booleans())
def test_a_json_value_is_marked(
    names: list[str], data: st.DataObject, spaces: bool, ascii_only: bool
) -> None:
    record = {name: data.draw(VALUES) for name in names}
    wrong = data.draw(st.sampled_from(names))
    text = json.dumps(record, ensure_ascii=ascii_only, separators=None if spaces else (",", ":"))
    value = json.dumps(record[wrong], ensure_ascii=ascii_only, separators=None if spaces else (",", ":"))
    found = beneath(list(marked(row(text.encode("utf-8", "surrogatepass"), wrong), CsvOptions())))
    assert found == value or (found.endswith("…") and value.startswith(found[:-1]))


@given(
    fields=st.lists(st.text(st.characters(codec="utf-8"), max_size=20), min_size=1, max_size=6),
    delimiter=st.sampled_from(",;|\t"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_csv_fields_are_told_apart(fields: list[str], delimiter: str, quoting: Any) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="", quoting=quoting).writerow(fields)
    line = out.getvalue()
    spans = list(field_spans(line, CsvOptions(delimiter=delimiter)))
    parts = [line[start:stop] for start, stop in spans]
    assert delimiter.join(parts) == line
    unquoted = [part[1:-1].replace('""', '"') if part.startswith('"') else part for part in parts]
    assert unquoted == fields


def test_a_csv_field_is_marked() -> None:
    record = row(b'1,"a, b",-5', "amount", form="csv", header=b"\xef\xbb\xbforder_id,note,amount")
    assert beneath(list(marked(record, CsvOptions()))) == "-5"
    record["violations"][0]["column"] = "note"
    assert beneath(list(marked(record, CsvOptions()))) == '"a, b"'


def test_where_a_text_stops_being_json_is_marked() -> None:
    lines = list(marked(row(b'{"a": 1, "b": nothing}', None), CsvOptions()))
    assert lines == ["record: rule: message", '  {"a": 1, "b": nothing}', "                ^"]


def test_of_a_long_record_what_is_around_the_mark_is_shown() -> None:
    text = json.dumps({"a": "x" * 500, "b": -1, "c": "y" * 500})
    lines = list(marked(row(text.encode(), "b"), CsvOptions()))
    assert beneath(lines) == "-1"
    assert lines[1].startswith("  …x")
    assert lines[1].endswith("y…")
    assert len(lines[1]) < 140


def test_a_number_of_any_length_is_passed() -> None:
    assert beneath(list(marked(row(b'{"a": ' + b"1" * 5000 + b', "b": -1}', "b"), CsvOptions()))) == "-1"


@pytest.mark.parametrize("column", ["items[].price", "items", "items.a"])
def test_of_a_nested_column_the_whole_value_is_marked(column: str) -> None:
    assert beneath(list(marked(row(b'{"items": [{"price": 1}]}', column), CsvOptions()))) == '[{"price": 1}]'


def test_a_record_without_a_place_to_mark_is_shown_as_it_is() -> None:
    lines = list(marked(row(b"1,2,3", "b", form="csv", header=b"a,b"), CsvOptions()))
    assert lines == ["b: rule: message", "1,2,3"]


@given(
    raw=st.binary(max_size=60),
    form=st.sampled_from(["ndjson", "json", "csv", "unknown"]),
    header=st.none() | st.binary(max_size=20),
)
def test_any_bytes_are_shown(raw: bytes, form: str, header: bytes | None) -> None:
    assert list(marked(row(raw, "a", None, form=form, header=header), CsvOptions()))
