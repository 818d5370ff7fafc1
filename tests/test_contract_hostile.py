"""Whatever a contract's file holds, lint answers with findings, never with a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from contract_texts import HEAD, contract, findings, write
from dpipe.contract import load_contract
from dpipe.contract.source import MAX_BYTES, MAX_DEPTH, MAX_NODES
from dpipe.errors import ConfigError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + number)}: &{chr(98 + number)} [*{chr(97 + number)}, *{chr(97 + number)}]\n"
    for number in range(20)
)

HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "the file holds no contract"),
    "only a comment": ("# nothing\n", "the file holds no contract"),
    "null": ("~\n", "a contract is a mapping"),
    "a list": ("- a\n- b\n", "a contract is a mapping"),
    "a word": ("contract\n", "a contract is a mapping"),
    "not YAML": ("schema: [\n", "not YAML"),
    "tab": ("a:\n\t- b\n", "not YAML"),
    "two documents": ("---\na: 1\n---\nb: 2\n", "not YAML"),
    "bytes": (b"\xff\xfe\x00", "not UTF-8 text"),
    "control characters": (b"a: \x00\x01\n", "not YAML"),
    "repeated key": ("version: '1'\nversion: '2'\n", "`version` is there twice, first on line 1"),
    "anchor bomb": (BOMB, "alias `*a`"),
    "merge key": ("<<: {a: 1}\n", "a key that is not a word"),
    "number as a key": ("1: a\n", "a key that is not a word"),
    "list as a key": ("? [a]\n: b\n", "a key that is not a word"),
    "python object": ("!!python/object/apply:os.system [true]\n", "a contract is a mapping"),
    "tag on a value": ("a: !!python/name:os.system x\n", "tag `tag:yaml.org,2002:python/name:os.system`"),
    "tag on a mapping": ("!!set {a}\n", "tag `tag:yaml.org,2002:set`"),
    "deep nesting": ("a: " + "[" * 5_000 + "]" * 5_000, f"nested deeper than {MAX_DEPTH} levels"),
    "huge": (b"#" * (MAX_BYTES + 1), "larger than 1,048,576 bytes"),
    "many values": ("a: [" + "1," * (MAX_NODES + 1) + "]", f"more than {MAX_NODES:,} values"),
    "octal": ("version: 0o17\n", "`0o17` reads differently elsewhere"),
    "leading zero": ("version: 007\n", "`007` reads differently elsewhere"),
    "not a number": ("version: .nan\n", "`.nan` reads differently elsewhere"),
    "infinite": ("version: 1e999\n", "`1e999` reads differently elsewhere"),
    "endless digits": (f"version: {'9' * 5_000}\n", "reads differently elsewhere"),
    "half a character": ('version: "\\ud800"\n', "half of a surrogate pair"),
    "schema is a word": (HEAD + "schema: flights\n", "`schema` should be a valid list"),
    "column is a word": (contract("- a"), "`0` should be"),
    "everything null": ("".join(f"{line.split(':')[0]}:\n" for line in HEAD.splitlines()), "`id` is missing"),
}


@pytest.mark.parametrize(("text", "said"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_gives_a_finding(tmp_path: Path, text: str | bytes, said: str) -> None:
    found = findings(tmp_path, text)
    assert any(said in finding.message for finding in found), found


@pytest.mark.parametrize("text", [text for text, _ in HOSTILE.values()], ids=HOSTILE)
def test_a_hostile_file_does_not_load(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(ConfigError, match=r"d\.odcs\.yaml:\d+:\d+: "):
        load_contract(write(tmp_path, text))


def test_a_missing_file_is_a_finding(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        load_contract(tmp_path / "none.odcs.yaml")


def test_a_folder_is_a_finding(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        load_contract(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200))
@example("\x85: 1")
@example("%YAML 9.9\n---\na: 1\n")
@example("%TAG ! x\n---\n!a b: 1\n")
@example("a: 2013-13-45\n")
@example("a: _\n")
def test_any_bytes_give_findings(tmp_path: Path, content: bytes | str) -> None:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    assert findings(tmp_path, data)


YAML_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PLACES = (
    "schema", "status", "slaProperties", "customProperties", "team", "roles",
    "name", "properties", "quality", "relationships",
    "logicalType", "logicalTypeOptions", "required", "unique", "primaryKey", "primaryKeyPosition", "partitioned",
    "partitionKeyPosition", "enum", "items", "format", "minimum", "maxLength", "pattern", "timezone",
    "metric", "mustBe", "mustBeBetween", "arguments", "validValues", "unit", "severity", "type",
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(st.sampled_from(PLACES), YAML_VALUES)
def test_any_value_at_any_key_gives_findings_or_a_plan(tmp_path: Path, key: str, value: object) -> None:
    import json

    document = json.loads(json.dumps(DOCUMENT))
    _replace(document, key, value)
    findings(tmp_path, json.dumps(document))


DOCUMENT = {
    "apiVersion": "v3.2.0", "kind": "DataContract", "id": "d", "version": "1", "status": "active",
    "slaProperties": [], "customProperties": [], "team": {}, "roles": [],
    "schema": [{
        "name": "d", "relationships": None,
        "quality": [{"metric": "rowCount", "mustBeBetween": [1, 2]}],
        "properties": [
            {"name": "a", "logicalType": "string", "required": True, "unique": False, "primaryKey": True,
             "primaryKeyPosition": 1, "partitioned": True, "partitionKeyPosition": 1, "items": None,
             "enum": [{"value": "x"}], "logicalTypeOptions": {"maxLength": 3, "pattern": "x"},
             "quality": [{"metric": "invalidValues", "arguments": {"validValues": ["x"]}, "mustBe": 5,
                          "unit": "percent", "severity": "warning", "type": "library"}]},
            {"name": "b", "logicalType": "integer", "logicalTypeOptions": {"minimum": 1, "format": "i32"}},
            {"name": "c", "logicalType": "timestamp", "logicalTypeOptions": {"timezone": True, "format": "yyyy"}},
        ],
    }],
}  # fmt: skip


def _replace(part: object, key: str, value: object) -> None:
    """Put the value at every place that has the key."""
    if isinstance(part, dict):
        for name in part:
            if name == key:
                part[name] = value
            else:
                _replace(part[name], key, value)
    elif isinstance(part, list):
        for item in part:
            _replace(item, key, value)
