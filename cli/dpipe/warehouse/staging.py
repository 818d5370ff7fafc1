"""dbt's side of a contract: its source, a staging view over it, their descriptions and tests, as files of the project.

What is above the marked line of a file is written from the contract, what is below it is the user's, as is a file
without that line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import yaml

from dpipe.contract.comparisons import condition
from dpipe.errors import ConfigError
from dpipe.folders import replace_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dpipe.contract import Column, Contract
    from dpipe.settings import Project

MARK = "dpipe: `dpipe contract apply` writes what is above this line; what is below is yours"
PROVENANCE = {"_dpipe_batch_id": "batch_id", "_dpipe_record_no": "record_number"}
DESCRIBED = {
    "batch_id": "Batch that brought the record.",
    "record_number": "Number of the record in its batch, from 1.",
}
SELECT = """\
with

source as (
    select * from {{{{ source('{source}', '{table}') }}}}
),

renamed as (
    select
{columns}
    from source
)

"""
# Tests that dbt has none of: for a key of several columns, and for a rule over two of them.
KEY_TEST = "unique_together"
COMPARISON_TEST = "holds"
MACROS = {
    KEY_TEST: """\
{% test unique_together(model, columns) %}

select
    {{ columns | join(', ') }},
    count(*) as record_count
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1

{% endtest %}
""",
    COMPARISON_TEST: """\
{% test holds(model, condition) %}

select * from {{ model }}
where not ({{ condition }})

{% endtest %}
""",
}
INTEGERS = frozenset({"int32", "int64"})


@dataclass(frozen=True)
class StagingFile:
    """A file that is written from the contract, or written anew above its marked line."""

    path: str
    action: Literal["write", "update"]


def planned(project: Project, contract: Contract) -> tuple[StagingFile, ...]:
    """The files that `write` would write; none without a dbt project, or when it has a source of the dataset itself."""
    return _told(_changed(project, contract))


def write(project: Project, contract: Contract) -> tuple[StagingFile, ...]:
    """Write the files that differ from what the contract says; which ones."""
    changed = _changed(project, contract)
    found = _told(changed)
    for path, text in changed.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, text)
    return found


def _told(changed: Iterable[Path]) -> tuple[StagingFile, ...]:
    """Files that are to be written, and whether they are there."""
    return tuple(StagingFile(str(path), "update" if path.exists() else "write") for path in changed)


def _changed(project: Project, contract: Contract) -> dict[Path, str]:
    """The files whose content is to change, and what to."""
    name = _dbt_name(project)
    if name is None or _has_own_source(project, contract.dataset):
        return {}
    folder = project.transform / "models" / "staging"
    view = f"stg_{name}__{contract.dataset}"
    files = {
        folder / f"_{name}__{contract.dataset}.yml": _joined(_properties(contract, name, view), "# ", ""),
        folder / f"{view}.sql": _joined(_select(contract, name), "-- ", "\nselect * from renamed\n"),
    }
    macros = _macros(project)
    for test in dict.fromkeys(name for one in _tests(contract, view) for name in one):
        if not _has_test(project, macros, test):
            files[macros / f"{test}.sql"] = MACROS[test]
    found = {}
    for path, new in files.items():
        before = path.read_text(encoding="utf-8") if path.exists() else None
        if before is None:
            found[path] = new
        elif MARK in before:
            kept = new.partition(MARK)[0] + MARK + before.partition(MARK)[2]
            found |= {path: kept} if kept != before else {}
    return found


def _joined(generated: str, comment: str, below: str) -> str:
    return f"{generated}{comment}{MARK}\n{below}"


def _dbt_name(project: Project) -> str | None:
    """The dbt project's name, which its source is called by; None without one."""
    path = project.transform / "dbt_project.yml"
    if not path.is_file():
        return None
    try:
        return str(yaml.safe_load(path.read_text(encoding="utf-8"))["name"])
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigError(f"`{path}` names no project: {error}", hint="give it a `name`") from error


def _macros(project: Project) -> Path:
    """The folder of the dbt project's macros, which it has read to have a name."""
    document = yaml.safe_load((project.transform / "dbt_project.yml").read_text(encoding="utf-8"))
    return project.transform / str((document.get("macro-paths") or ["macros"])[0])


def _has_test(project: Project, macros: Path, test: str) -> bool:
    """Whether the test is there, wherever in the project one may be defined."""
    defined = re.compile(rf"{{%-?\s*test\s+{test}\b")
    folders = (macros, project.transform / "tests")
    return any(
        defined.search(path.read_text(encoding="utf-8"))
        for folder in folders
        for path in folder.rglob("*.sql")
    )


def _has_own_source(project: Project, dataset: str) -> bool:
    """Whether a file of the dbt project that isn't written here has a source table of the dataset's name."""
    for path in sorted((project.transform / "models").rglob("*.y*ml")):
        text = path.read_text(encoding="utf-8")
        if MARK in text or "sources" not in text:
            continue
        try:
            sources = (yaml.safe_load(text) or {}).get("sources") or ()
        except (yaml.YAMLError, AttributeError):  # dbt says what is wrong with it
            continue
        if any(_is_of(table, dataset) for source in sources for table in source.get("tables") or ()):
            return True
    return False


def _is_of(table: dict[str, Any], dataset: str) -> bool:
    return dataset in {table.get("name"), table.get("identifier")}


def _properties(contract: Contract, name: str, view: str) -> str:
    described = _text(contract.description) or f"Accepted records of `{contract.dataset}`."
    columns = [_column(contract, column) for column in contract.plan.columns]
    provenance = _provenance(contract)
    columns += [
        {"name": new, "description": DESCRIBED[new]} for new in provenance.values() if new in DESCRIBED
    ]
    tests = _tests(contract, view)
    data_tests = {"data_tests": tests} if tests else {}
    document = {
        "version": 2,
        "sources": [
            {
                "name": name,
                "database": "{{ var('lake_database', 'lake') }}",
                "schema": "raw",
                "tables": [{"name": contract.dataset, "description": described}],
            }
        ],
        "models": [{"name": view, "description": described, **data_tests, "columns": columns}],
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


def _tests(contract: Contract, view: str) -> list[dict[str, Any]]:
    """Tests of several columns; a key of one has dbt's own test, at the column."""
    plan = contract.plan
    tests: list[dict[str, Any]] = []
    if len(plan.key) > 1:
        tests.append({KEY_TEST: {"arguments": {"columns": [_in_argument(name) for name in plan.key]}}})
    columns = {column.name: column for column in plan.columns}
    for rule in plan.comparisons:
        # dbt's own names of tests have no operators, so that those of two rules would be one.
        arguments = {"condition": condition(rule, columns, _in_argument)}
        tests.append({COMPARISON_TEST: {"name": f"{view}_{rule.in_words}", "arguments": arguments}})
    return tests


def _in_argument(name: str) -> str:
    """A column's name as SQL in an argument of a test, which is no template."""
    return f'"{name}"' if name in _reserved() else name


def _column(contract: Contract, column: Column) -> dict[str, Any]:
    tests: list[Any] = []
    if contract.plan.key == (column.name,) or column.name in contract.plan.unique:
        tests.append("unique")
    if column.required:
        tests.append("not_null")
    for rule in column.rules:
        if rule.rule == "enum" and isinstance(rule.value, tuple):
            values: list[Any] = [int(value) if column.kind in INTEGERS else value for value in rule.value]
            quote = {"quote": False} if column.kind in INTEGERS else {}
            tests.append({"accepted_values": {"arguments": {"values": values, **quote}}})
    described = {"description": _text(column.description)} if column.description else {}
    quoted = {"quote": True} if column.name in _reserved() else {}
    return {"name": column.name, **quoted, **described, **({"data_tests": tests} if tests else {})}


def _select(contract: Contract, name: str) -> str:
    columns = [_quoted(column.name) for column in contract.plan.columns]
    columns += [old if old == new else f"{old} as {new}" for old, new in _provenance(contract).items()]
    listed = ",\n".join(f"        {column}" for column in columns)
    return SELECT.format(source=name, table=contract.dataset, columns=listed)


def _provenance(contract: Contract) -> dict[str, str]:
    """What the provenance columns are called; as in the table where the contract has a column of that name."""
    own = {column.name for column in contract.plan.columns}
    return {old: old if new in own else new for old, new in PROVENANCE.items()}


def _quoted(name: str) -> str:
    """A column's name as SQL has it; quoted by dbt's adapter where it is a word of the language."""
    return f"{{{{ adapter.quote('{name}') }}}}" if name in _reserved() else name


@cache
def _reserved() -> frozenset[str]:
    query = "select keyword_name from duckdb_keywords() where keyword_category = 'reserved'"
    with duckdb.connect() as connection:
        return frozenset(name for (name,) in connection.execute(query).fetchall())


def _text(description: str) -> str:
    """A description that dbt doesn't take for a template."""
    for opening in ("{{", "{%", "{#"):
        description = description.replace(opening, f"{{ {opening[1]}")
    return description
