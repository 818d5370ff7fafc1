"""Whether a document has the shape that the Open Data Contract Standard gives it."""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from open_data_contract_standard.model import OpenDataContractStandard, Server
from pydantic import BaseModel, ValidationError

from dpipe.contract.findings import did_you_mean, listed

if TYPE_CHECKING:
    from dpipe.contract.findings import Report
    from dpipe.contract.source import DocumentPath, Source

API_VERSIONS = ("v3.1.0", "v3.2.0")
REQUIRED_KEYS = ("apiVersion", "kind", "id", "version", "status", "schema")

# Keys that came with 3.2.0, by model; the package's model is that of the newest version.
_SINCE_3_2 = {
    "OpenDataContractStandard": {"context"},
    "SchemaObject": {"context", "deprecated", "synonyms"},
    "SchemaProperty": {"deprecated", "enum", "map", "semanticType", "synonyms"},
    "CustomProperty": {"vendor"},
    "ServiceLevelAgreementProperty": {"authoritativeDefinitions", "customProperties"},
    "Relationship": {"id"},
}


def parse(report: Report) -> OpenDataContractStandard | None:
    """The document as ODCS's model; `None`, with findings, when it doesn't have the model's types."""
    document = report.source.document
    _header(report, document)
    _keys(report, OpenDataContractStandard, document, ())
    try:
        known = {field.alias or name for name, field in OpenDataContractStandard.model_fields.items()}
        # Unknown keys at the top were reported above; the model would only say so again.
        return OpenDataContractStandard.model_validate(
            {key: value for key, value in document.items() if key in known}, strict=True
        )
    except ValidationError as error:
        _types(report, error)
        return None


def _header(report: Report, document: dict[str, Any]) -> None:
    for key in REQUIRED_KEYS:
        if document.get(key) is None:
            report.error((key,), f"`{key}` is missing", f"add `{key}:`; ODCS requires it")
    if document.get("apiVersion") is not None and document["apiVersion"] not in API_VERSIONS:
        report.error(
            ("apiVersion",),
            f"ODCS `{document['apiVersion']}` is not a version that dpipe reads",
            f"write one of {listed(API_VERSIONS)}",
        )
    if document.get("kind") is not None and document["kind"] != "DataContract":
        report.error(("kind",), f"kind `{document['kind']}` is not a contract", "write `kind: DataContract`")


def _keys(report: Report, annotation: Any, value: Any, at: DocumentPath) -> None:  # noqa: ANN401 - any type
    """Report keys that this place's model doesn't have; the package's own check stops at the top."""
    origin = get_origin(annotation)
    if origin in {Union, UnionType}:
        for option in get_args(annotation):
            _keys(report, option, value, at)
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            _keys(report, get_args(annotation)[0], item, (*at, index))
    elif annotation is Server:
        return  # each kind of server has keys of its own, which the model doesn't list
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel) and isinstance(value, dict):
        fields = {field.alias or name: field.annotation for name, field in annotation.model_fields.items()}
        newer = _SINCE_3_2.get(annotation.__name__, set()) if _is_3_1(report.source) else set()
        for key, item in value.items():
            if key not in fields:
                report.error(
                    (*at, key), f"`{key}` is not an ODCS key here", did_you_mean(key, fields), key=True
                )
            elif key in newer:
                report.error((*at, key), f"`{key}` came with ODCS v3.2.0", _newer_hint(key), key=True)
            else:
                _keys(report, fields[key], item, (*at, key))


def _is_3_1(source: Source) -> bool:
    return bool(source.document.get("apiVersion") == "v3.1.0")


def _newer_hint(key: str) -> str:
    if key == "enum":
        return (
            "write `apiVersion: v3.2.0`, or the rule `{metric: invalidValues, arguments: {validValues: […]}, "
            "mustBe: 0}` under `quality`"
        )
    return "write `apiVersion: v3.2.0`, or leave it out"


def _types(report: Report, error: ValidationError) -> None:
    """One finding a place: a union's members each complain, and only the place is of use."""
    said: dict[DocumentPath, list[str]] = {}
    for item in error.errors():
        at: DocumentPath = ()
        for part in item["loc"]:
            if (*at, part) in report.source.values:
                at = (*at, part)
        message = item["msg"].removeprefix("Input should be ")
        if message not in said.setdefault(at, []):
            said[at].append(message)
    for at, messages in said.items():
        name = str(at[-1]) if at else "the contract"
        hint = (
            "quote it" if any("string" in message for message in messages) else "write a value of that type"
        )
        report.error(at, f"`{name}` should be {' or '.join(messages)}", hint)
