"""Every finding of lint: what it says, and that it points at the place marked with `‸`."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING

import pytest
from contract_texts import HEAD, contract, findings, marked
from dpipe.contract.custom import KNOWN

if TYPE_CHECKING:
    from pathlib import Path


def string(options: str) -> str:
    return f"- {{name: a, logicalType: string, logicalTypeOptions: {{{options}}}}}"


def decimal(options: str) -> str:
    return (
        f"- {{name: a, logicalType: number, physicalType: 'decimal(4,2)', logicalTypeOptions: {{{options}}}}}"
    )


def nested(properties: str, options: str = "") -> str:
    said = f"\n  logicalTypeOptions: {{{options}}}" if options else ""
    return f"- name: a\n  logicalType: object{said}\n  properties:\n{indent(properties, '    ')}"


def array(options: str) -> str:
    return f"- {{name: a, logicalType: array, items: {{logicalType: string}}, logicalTypeOptions: {{{options}}}}}"


def dated(logical: str, options: str) -> str:
    return f"- {{name: a, logicalType: {logical}, logicalTypeOptions: {{{options}}}}}"


def integer(options: str) -> str:
    return f"- {{name: a, logicalType: integer, logicalTypeOptions: {{{options}}}}}"


def on_column(rule: str, kind: str = "string", more: str = "") -> str:
    return f"- name: a\n  logicalType: {kind}\n  quality:\n    - {{{rule}}}\n{more}"


def on_dataset(rule: str) -> str:
    return contract(dataset=f"quality:\n  - {{{rule}}}")


def custom(name: str, value: str) -> str:
    return f"customProperties:\n  - {{property: {name}, value: {value}}}"


def versioned(version: str, name: str) -> str:
    return contract(
        "- {name: a, logicalType: string, primaryKey: true, required: true}\n- {name: v, " + version + "}",
        dataset=custom("dpipe.writeMode", "upsert")
        + f"\n  - {{property: dpipe.versionColumn, value: {name}}}",
    )


def column_custom(name: str, value: str, kind: str = "string", more: str = "") -> str:
    return f"- name: a\n  logicalType: {kind}\n{more}  customProperties:\n    - {{property: {name}, value: {value}}}"


TOP = {
    "no version": (contract(head=HEAD.replace("version: 1.0.0\n", "")), "`version` is missing"),
    "old api": (contract(head=HEAD.replace("v3.1.0", "‸v2.2.0")), "ODCS `v2.2.0` is not a version"),
    "kind": (
        contract(head=HEAD.replace("DataContract", "‸DataProduct")),
        "kind `DataProduct` is not a contract",
    ),
    "unknown key": (contract(top="‸owner: me\n"), "`owner` is not an ODCS key here"),
    "number for text": (contract(head=HEAD.replace("1.0.0", "‸1.0")), "`version` should be a valid string"),
    "two objects": (contract() + "  - ‸name: e\n", "2 schema objects"),
    "no objects": (HEAD + "‸schema: []\n", "0 schema objects"),
    "no columns": (HEAD + "schema:\n  - ‸name: d\n", "a dataset without columns"),
    "sla": (
        contract(top="slaProperties: [{property: ‸latency, value: 1}]\n"),
        "nothing measures the agreement",
    ),
    "roles": (contract(top="‸roles: [{role: reader}]\n"), "nothing grants or checks `roles`"),
    "dpipe property at the top": (
        contract(top="customProperties: [{property: ‸dpipe.nullTokens, value: [NA]}]\n"),
        "nothing reads `dpipe.nullTokens` here",
    ),
    "dataset's name": (contract().replace("name: d", "name: ‸D d"), "`D d` is not a dataset's name"),
    "file's name": (
        contract().replace("name: d", "name: ‸e"),
        "the dataset `e` in a file called `d.odcs.yaml`",
    ),
    "relationships of a dataset": (
        contract(dataset="‸relationships: [{from: d.a, to: e.a}]"),
        "nothing enforces this `relationships`",
    ),
    "physical name of a dataset": (
        contract(dataset="‸physicalName: t"),
        "nothing enforces this `physicalName`",
    ),
    "logical type of a dataset": (
        contract(dataset="‸logicalType: array"),
        "nothing enforces this `logicalType`",
    ),
    "3.2 key": (contract(dataset="‸synonyms: [{synonym: x}]"), "`synonyms` came with ODCS v3.2.0"),
}

COLUMNS = {
    "no name": ("- ‸{logicalType: string}", "a column without a name"),
    "bad name": ("- {name: ‸Big-Name, logicalType: string}", "`Big-Name` is not a column's name"),
    "dpipe's name": ("- {name: ‸_dpipe_x, logicalType: string}", "`_dpipe_x` begins with `_dpipe`"),
    "name twice": (
        "- {name: a, logicalType: string}\n- {name: ‸a, logicalType: string}",
        "column `a` is there twice",
    ),
    "no type": ("- ‸{name: a}", "`a` has no `logicalType`"),
    "map": ("- {name: a, logicalType: ‸map}", "dpipe doesn't read the type `map` yet"),
    "no such type": ("- {name: a, logicalType: ‸varchar}", "no type `varchar`"),
    "no such width": (integer("format: ‸i24"), "no integer of the format `i24`"),
    "two widths": (
        "- {name: a, logicalType: integer, physicalType: ‸uint8, logicalTypeOptions: {format: i16}}",
        "`uint8` beside `format: i16`",
    ),
    "single precision": (
        "- {name: a, logicalType: number, logicalTypeOptions: {format: ‸f32}}",
        "no number of the format `f32`",
    ),
    "decimal without digits": (
        "- {name: a, logicalType: number, physicalType: ‸decimal}",
        "`decimal` doesn't say how many digits it has",
    ),
    "decimal too wide": (
        "- {name: a, logicalType: number, physicalType: ‸'numeric(39,2)'}",
        "a decimal of 39 digits",
    ),
    "decimal all fraction": (
        "- {name: a, logicalType: number, physicalType: ‸'decimal(2,3)'}",
        "3 of 2 digits after the point",
    ),
    "exact and floating": (
        "- {name: a, logicalType: number, physicalType: ‸'decimal(4,2)', logicalTypeOptions: {format: f64}}",
        "`decimal(4,2)`, which is exact, beside `format: f64`",
    ),
    "integer with a fraction": (
        "- {name: a, logicalType: integer, physicalType: ‸'decimal(4,2)'}",
        "an integer as `decimal(4,2)`",
    ),
    "decimal limit": (decimal("minimum: ‸one"), "`minimum` is not a number"),
    "decimal limit too long": (
        decimal(f"minimum: ‸'{'9' * 39}'"),
        "`minimum` has more digits than a decimal",
    ),
    "decimal limits between values": (decimal("exclusiveMinimum: 0.01, maximum: ‸0.019"), "no value keeps"),
    "decimal value too fine": (
        "- {name: a, logicalType: number, physicalType: 'decimal(4,2)', quality: "
        "[{metric: invalidValues, arguments: {validValues: [1, ‸0.001]}, mustBe: 0}]}",
        "`0.001` is not a number of the column's type",
    ),
    "decimal in a partition": (
        "- {name: a, logicalType: number, physicalType: 'decimal(4,2)', ‸partitioned: true}",
        "no identity partition of a decimal(4,2)",
    ),
    "misspelt key": (
        "- {name: a, logicalType: string, ‸required_: true}",
        "`required_` is not an ODCS key here",
    ),
    "text for true": (
        "- {name: a, logicalType: string, required: ‸'true'}",
        "`required` should be a valid boolean",
    ),
    "items of a text": (
        "- {name: a, logicalType: string, ‸items: {logicalType: string}}",
        "nothing enforces `items` of a string",
    ),
    "properties of a text": (
        "- {name: a, logicalType: string, ‸properties: [{name: b, logicalType: string}]}",
        "nothing enforces `properties` of a string",
    ),
    "array without items": ("- ‸{name: a, logicalType: array}", "an array without `items`"),
    "object without properties": ("- ‸{name: a, logicalType: object}", "an object without properties"),
    "property twice": (
        nested("- {name: b, logicalType: string}\n- {name: ‸b, logicalType: date}"),
        "property `b` is there twice",
    ),
    "property's name": (nested("- {name: ‸B, logicalType: string}"), "`B` is not a property's name"),
    "property's type": (nested("- {name: b, logicalType: ‸map}"), "dpipe doesn't read the type `map` yet"),
    "property's limits": (
        nested("- {name: b, logicalType: integer, logicalTypeOptions: {minimum: 2, maximum: ‸1}}"),
        "no value keeps these limits",
    ),
    "key in an object": (
        nested("- {name: b, logicalType: string, ‸primaryKey: true}"),
        "`primaryKey` of a part of a column",
    ),
    "rule in an object": (
        nested("- {name: b, logicalType: string, ‸quality: [{metric: nullValues, mustBe: 0}]}"),
        "`quality` of a part of a column",
    ),
    "custom property in an object": (
        nested(
            "- {name: b, logicalType: date, "
            "customProperties: [{property: ‸dpipe.partitionTransform, value: day}]}"
        ),
        "`dpipe.partitionTransform` has no meaning on a part",
    ),
    "required property that is none": (
        nested("- {name: b, logicalType: string}", "required: [‸c]"),
        "no property `c`",
    ),
    "number of properties": (
        nested("- {name: b, logicalType: string}", "‸maxProperties: 1"),
        "nothing enforces `maxProperties` of a object yet",
    ),
    "count of items": (array("maxItems: ‸-1"), "`maxItems` is not a count of items"),
    "counts of items crossed": (array("minItems: 2, maxItems: ‸1"), "`maxItems` is below `minItems`"),
    "unique as text": (array("uniqueItems: ‸'yes'"), "`uniqueItems` is not a boolean"),
    "nested key": (
        "- {name: a, logicalType: array, required: true, ‸primaryKey: true, items: {logicalType: string}}",
        "key column `a` is nested",
    ),
    "nested partition": (
        "- {name: a, logicalType: array, ‸partitioned: true, items: {logicalType: string}}",
        "no identity partition of a list<string>",
    ),
    "reference": (
        "- {name: a, logicalType: string, ‸relationships: [{to: e.a}]}",
        "nothing enforces `relationships`",
    ),
    "encrypted": (
        "- {name: a, logicalType: string, ‸encryptedName: b}",
        "nothing enforces `encryptedName` of a string",
    ),
    "physical name": (
        "- {name: a, logicalType: string, physicalName: ‸b}",
        "a column is stored under its `name`",
    ),
    "string format": (string("format: ‸iban"), "no format `iban` of a string"),
    "multiple of nothing": (integer("multipleOf: ‸0"), "`multipleOf` is not a number above 0"),
    "multiple as text": (integer("multipleOf: ‸'5'"), "`multipleOf` is not a number above 0"),
    "multiple too fine": (decimal("multipleOf: ‸1e-19"), "`multipleOf` has too many digits"),
    "multiple too large": (decimal("multipleOf: ‸100"), "only 0 is a multiple"),
    "date limit": (dated("date", "minimum: ‸01.01.2020"), "`minimum` is no date"),
    "no such day": (dated("date", "minimum: ‸2023-02-29"), "`minimum` is no date"),
    "instant without a zone": (
        dated("timestamp", "timezone: true, minimum: ‸'2020-01-01T00:00:00'"),
        "`minimum` is no timestamp",
    ),
    "wall clock with a zone": (
        dated("timestamp", "minimum: ‸'2020-01-01T00:00:00Z'"),
        "`minimum` is no timestamp_ntz",
    ),
    "time limit": (dated("time", "maximum: ‸'24:00'"), "`maximum` is no time"),
    "times crossed": (dated("time", "minimum: '12:00', exclusiveMaximum: ‸'12:00'"), "no value keeps these"),
    "zone of a time": (dated("time", "‸timezone: true"), "nothing enforces `timezone` of a time yet"),
    "default zone that changes": (
        dated("timestamp", "defaultTimezone: ‸Europe/Berlin"),
        "`Europe/Berlin` is not a zone of one fixed offset",
    ),
    "time with a date": (
        dated("time", "format: ‸'yyyy-MM-dd HH:mm'"),
        "a time of day has no date and no zone",
    ),
    "time in a partition": (
        "- {name: a, logicalType: time, ‸partitioned: true}",
        "no identity partition of a time",
    ),
    "option of another type": (string("‸minimum: 1"), "`minimum` is no option of a string"),
    "misspelt option": (string("‸maxlength: 1"), "`maxlength` is no option of a string"),
    "zone": (
        "- {name: a, logicalType: timestamp, logicalTypeOptions: {timezone: ‸1}}",
        "`timezone` is not a boolean",
    ),
    "limit as text": (integer("minimum: ‸'1'"), "`minimum` is not a number"),
    "limits crossed": (integer("minimum: 2, maximum: ‸1"), "no value keeps these limits"),
    "limits empty": (integer("exclusiveMinimum: 2, maximum: ‸2"), "no value keeps these limits"),
    "limits between integers": (integer("minimum: 0.1, maximum: ‸0.9"), "no value keeps these limits"),
    "limits between neighbours": (integer("exclusiveMinimum: 1, exclusiveMaximum: ‸2"), "no value keeps"),
    "limits of numbers": (
        "- {name: a, logicalType: number, logicalTypeOptions: {minimum: 1, exclusiveMaximum: ‸1}}",
        "no value keeps these limits",
    ),
    "limit outside a narrow type": (integer("format: i8, minimum: ‸500"), "no value keeps these limits"),
    "limit too exact": (integer("minimum: ‸9007199254740993"), "`minimum` is beyond 2^53"),
    "limit outside the type": (
        integer("format: i32, maximum: ‸2147483648"),
        "`maximum` is outside the column's type",
    ),
    "length": (string("minLength: ‸-1"), "`minLength` is not a count of characters"),
    "lengths crossed": (string("minLength: 2, maxLength: ‸1"), "`maxLength` is below `minLength`"),
    "pattern of a number": (string("pattern: ‸5"), "`pattern` is not text"),
    "look-around": (string("pattern: ‸'a(?=b)'"), "look-around, which Rust's `regex` doesn't have"),
    "date with an hour": (
        "- {name: a, logicalType: date, logicalTypeOptions: {format: ‸'yyyy-MM-dd HH:mm'}}",
        "a date has no time of day",
    ),
    "java letters": (
        "- {name: a, logicalType: date, logicalTypeOptions: {format: ‸'EEE yyyy'}}",
        "the letters `EEE` are not read",
    ),
    "key that may be null": (
        "- {name: a, logicalType: string, ‸primaryKey: true}",
        "key column `a` may be null",
    ),
    "key of floats": (
        "- {name: a, logicalType: number, required: true, ‸primaryKey: true}",
        "key column `a` is a floating-point number",
    ),
    "key without position": (
        "- {name: a, logicalType: string, required: true, ‸primaryKey: true}\n"
        "- {name: b, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 2}",
        "`primaryKey` without a position",
    ),
    "position taken": (
        "- {name: a, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}\n"
        "- {name: b, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: ‸1}",
        "position 1, `a` has it too",
    ),
    "position too large": (
        "- {name: a, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: ‸2}",
        "position 2",
    ),
    "position without key": (
        "- {name: a, logicalType: string, primaryKeyPosition: ‸1}",
        "a position without `primaryKey`",
    ),
    "unique object": (
        "- {name: a, logicalType: object, ‸unique: true, properties: [{name: b, logicalType: string}]}",
        "unique column `a` is nested",
    ),
    "partition outside the key": (
        "- {name: a, logicalType: string, required: true, primaryKey: true}\n"
        "- {name: b, logicalType: string, ‸partitioned: true}",
        "partition column `b` is not in the primary key",
    ),
    "partition of a float": (
        "- {name: a, logicalType: number, ‸partitioned: true}",
        "no identity partition of a float64",
    ),
    "partition position without partition": (
        "- {name: a, logicalType: string, partitionKeyPosition: ‸1}",
        "a position without `partitioned`",
    ),
    "year of a string": (
        "- {name: a, logicalType: string, ‸partitioned: true,\n"
        "   customProperties: [{property: dpipe.partitionTransform, value: year}]}",
        "no year partition of a string",
    ),
    "partition named like a column": (
        "- {name: a, logicalType: date, ‸partitioned: true,\n"
        "   customProperties: [{property: dpipe.partitionTransform, value: year}]}\n"
        "- {name: a_year, logicalType: integer}",
        "the partition field `a_year` has a column's name",
    ),
    "transform without partition": (
        "- {name: a, logicalType: date, customProperties: [{property: dpipe.partitionTransform, value: ‸year}]}",
        "`dpipe.partitionTransform` on `a`, which is not partitioned",
    ),
    "formats of a string": (
        "- {name: a, logicalType: string, customProperties: [{property: dpipe.formats, ‸value: ['%Y']}]}",
        "`dpipe.formats` on a string",
    ),
    "format without a date": (
        "- {name: a, logicalType: date, customProperties: [{property: dpipe.formats, value: [‸'%Y']}]}",
        "no whole date",
    ),
    "enum before 3.2": (
        "- {name: a, logicalType: string, ‸enum: [{value: x}]}",
        "`enum` came with ODCS v3.2.0",
    ),
}

QUALITY = {
    "text": (on_column("type: ‸text, description: good"), "nothing enforces a `text` rule yet"),
    "sql": (on_column("type: ‸sql, query: select 1, mustBe: 1"), "nothing enforces a `sql` rule yet"),
    "custom": (
        on_column("type: ‸custom, engine: soda, implementation: x"),
        "nothing enforces a `custom` rule yet",
    ),
    "rule": (
        on_column("‸rule: nullCheck, metric: nullValues, mustBe: 1"),
        "nothing reads `rule` of a library rule",
    ),
    "no metric": (on_column("mustBe: 0").replace("{", "‸{"), "a rule without a `metric`"),
    "unknown metric": (on_column("metric: ‸nulValues, mustBe: 0"), "no metric `nulValues`"),
    "metric of the dataset": (on_column("metric: ‸rowCount, mustBe: 1"), "`rowCount` of a column"),
    "no operator": (on_column("metric: nullValues").replace("{", "‸{"), "a rule that compares with nothing"),
    "two operators": (
        on_column("metric: nullValues, mustBeLessThan: 5, mustBeGreaterThan: 1").replace("{", "‸{"),
        "`mustBeGreaterThan`, `mustBeLessThan` in one rule",
    ),
    "text for a number": (on_column("metric: nullValues, mustBe: ‸many"), "`mustBe` is not a number"),
    "empty range": (on_column("metric: nullValues, ‸mustBeBetween: [5, 1]"), "`mustBeBetween` is empty"),
    "unit": (on_column("metric: nullValues, mustBe: 1, unit: ‸shares"), "no unit `shares`"),
    "percents": (
        on_column("metric: nullValues, mustBeLessThan: ‸150, unit: percent"),
        "a share outside 0 to 100 percent",
    ),
    "severity": (on_column("metric: nullValues, mustBe: 1, severity: ‸fatal"), "no severity `fatal`"),
    "schedule": (on_column("metric: nullValues, mustBe: 1, ‸schedule: daily"), "`schedule` has no effect"),
    "no null at all": (
        on_column("metric: nullValues, mustBe: 0").replace("{", "‸{"),
        "a null refuses the whole batch",
    ),
    "unknown argument": (
        on_column("metric: invalidValues, mustBe: 0, arguments: {validValues: [a], ‸valid: [a]}"),
        "`invalidValues` takes no `valid`",
    ),
    "no argument": (
        on_column("metric: ‸invalidValues, mustBe: 0").replace("‸", "").replace("{", "‸{"),
        "takes one of",
    ),
    "values not in a list": (
        on_column("metric: invalidValues, mustBe: 0, arguments: {validValues: ‸a}"),
        "`validValues` is not a list",
    ),
    "null as a value": (
        on_column("metric: invalidValues, mustBe: 0, arguments: {validValues: [a, ‸null]}"),
        "null as a valid value",
    ),
    "number for a string": (
        on_column("metric: invalidValues, mustBe: 0, arguments: {validValues: [a, ‸1]}"),
        "`1` is not text, and the column is",
    ),
    "string for an integer": (
        on_column("metric: invalidValues, mustBe: 0, arguments: {validValues: [1, ‸b]}", "integer"),
        "`b` is not an integer of the column's type",
    ),
    "value twice": (
        on_column("metric: invalidValues, mustBe: 0, arguments: {validValues: [a, ‸a]}"),
        "`a` is there twice",
    ),
    "values of a float": (
        on_column("metric: invalidValues, mustBe: 0, arguments: {validValues: [‸1.5]}", "number"),
        "a list of values for `float64`",
    ),
    "pattern of an integer": (
        on_column("metric: invalidValues, mustBe: 0, arguments: {pattern: ‸'1'}", "integer"),
        "a pattern for a int64",
    ),
    "pattern as a number": (
        on_column("metric: invalidValues, mustBe: 0, arguments: {pattern: ‸1}"),
        "`pattern` is not text",
    ),
    "bad pattern": (
        on_column("metric: invalidValues, mustBe: 0, arguments: {pattern: ‸'[a'}"),
        "a `[` that is not closed",
    ),
    "two patterns": (
        "- name: a\n  logicalType: string\n  logicalTypeOptions: {pattern: x}\n"
        "  ‸quality: [{metric: invalidValues, mustBe: 0, arguments: {pattern: y}}]",
        "`pattern` of one column twice",
    ),
}

DATASETS = {
    "unique where partitions are overwritten": (
        contract(
            "- {name: a, logicalType: string, ‸unique: true}\n- {name: b, logicalType: date, partitioned: true}",
            dataset=custom("dpipe.writeMode", "overwrite_partition"),
        ),
        "nothing enforces that `a` is unique where partitions are overwritten",
    ),
    "metric of a column": (on_dataset("metric: ‸nullValues, mustBe: 1"), "`nullValues` of a dataset"),
    "rows in percent": (on_dataset("metric: rowCount, mustBe: 1, unit: ‸percent"), "a row count in percent"),
    "no such column": (
        on_dataset("metric: duplicateValues, mustBe: 0, arguments: {properties: [‸b]}"),
        "no column `b`",
    ),
    "column twice": (
        on_dataset("metric: duplicateValues, mustBe: 0, arguments: {properties: [a, ‸a]}"),
        "`a` is there twice",
    ),
    "rules of one name": (
        contract(
            dataset="quality:\n  - {name: x, metric: rowCount, mustBe: 1}\n  - ‸{name: x, metric: rowCount, mustBe: 1}"
        ),
        "two rules are called `x`",
    ),
    "unknown dpipe property": (
        contract(dataset=custom("‸dpipe.nulltokens", "[NA]")),
        "`dpipe.nulltokens` is not a property that dpipe knows",
    ),
    "property of a column": (
        contract(dataset=custom("‸dpipe.formats", "['%Y-%m-%d']")),
        "`dpipe.formats` has no meaning on a dataset",
    ),
    "property of the dataset": (
        contract(column_custom("‸dpipe.nullTokens", "[NA]")),
        "`dpipe.nullTokens` has no meaning on a column",
    ),
    "property of a later version": (
        contract(column_custom("‸dpipe.masked", "b")),
        "`dpipe.masked` is not a property that dpipe knows",
    ),
    "property without a name": (contract(dataset="customProperties: [‸{value: 1}]"), "without a name"),
    "property twice": (
        contract(
            dataset=custom("dpipe.csv.header", "true") + "\n  - {property: ‸dpipe.csv.header, value: true}"
        ),
        "`dpipe.csv.header` is there twice",
    ),
    "quote is the delimiter": (
        contract(dataset=custom("dpipe.csv.delimiter", "‸'\"'")),
        "the CSV delimiter is the quote",
    ),
    "escape is the quote": (
        contract(dataset=custom("dpipe.csv.escape", "‸'\"'")),
        "the CSV quote is the escape",
    ),
    "version of an append": (
        contract(
            "- {name: a, logicalType: string, primaryKey: true, required: true}\n"
            "- {name: v, logicalType: integer, required: true}",
            dataset=custom("dpipe.versionColumn", "‸v"),
        ),
        "a version without an upsert",
    ),
    "version that is no column": (
        versioned("logicalType: integer, required: true", "‸vv"),
        "no column `vv` to be the version",
    ),
    "version that is text": (
        versioned("logicalType: string, required: true", "‸v"),
        "a string as the version",
    ),
    "version that may be null": (versioned("logicalType: integer", "‸v"), "the version `v` may be null"),
    "version in the key": (
        versioned("logicalType: integer, required: true", "‸a").replace(
            "a, logicalType: string", "a, logicalType: integer"
        ),
        "the version `a` is in the primary key",
    ),
    "property inside a rule": (
        on_dataset(
            "metric: rowCount, mustBe: 1, customProperties: [{property: ‸dpipe.severity, value: error}]"
        ),
        "nothing reads `dpipe.severity` here",
    ),
}
BAD_VALUES = {
    "dpipe.nullTokens": "NA",
    "dpipe.unknownFields": "drop",
    "dpipe.csv.delimiter": "'||'",
    "dpipe.csv.quote": "é",
    "dpipe.csv.escape": "ab",
    "dpipe.csv.comment": "''",
    "dpipe.csv.header": "'yes'",
    "dpipe.maxRecordBytes": "1",
    "dpipe.severity": "info",
    "dpipe.partitionTransform": "bucket",
    "dpipe.formats": "'%Y'",
    "dpipe.writeMode": "merge",
    "dpipe.versionColumn": "7",
    "dpipe.renamedFrom": "7",
}

CASES = TOP | {name: (contract(text), said) for name, (text, said) in (COLUMNS | QUALITY).items()} | DATASETS


@pytest.mark.parametrize(("text", "said"), CASES.values(), ids=CASES)
def test_lint_says_what_is_wrong_and_where(tmp_path: Path, text: str, said: str) -> None:
    found = findings(tmp_path, text)
    matching = [finding for finding in found if said in finding.message]
    assert len(matching) == 1, found
    if "‸" in text:
        assert (matching[0].line, matching[0].column) == marked(text)
    assert matching[0].hint
    assert not matching[0].message.endswith(".")


@pytest.mark.parametrize("name", KNOWN)
def test_every_property_of_dpipe_is_checked_for_its_value(tmp_path: Path, name: str) -> None:
    value = f"‸{BAD_VALUES[name]}"
    text = (
        contract(dataset=custom(name, value))
        if "dataset" in KNOWN[name].levels
        else contract(column_custom(name, value, "date"))
    )
    (finding,) = findings(tmp_path, text)
    assert finding.message.startswith(f"`{name}` takes")
    assert (finding.line, finding.column) == marked(text)


@pytest.mark.parametrize("name", ["sla", "roles"])
def test_what_merely_has_no_effect_is_a_warning(tmp_path: Path, name: str) -> None:
    (finding,) = findings(tmp_path, CASES[name][0])
    assert finding.severity == "warning"


def test_a_misspelt_key_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    (finding,) = findings(tmp_path, contract("- {name: a, logicalType: string, required_: true}"))
    assert finding.hint == "did you mean `required`?"


def test_an_unknown_property_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    (finding,) = findings(tmp_path, contract(dataset=custom("dpipe.qqq", "1")))
    assert "`dpipe.nullTokens`" in finding.hint
    assert "`dpipe.maxRecordBytes`" in finding.hint


def test_findings_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = findings(
        tmp_path, contract("- {name: A, logicalType: map}\n- {name: b, logicalType: array}", top="x: 1\n")
    )
    assert [finding.line for finding in found] == sorted(finding.line for finding in found)
    assert len(found) == 4


def test_properties_of_other_tools_are_left_alone(tmp_path: Path) -> None:
    assert findings(tmp_path, contract(dataset=custom("soda.checks", "[1]"))) == []
