"""One in a hundred of the real flights spoilt: just those are in quarantine, with place and reasons."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dpipe.iceberg import open_catalog
from dpipe.settings import Project, load_project
from faults import Faulty, Injected, write_csv, write_ndjson
from support import run_dpipe

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module", params=[write_ndjson, write_csv], ids=["ndjson", "csv"])
def spoilt(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Injected, Project, dict[str, Any]]:
    """The spoilt file, the project that processed it, and what `dpipe process` said."""
    folder = tmp_path_factory.mktemp("spoilt")
    shutil.copytree(ROOT / "configs", folder / "configs")
    write: Callable[[Path], Injected] = request.param
    injected = write(folder / "flights")
    project = load_project(folder)
    ingested = run_dpipe(project, "ingest", "flights", str(injected.path))
    assert ingested.returncode == 0, ingested.stderr
    processed = run_dpipe(project, "process", "flights", "--json")
    assert processed.returncode == 0, processed.stderr
    return injected, project, json.loads(processed.stdout)["datasets"][0]


def table(project: Project, namespace: str) -> pa.Table:
    return open_catalog(project).load_table((namespace, "flights")).scan().to_arrow()


def test_every_record_is_counted_once(spoilt: tuple[Injected, Project, dict[str, Any]]) -> None:
    injected, _, counts = spoilt
    of = [faulty.disposition for faulty in injected.faulty.values()]
    assert counts["records_in"] == len(injected.good) + len(injected.faulty)
    assert counts["accepted"] == len(injected.good)
    assert counts["rejected"] == of.count("rejected")
    assert counts["duplicate"] == of.count("duplicate")


def test_each_fault_and_nothing_else_is_in_quarantine(
    spoilt: tuple[Injected, Project, dict[str, Any]],
) -> None:
    injected, project, _ = spoilt
    found = {}
    for row in table(project, "quarantine").to_pylist():
        reasons = frozenset((broken["column"], broken["rule"]) for broken in row["violations"])
        assert row["byte_length"] == len(row["raw"])
        found[row["_dpipe_record_no"]] = Faulty(
            record_no=row["_dpipe_record_no"],
            line=row["line"],
            byte_offset=row["byte_offset"],
            raw=row["raw"],
            disposition=row["disposition"],
            reasons=reasons,
            duplicate_kind=row["duplicate_kind"],
            winner_record_no=row["winner_record_no"],
        )
    assert found == injected.faulty


def test_every_other_record_is_a_row_with_its_values(
    spoilt: tuple[Injected, Project, dict[str, Any]],
) -> None:
    injected, project, _ = spoilt
    rows = table(project, "raw")
    names = [name for name in rows.column_names if not name.startswith("_dpipe")]
    columns = [rows.column(name).to_pylist() for name in names]
    found = dict(zip(rows.column("_dpipe_record_no").to_pylist(), zip(*columns, strict=True), strict=True))
    expected = {
        number: tuple(
            datetime.fromisoformat(record[name]) if name == "time_hour" else record[name] for name in names
        )
        for number, record in injected.good.items()
    }
    assert found == expected
