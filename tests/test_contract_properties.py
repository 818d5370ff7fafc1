"""A contract that is made from columns compiles back to them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from contract_texts import write
from dpipe.contract import load_contract
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
TYPES: dict[str, tuple[str, dict[str, Any]]] = {
    "int32": ("integer", {"format": "i32"}),
    "int64": ("integer", {}),
    "float64": ("number", {}),
    "decimal(9,2)": ("number", {}),
    "string": ("string", {}),
    "boolean": ("boolean", {}),
    "date": ("date", {}),
    "timestamp": ("timestamp", {"timezone": True}),
    "timestamp_ntz": ("timestamp", {}),
}


@st.composite
def columns(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """An ODCS property, and the plan's column that it must become."""
    kind = draw(st.sampled_from(sorted(TYPES)))
    logical, options = TYPES[kind]
    given: dict[str, Any] = {}
    if kind in {"int32", "int64"}:
        low, high = sorted(
            draw(st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1)))
        )
        given = draw(st.sampled_from([{}, {"minimum": low}, {"minimum": low, "maximum": high}]))
    elif kind == "float64":
        given = draw(st.sampled_from([{}, {"exclusiveMinimum": 0.5, "maximum": 1e300}]))
    elif kind == "string":
        low, high = sorted(draw(st.tuples(st.integers(0, 100), st.integers(0, 100))))
        given = draw(st.sampled_from([{}, {"minLength": low, "maxLength": high}, {"pattern": "^[A-Zé ]+$"}]))
    required = draw(st.booleans())
    physical = {"physicalType": kind} if kind.startswith("decimal") else {}
    definition = {"name": draw(NAMES), "logicalType": logical, "required": required} | physical
    if options | given:
        definition["logicalTypeOptions"] = options | given
    compiled = {
        "name": definition["name"],
        "type": kind,
        "required": required,
        "rules": [{"rule": name, "value": value} for name, value in given.items()],
        "formats": [],
    }
    return definition, compiled


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(
    st.lists(columns(), min_size=1, max_size=6, unique_by=lambda pair: pair[0]["name"]),
    st.lists(st.text(max_size=5), max_size=3, unique=True),
    st.data(),
)
def test_generated_contracts_round_trip(
    tmp_path: Path,
    made: list[tuple[dict[str, Any], dict[str, Any]]],
    null_tokens: list[str],
    data: st.DataObject,
) -> None:
    able = [
        definition
        for definition, compiled in made
        if definition["required"] and compiled["type"] != "float64"
    ]
    key = data.draw(st.permutations(able).map(lambda chosen: chosen[: data.draw(st.integers(0, len(able)))]))
    for position, definition in enumerate(key, start=1):
        definition |= {"primaryKey": True, "primaryKeyPosition": position}
    document = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "d",
        "version": "1.0.0",
        "status": "active",
        "schema": [
            {
                "name": "d",
                "customProperties": [{"property": "dpipe.nullTokens", "value": null_tokens}],
                "properties": [definition for definition, _ in made],
            }
        ],
    }
    # JSON is YAML, so the file needs no YAML writer.
    contract = load_contract(write(tmp_path, json.dumps(document)))
    plan = json.loads(contract.plan.to_json())
    assert plan["columns"] == [
        compiled | {"field_id": number} for number, (_, compiled) in enumerate(made, start=1)
    ]
    assert plan["key"] == [definition["name"] for definition in key]
    assert plan["csv"]["null_tokens"] == null_tokens
    assert contract.document.model_dump(by_alias=True, exclude_none=True) == document
