"""What a contract compiles to, piece by piece."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from contract_texts import HEAD, contract, write
from dpipe.contract import Column, Contract, CsvOptions, PartitionField, Rule, contract_for, load_contract
from dpipe.contract.formats import FormatError, check, from_java
from dpipe.contract.plan import DefaultOffset
from dpipe.errors import ConfigError, UsageError
from support import make_project

if TYPE_CHECKING:
    from pathlib import Path

NEWER = HEAD.replace("v3.1.0", "v3.2.0")


def load(folder: Path, text: str) -> Contract:
    return load_contract(write(folder, text))


def column(folder: Path, text: str, *, head: str = HEAD) -> Column:
    return load(folder, contract(text, head=head)).plan.columns[0]


@pytest.mark.parametrize(
    ("definition", "kind"),
    [
        ("logicalType: integer", "int64"),
        ("logicalType: integer, logicalTypeOptions: {format: i8}", "int32"),
        ("logicalType: integer, logicalTypeOptions: {format: i16}", "int32"),
        ("logicalType: integer, logicalTypeOptions: {format: i32}", "int32"),
        ("logicalType: integer, logicalTypeOptions: {format: i64}", "int64"),
        ("logicalType: integer, logicalTypeOptions: {format: u16}", "int32"),
        ("logicalType: integer, logicalTypeOptions: {format: u32}", "int64"),
        ("logicalType: integer, physicalType: UINT64", "decimal(20,0)"),
        ("logicalType: integer, physicalType: int128", "decimal(38,0)"),
        ("logicalType: integer, physicalType: 'NUMERIC(12)'", "decimal(12,0)"),
        ("logicalType: number, physicalType: 'decimal(10, 2)'", "decimal(10,2)"),
        ("logicalType: number", "float64"),
        ("logicalType: number, physicalType: DOUBLE, logicalTypeOptions: {format: f64}", "float64"),
        ("logicalType: string", "string"),
        ("logicalType: boolean", "boolean"),
        ("logicalType: date", "date"),
        ("logicalType: time", "time"),
        ("logicalType: timestamp", "timestamp_ntz"),
        ("logicalType: timestamp, logicalTypeOptions: {defaultTimezone: UTC}", "timestamp"),
        ("logicalType: timestamp, logicalTypeOptions: {timezone: false}", "timestamp_ntz"),
        ("logicalType: timestamp, logicalTypeOptions: {timezone: true}", "timestamp"),
    ],
)
def test_a_logical_type_has_its_kind(tmp_path: Path, definition: str, kind: str) -> None:
    assert column(tmp_path, f"- {{name: a, {definition}}}").type_name == kind


def test_a_narrow_integer_keeps_its_range(tmp_path: Path) -> None:
    text = "- {name: a, logicalType: integer, logicalTypeOptions: {format: i8, minimum: 0}}"
    assert column(tmp_path, text).rules == (Rule("minimum", 0.0), Rule("maximum", 127.0))


@pytest.mark.parametrize(
    ("options", "offset"),
    [
        ("defaultTimezone: Etc/UTC", DefaultOffset(0, False)),
        ("timezone: true, defaultTimezone: '-05:30'", DefaultOffset(-330, True)),
        ("timezone: true", None),
    ],
)
def test_a_default_zone_is_an_offset(tmp_path: Path, options: str, offset: DefaultOffset | None) -> None:
    text = f"- {{name: a, logicalType: timestamp, logicalTypeOptions: {{{options}}}}}"
    assert column(tmp_path, text).default_offset == offset


def test_limits_of_dates_are_iso_text(tmp_path: Path) -> None:
    options = "{timezone: true, minimum: '2020-01-01T01:00:00+01:00', exclusiveMaximum: '2021-01-01 00:00Z'}"
    text = f"- {{name: a, logicalType: timestamp, logicalTypeOptions: {options}}}"
    assert set(column(tmp_path, text).rules) == {
        Rule("minimum", "2020-01-01T00:00:00+00:00"),
        Rule("exclusiveMaximum", "2021-01-01T00:00:00+00:00"),
    }


def test_servers_may_have_keys_of_their_kind(tmp_path: Path) -> None:
    top = "servers: [{server: lake, type: azure, storageAccount: x}]\n"
    assert load(tmp_path, contract(top=top)).dataset == "d"


@pytest.mark.parametrize(
    "limits",
    [
        "minimum: 1, maximum: 1",
        "exclusiveMinimum: 0, exclusiveMaximum: 2",
        "minimum: 0.5, maximum: 1.5",
        "maximum: -9",
    ],
)
def test_limits_that_leave_an_integer_are_taken(tmp_path: Path, limits: str) -> None:
    assert column(tmp_path, f"- {{name: a, logicalType: integer, logicalTypeOptions: {{{limits}}}}}").rules


def test_limits_and_lengths_and_patterns_become_rules(tmp_path: Path) -> None:
    text = "- {name: a, logicalType: string, logicalTypeOptions: {minLength: 1, maxLength: 5, pattern: '^x'}}"
    assert column(tmp_path, text).rules == (Rule("minLength", 1), Rule("maxLength", 5), Rule("pattern", "^x"))


def test_values_that_must_be_valid_become_an_enumeration(tmp_path: Path) -> None:
    rule = "{metric: invalidValues, arguments: {validValues: [1, 2]}, mustBe: 0}"
    loaded = load(tmp_path, contract(f"- {{name: a, logicalType: integer, quality: [{rule}]}}"))
    assert loaded.plan.columns[0].rules == (Rule("enum", ("1", "2")),)
    assert loaded.quality == ()


@pytest.mark.parametrize("softer", ["mustBeLessThan: 5", "mustBe: 0, severity: warning"])
def test_values_that_may_be_invalid_stay_a_rule_on_the_batch(tmp_path: Path, softer: str) -> None:
    rule = f"{{metric: invalidValues, arguments: {{validValues: [x]}}, {softer}}}"
    loaded = load(tmp_path, contract(f"- {{name: a, logicalType: string, quality: [{rule}]}}"))
    assert loaded.plan.columns[0].rules == ()
    assert [item.metric for item in loaded.quality] == ["invalidValues"]


def test_the_enum_of_odcs_3_2_becomes_an_enumeration(tmp_path: Path) -> None:
    text = "- {name: a, logicalType: string, enum: [{value: x}, {value: y}]}"
    assert column(tmp_path, text, head=NEWER).rules == (Rule("enum", ("x", "y")),)


def test_the_key_is_in_the_order_of_its_positions(tmp_path: Path) -> None:
    text = (
        "- {name: a, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 2}\n"
        "- {name: b, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}"
    )
    assert load(tmp_path, contract(text)).plan.key == ("b", "a")


def test_a_key_of_one_column_needs_no_position_and_may_be_called_unique(tmp_path: Path) -> None:
    text = "- {name: a, logicalType: string, required: true, primaryKey: true, unique: true}"
    plan = load(tmp_path, contract(text)).plan
    assert (plan.key, plan.unique) == (("a",), ())


def test_any_column_may_be_unique_on_its_own(tmp_path: Path) -> None:
    text = (
        "- {name: a, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1, unique: true}\n"
        "- {name: b, logicalType: date, required: true, primaryKey: true, primaryKeyPosition: 2}\n"
        "- {name: c, logicalType: number, unique: true}\n- {name: d, logicalType: number, unique: false}"
    )
    assert load(tmp_path, contract(text)).plan.unique == ("a", "c")


def test_partition_fields_are_named_after_column_and_transform(tmp_path: Path) -> None:
    text = (
        "- name: at\n  logicalType: timestamp\n  partitioned: true\n  partitionKeyPosition: 2\n"
        "  customProperties: [{property: dpipe.partitionTransform, value: day}]\n"
        "- {name: shop, logicalType: string, partitioned: true, partitionKeyPosition: 1}"
    )
    assert load(tmp_path, contract(text)).plan.partition == (
        PartitionField("shop", "identity", "shop"),
        PartitionField("at", "day", "at_day"),
    )


def test_custom_properties_of_the_dataset_reach_the_plan(tmp_path: Path) -> None:
    given = {
        "dpipe.nullTokens": ["NA", ""],
        "dpipe.unknownFields": "reject",
        "dpipe.csv.delimiter": "\t",
        "dpipe.csv.quote": "'",
        "dpipe.csv.escape": "\\",
        "dpipe.csv.comment": "#",
        "dpipe.csv.header": False,
        "dpipe.maxRecordBytes": 1024,
    }
    items = json.dumps([{"property": name, "value": value} for name, value in given.items()])
    plan = load(tmp_path, contract(dataset=f"customProperties: {items}")).plan
    assert plan.csv == CsvOptions("\t", "'", header=False, null_tokens=("NA", ""), escape="\\", comment="#")
    assert (plan.unknown_fields, plan.max_record_bytes) == ("reject", 1024)


def test_the_defaults_of_a_plan_are_the_kernels(tmp_path: Path) -> None:
    document = json.loads(load(tmp_path, contract()).plan.to_json())
    assert document["csv"] == {
        "delimiter": ",",
        "quote": '"',
        "header": True,
        "null_tokens": [""],
        "escape": None,
        "comment": None,
    }
    assert document["max_record_bytes"] == 16 << 20
    assert document["unknown_fields"] == "ignore"


def test_the_tables_field_ids_reach_the_plan(tmp_path: Path) -> None:
    ids = {"a": 7, "_dpipe_batch_id": 2, "_dpipe_record_no": 3, "_dpipe_contract": 4}
    document = json.loads(load(tmp_path, contract()).plan.to_json(ids))
    assert document["columns"][0]["field_id"] == 7
    assert document["provenance_ids"] == [2, 3, 4]


def test_formats_of_odcs_and_of_dpipe_are_taken_together(tmp_path: Path) -> None:
    text = (
        "- name: a\n  logicalType: date\n  logicalTypeOptions: {format: dd.MM.yyyy}\n"
        "  customProperties: [{property: dpipe.formats, value: ['%m/%d/%Y', '%d.%m.%Y']}]"
    )
    assert column(tmp_path, text).formats == ("%d.%m.%Y", "%m/%d/%Y")


@pytest.mark.parametrize(
    ("java", "strftime"),
    [
        ("yyyy-MM-dd", "%Y-%m-%d"),
        ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "%Y-%m-%dT%H:%M:%S%.f%#z"),
        ("dd/MM/uuuu HH:mm", "%d/%m/%Y %H:%M"),
        ("'o''clock' 100%", "o'clock 100%%"),
        ("''", "'"),
    ],
)
def test_formats_of_java_are_translated(java: str, strftime: str) -> None:
    assert from_java(java) == strftime


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("%Y-%m-%d %Q", "date", "`%Q` is not read"),
        ("%Y-%m-%d %", "date", "`%` is not read"),
        ("%Y-%Y-%m-%d", "date", "the year is there twice"),
        ("%H:%M", "timestamp", "no whole date"),
        ("%Y-%m-%d", "timestamp", "no time of day"),
        ("%Y-%m-%d %H:%M", "timestamp", "no zone"),
        ("%Y-%m-%d %H:%M%z", "timestamp_ntz", "a zone in a timestamp without one"),
        ("%Y-%m-%d %I:%M", "timestamp_ntz", "half a clock"),
        ("%Y-%m-%d %H:%M%.f", "timestamp_ntz", "a fraction without its second"),
    ],
)
def test_a_format_that_spells_no_whole_value_is_refused(text: str, kind: str, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        check(text, kind)


def test_an_unclosed_quote_in_a_format_is_refused() -> None:
    with pytest.raises(FormatError, match="a quote is not closed"):
        from_java("yyyy'T")


def test_comments_layout_and_key_order_do_not_change_the_hash(tmp_path: Path) -> None:
    plain = load(tmp_path, contract("- {name: a, logicalType: string}")).hash
    other = load(tmp_path, "# a comment\n" + contract("- logicalType: 'string'\n  name: a  # the name")).hash
    assert plain == other
    assert len(plain) == 64


def test_a_rule_changes_the_hash(tmp_path: Path) -> None:
    plain = load(tmp_path, contract()).hash
    assert load(tmp_path, contract("- {name: a, logicalType: string, required: true}")).hash != plain


def test_loading_names_every_error_with_its_place_and_fix(tmp_path: Path) -> None:
    path = write(tmp_path, contract("- {name: a, logicalType: map}\n- {name: B, logicalType: string}"))
    with pytest.raises(ConfigError) as caught:
        load_contract(path)
    lines = caught.value.message.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"{path}:10:32", f"{path}:11:16"]
    assert lines[0].endswith("dpipe doesn't read the type `map` yet; give each key a column")


def test_a_dataset_of_the_project_is_found_by_name(tmp_path: Path) -> None:
    assert contract_for(make_project(tmp_path), "orders").dataset == "orders"


@pytest.mark.parametrize("name", ["order", "../orders", ""])
def test_an_unknown_dataset_is_answered_with_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        contract_for(make_project(tmp_path), name)
    assert caught.value.hint is not None
    assert "`orders`" in caught.value.hint
