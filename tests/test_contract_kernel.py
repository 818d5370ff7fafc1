"""What lint takes, the kernel carries out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from contract_texts import CONTRACTS, contract, write
from dpipe._kernel import process
from dpipe.contract import load_contract
from test_contract_patterns import TAKEN

if TYPE_CHECKING:
    from pathlib import Path


def run(folder: Path, plan: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """The kernel's counts of some records."""
    path = folder / "records.ndjson"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    source = {"batch_id": "b", "path": str(path), "format": "ndjson", "compression": "none"}
    (folder / "data").mkdir()
    (folder / "quarantine").mkdir()
    result = process(plan, [source], data_dir=str(folder / "data"), quarantine_dir=str(folder / "quarantine"))
    (batch,) = result["batches"]
    return dict(batch)


@pytest.mark.parametrize("path", sorted(CONTRACTS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_kernel_takes_the_plan(tmp_path: Path, path: Path) -> None:
    assert run(tmp_path, load_contract(path).plan.to_json(), [{}])["rejected"] == 1


def test_the_kernel_compiles_every_pattern_that_lint_takes(tmp_path: Path) -> None:
    items = "\n".join(
        f"- {{name: p{number}, logicalType: string, logicalTypeOptions: {{pattern: {json.dumps(pattern)}}}}}"
        for number, pattern in enumerate(TAKEN)
    )
    plan = load_contract(write(tmp_path, contract(items))).plan
    assert run(tmp_path, plan.to_json(), [{}])["accepted"] == 1


@pytest.mark.parametrize(
    ("logical", "form", "text"),
    [
        ("date", "%d.%m.%y", "31.12.13"),
        ("date", "%d %b %Y", "31 Dec 2013"),
        ("date", "%B %d, %Y", "December 31, 2013"),
        ("timestamp", "%Y-%m-%d %H:%M", "2013-12-31 23:59"),
        ("timestamp", "%m/%d/%Y %I:%M %p", "12/31/2013 11:59 PM"),
        ("timestamp", "%Y%m%dT%H%M%S%.f", "20131231T235959.125"),
        ("timestamptz", "%Y-%m-%dT%H:%M:%S%#z", "2013-12-31T23:59:59Z"),
        ("timestamptz", "%Y-%m-%dT%H:%M:%S%#z", "2013-12-31T23:59:59-05:00"),
        ("timestamptz", "%Y-%m-%dT%H:%M:%S%z", "2013-12-31T23:59:59-0500"),
    ],
)
def test_the_kernel_reads_every_format_that_lint_takes(
    tmp_path: Path, logical: str, form: str, text: str
) -> None:
    zone = "\n  logicalTypeOptions: {timezone: true}" if logical == "timestamptz" else ""
    column = (
        f"- name: a\n  logicalType: {logical.removesuffix('tz')}{zone}\n"
        f"  customProperties: [{{property: dpipe.formats, value: ['{form}']}}]"
    )
    plan = load_contract(write(tmp_path, contract(column))).plan
    counts = run(tmp_path, plan.to_json(), [{"a": text}, {"a": "31"}])
    assert (counts["accepted"], counts["rejected"]) == (1, 1)
