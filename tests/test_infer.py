"""A drafted contract takes every record of the file that it was drafted from."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import dpipe
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dpipe.contract import Contract
from dpipe.errors import UsageError
from dpipe.library.infer import infer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import make_project, run_dpipe

CHECKOUT = Path(__file__).parent.parent


def kinds(text: str) -> dict[str, str]:
    return {column.name: column.type_name for column in Contract.from_text(text).plan.columns}


def drafted(path: Path) -> Contract:
    draft = infer(path, "things")
    assert draft.records == draft.accepted > 0
    contract = Contract.from_text(draft.text)
    assert dpipe.process(path, contract).accepted_count == draft.records
    return contract


@pytest.mark.parametrize("name", ["airlines", "airports", "planes", "weather"])
def test_the_samples_files_are_taken_whole(name: str) -> None:
    contract = drafted(CHECKOUT / f"cli/dpipe/sample/data/{name}.csv")
    assert contract.plan.csv.null_tokens in {("",), ("", "NA")}


def test_types_dialect_and_what_is_never_missing_are_found(tmp_path: Path) -> None:
    path = tmp_path / "things.csv"
    path.write_text(
        "id;day;price;note;paid;seen\n"
        '1;2013-01-01;1.5;"a;b";true;2013-01-01T10:00:00Z\n'
        "2;2013-01-02;NA;c;false;2013-01-01T11:00:00Z\n"
    )
    contract = drafted(path)
    assert contract.plan.csv.delimiter == ";"
    assert contract.plan.csv.null_tokens == ("", "NA")
    assert {column.name: (column.kind, column.required) for column in contract.plan.columns} == {
        "id": ("int64", True),
        "day": ("date", True),
        "price": ("float64", False),
        "note": ("string", True),
        "paid": ("boolean", True),
        "seen": ("timestamp", True),
    }


def test_nested_records_and_decimals_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "things.ndjson.gz"
    records = [{"id": 1, "items": [{"sku": "a", "count": 2}]}, {"id": 2, "items": []}]
    path.write_bytes(gzip.compress("".join(json.dumps(record) + "\n" for record in records).encode()))
    assert {column.name: column.kind for column in drafted(path).plan.columns} == {
        "id": "int64",
        "items": "list",
    }
    table = pa.table(
        {"price": pa.array([None, 1], pa.decimal128(9, 2)), "at": pa.array([1, 2], pa.timestamp("us", "UTC"))}
    )
    pq.write_table(table, tmp_path / "things.parquet")
    assert kinds(infer(tmp_path / "things.parquet", "things").text) == {
        "price": "decimal(9,2)",
        "at": "timestamp",
    }


def test_a_value_that_comes_late_makes_the_column_wider(tmp_path: Path) -> None:
    """After what DuckDB looks at to guess."""
    path = tmp_path / "things.csv"
    lines = [f"{number},{number}" for number in range(30_000)]
    path.write_text("a,b\n" + "\n".join(lines) + "\nx,1.5\n,2\n")
    contract = drafted(path)
    assert {column.name: (column.kind, column.required) for column in contract.plan.columns} == {
        "a": ("string", False),
        "b": ("float64", True),
    }


def test_a_column_that_no_contract_can_name_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "things.csv"
    path.write_text("id,Total Price\n1,2\n")
    draft = infer(path, "things")
    assert draft.left_out == ("Total Price",)
    assert list(kinds(draft.text)) == ["id"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "a\n1\n", "no file of a known kind"),
        ("a.csv", None, "there is no file"),
        ("a.parquet", "no parquet", "can't be read"),
        ("a.csv", "A B,C D\n1,2\n", "no column that a contract can name"),
    ],
)
def test_what_can_not_be_drafted_from_is_said(
    tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=said):
        infer(path, "things")
    with pytest.raises(UsageError, match="can't name a dataset"):
        infer(path, "The Things")


CELLS = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(str),
    st.sampled_from(
        ["", "NA", "true", "2013-01-01", "2013-01-01T10:00:00Z", "10:00:00", "é", "a,b", 'say "x"']
    ),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=2, max_size=8))
def test_whatever_is_in_a_file_its_draft_takes_it(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([("first", "second"), *rows])
    path = tmp_path / "things.csv"
    path.write_text(out.getvalue())
    draft = infer(path, "things")
    assert draft.accepted == draft.records


def test_the_command_prints_a_contract_that_lint_takes(tmp_path: Path) -> None:
    project = make_project(tmp_path / "a project", contracts={})
    path = tmp_path / "things.csv"
    path.write_text("id,day\n1,2013-01-01\n")
    said = run_dpipe(project, "contract", "infer", str(path))
    assert said.returncode == 0
    (project.contracts / "things.odcs.yaml").write_text(said.stdout)
    assert run_dpipe(project, "contract", "lint", "things").returncode == 0
    told: dict[str, Any] = json.loads(
        run_dpipe(project, "contract", "infer", str(path), "--dataset", "x", "--json").stdout
    )
    assert (told["records"], told["accepted"], told["left_out"]) == (1, 1, [])
    assert "name: x" in told["text"]
    assert run_dpipe(project, "contract", "infer", str(tmp_path / "none.csv")).returncode == 2
