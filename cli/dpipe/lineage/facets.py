"""Facets of OpenLineage events, each with the version of the schema that it follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dpipe import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dpipe.lineage.graph import Column

SPEC = "https://openlineage.io/spec"
EVENT = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
PRODUCER = f"urn:dpipe:{__version__}"
VERSIONS = {
    "CatalogDatasetFacet": "1-1-0",
    "ColumnLineageDatasetFacet": "1-2-0",
    "DataQualityAssertionsDatasetFacet": "1-1-0",
    "DataQualityMetricsDatasetFacet": "1-0-0",
    "DatasetVersionDatasetFacet": "1-0-1",
    "DatasourceDatasetFacet": "1-0-1",
    "DocumentationDatasetFacet": "1-1-0",
    "DocumentationJobFacet": "1-1-0",
    "ErrorMessageRunFacet": "1-0-1",
    "InputStatisticsInputDatasetFacet": "1-0-0",
    "JobDependenciesRunFacet": "1-0-1",
    "JobTypeJobFacet": "2-0-4",
    "OutputStatisticsOutputDatasetFacet": "1-0-2",
    "ParentRunFacet": "1-2-0",
    "ProcessingEngineRunFacet": "1-1-1",
    "SQLJobFacet": "1-1-0",
    "SchemaDatasetFacet": "1-2-0",
    "StorageDatasetFacet": "1-0-1",
    "SymlinksDatasetFacet": "1-0-1",
}
# dpipe's own: its schema is `dpipe_run.json` beside this module.
OWN = "urn:dpipe:facets:1-0-0:dpipe_run.json#/$defs/DpipeRunFacet"

Facet = dict[str, Any]


def facet(kind: str, **content: object) -> Facet:
    """A facet of the specification; what is None is left out."""
    known = {name: value for name, value in content.items() if value is not None}
    return {
        "_producer": PRODUCER,
        "_schemaURL": f"{SPEC}/facets/{VERSIONS[kind]}/{kind}.json#/$defs/{kind}",
        **known,
    }


def own(**content: object) -> Facet:
    """dpipe's facet of a run: its id of the run, its command, its batches."""
    known = {name: value for name, value in content.items() if value is not None}
    return {"_producer": PRODUCER, "_schemaURL": OWN, **known}


def schema(columns: Iterable[Column]) -> Facet:
    """Columns with their types, what is in nested ones below them."""
    return facet("SchemaDatasetFacet", fields=_fields(columns))


def _fields(columns: Iterable[Column]) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            **({"type": column.type} if column.type else {}),
            **({"description": column.description} if column.description else {}),
            "ordinal_position": number,
            **({"fields": _fields(column.fields)} if column.fields else {}),
        }
        for number, column in enumerate(columns, start=1)
    ]


def metrics(profile: Sequence[Mapping[str, Any]]) -> Facet | None:
    """What the accepted values of a run are like, by the kernel's profile; limits and quantiles are of numbers only."""
    if not profile:
        return None
    return facet(
        "DataQualityMetricsDatasetFacet",
        rowCount=profile[0]["rows"],
        columnMetrics={column["column"]: _metrics(column) for column in profile},
    )


def _metrics(column: Mapping[str, Any]) -> dict[str, Any]:
    quantiles = {
        f"{int(name[1:]) / 100:g}": value
        for name, value in column.get("quantiles", {}).items()
        if _is_number(value)
    }
    distinct = column.get("distinct")
    known = {
        "nullCount": column["nulls"],
        "count": column["rows"] - column["nulls"],
        "distinctCount": None if distinct is None else round(distinct),
        "min": column.get("min") if _is_number(column.get("min")) else None,
        "max": column.get("max") if _is_number(column.get("max")) else None,
        "quantiles": quantiles or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def assertions(checks: Iterable[Mapping[str, Any]]) -> Facet:
    """Results of checks."""
    return facet(
        "DataQualityAssertionsDatasetFacet",
        assertions=[
            {
                "assertion": check["rule"],
                "success": check["success"],
                "severity": "error" if check["severity"] == "error" else "warn",
                **{
                    name: value
                    for name, value in (
                        ("column", check["column_name"]),
                        ("description", check["detail"]),
                        ("actual", check["observed"]),
                    )
                    if value is not None
                },
            }
            for check in checks
        ],
    )


def statistics(rows: int | None, size: int | None = None, files: int | None = None) -> Facet:
    """How much a run wrote to a dataset."""
    return facet("OutputStatisticsOutputDatasetFacet", rowCount=rows, size=size, fileCount=files)


def read_statistics(rows: int | None, size: int | None = None, files: int | None = None) -> Facet:
    """How much a run read of a dataset."""
    return facet("InputStatisticsInputDatasetFacet", rowCount=rows, size=size, fileCount=files)
