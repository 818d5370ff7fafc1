"""What users do to projects and files that their authors didn't think of."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from dpipe.iceberg import ledger, open_catalog
from dpipe.settings import load_project
from support import make_project, run_dpipe

if TYPE_CHECKING:
    from pathlib import Path

AWKWARD = """\
apiVersion: v3.1.0
kind: DataContract
id: moments
name: moments
version: 1.0.0
status: active
schema:
  - name: moments
    physicalType: table
    description: One row per moment
    properties:
      - {name: at, logicalType: integer, required: true, primaryKey: true, primaryKeyPosition: 1, description: When}
      - {name: pivot, logicalType: string, logicalTypeOptions: {maxLength: 3}, description: Around what}
      - {name: select, logicalType: number, logicalTypeOptions: {minimum: 0}, description: How much}
"""


def test_columns_may_be_named_by_words_that_sql_keeps_to_itself(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"moments": AWKWARD})
    (tmp_path / "moments.csv").write_text("at,pivot,select\n1,a,2\n2,b,3\n")
    for command in (("ingest", "moments", str(tmp_path / "moments.csv")), ("process",), ("validate",)):
        done = run_dpipe(project, *command)
        assert done.returncode == 0, done.stderr


def test_a_renamed_project_keeps_its_tables(tmp_path: Path) -> None:
    project = make_project(tmp_path, settings={"name": "before"})
    (tmp_path / "orders.csv").write_text("order_id,day,amount\n1,2026-01-01,2\n")
    assert run_dpipe(project, "ingest", "orders", str(tmp_path / "orders.csv")).returncode == 0
    assert run_dpipe(project, "process").returncode == 0
    config = tmp_path / "configs" / "dpipe.yaml"
    config.write_text(config.read_text().replace("before", "after"))
    assert len(ledger.batch_ids(open_catalog(load_project(tmp_path)), "orders")) == 1


def test_a_file_that_breaks_off_is_warned_of(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    rows = "".join(f"{number},2026-01-01,{number}\n" for number in range(5_000))
    whole = gzip.compress(f"order_id,day,amount\n{rows}".encode())
    (tmp_path / "orders.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert run_dpipe(project, "ingest", "orders", str(tmp_path / "orders.csv.gz")).returncode == 0
    done = run_dpipe(project, "process")
    assert done.returncode == 0
    assert "breaks off" in done.stderr
