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
import yaml
from dpipe.contract import Contract
from dpipe.errors import ConfigError, UsageError
from dpipe.library.infer import infer
from dpipe.settings import load_project
from dpipe.stages import drafts
from dpipe.stages.ingest import source_files
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


def test_numbers_that_are_written_with_a_fixed_point_are_decimals(tmp_path: Path) -> None:
    """A float's shortest spelling has no zero at its end: `1.50` is an exact number, 1.5 may be either."""
    path = tmp_path / "things.csv"
    path.write_text("price,rate,score,share\n1.50,0.25,1.0,0.1\n-12.25,0.75,2.0,0.25\nNA,0.15,3.0,0.50\n")
    assert {column.name: column.type_name for column in drafted(path).plan.columns} == {
        "price": "decimal(18,2)",
        "rate": "float64",
        "score": "float64",
        "share": "float64",
    }


def test_a_decimal_that_has_other_digits_later_is_a_float_after_all(tmp_path: Path) -> None:
    path = tmp_path / "things.csv"
    path.write_text("price\n" + "1.50\n" * 120_000 + "1.505\n")
    assert kinds(infer(path, "things").text) == {"price": "float64"}


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


def test_several_files_become_contracts_and_sources_of_the_project(tmp_path: Path) -> None:
    project = make_project(tmp_path / "a project", contracts={})
    settings = project.root / "configs/dpipe.yaml"
    settings.write_text(
        "name: test\n\nsources:\n  old: data/old.csv # kept\n\n# Also kept.\nprofiles:\n  local: {}\n"
    )
    (project.root / "data").mkdir()
    inside, outside = project.root / "data/things.csv", tmp_path / "others, all.csv"
    for path in (inside, outside):
        path.write_text("id\n1\n")
    outside = outside.rename(tmp_path / "others.csv")
    said = run_dpipe(project, "contract", "infer", str(inside), str(outside), "--write", "--json")
    assert said.returncode == 0, said.stderr
    assert [one["dataset"] for one in json.loads(said.stdout)] == ["things", "others"]
    assert settings.read_text() == (
        "name: test\n\nsources:\n  old: data/old.csv # kept\n  things: data/things.csv\n"
        f"  others: {outside}\n\n# Also kept.\nprofiles:\n  local: {{}}\n"
    )
    assert load_project(project.root).datasets() == ["others", "things"]
    assert run_dpipe(project, "ingest").returncode == 2  # `old` has no file
    assert run_dpipe(project, "ingest", "things").returncode == 0


def test_a_contract_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    project = make_project(tmp_path / "a project")
    before = (project.contracts / "orders.odcs.yaml").read_text()
    for name in ("new.csv", "orders.csv", "orders.2.csv"):
        (tmp_path / name).write_text("id\n1\n")
    files = [str(tmp_path / name) for name in ("new.csv", "orders.csv")]
    said = run_dpipe(project, "contract", "infer", *files, "--write")
    assert (said.returncode, "`orders` has a contract already" in said.stderr) == (2, True)
    assert (project.contracts / "orders.odcs.yaml").read_text() == before
    assert project.datasets() == ["orders"]
    said = run_dpipe(project, "contract", "infer", *files)
    assert (said.returncode, "add --write" in said.stderr) == (2, True)
    said = run_dpipe(project, "contract", "infer", files[1], str(tmp_path / "orders.2.csv"), "--write")
    assert (said.returncode, "several files are of `orders`" in said.stderr) == (2, True)


def test_a_file_that_can_not_be_drafted_from_leaves_nothing_half_done(tmp_path: Path) -> None:
    project = make_project(tmp_path / "a project", {})
    settings = (project.root / "configs/dpipe.yaml").read_text()
    for name, content in (("good.csv", "id\n1\n"), ("bad.csv", "A B\n1\n"), ("bad-name.csv", "id\n1\n")):
        (tmp_path / name).write_text(content)
    for bad, hint in (("bad.csv", "names are"), ("bad-name.csv", "with --dataset")):
        files = [str(tmp_path / name) for name in ("good.csv", bad)]
        said = run_dpipe(project, "contract", "infer", *files, "--write")
        assert (said.returncode, hint in said.stderr) == (2, True)
        assert (project.root / "configs/dpipe.yaml").read_text() == settings
        assert project.datasets() == []


def test_a_file_whose_name_looks_like_a_wildcard_is_the_source(tmp_path: Path) -> None:
    project = make_project(tmp_path / "a project", {})
    path = project.root / "things.[1].csv"
    path.write_text("id\n1\n")
    assert run_dpipe(project, "contract", "infer", str(path), "--write").returncode == 0
    assert source_files(load_project(project.root), "things") == [path]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("name: x\n", "name: x\n\nsources:\n  d: p, q.csv\n"),
        ("sources:\nx: 1\n", "sources:\n  d: p, q.csv\nx: 1\n"),
        ("sources: {} # none\nx: 1\n", "sources:\n  d: p, q.csv # none\nx: 1\n"),
        ("sources: {a: b} # one\n", "sources: {a: b, d: p, q.csv} # one\n"),
        (
            "sources:\n    a: b # one\n\n# x\nx: 1\n",
            "sources:\n    a: b # one\n    d: p, q.csv\n\n# x\nx: 1\n",
        ),
        ("sources:\n  a: b", "sources:\n  a: b\n  d: p, q.csv\n"),
    ],
)
def test_a_source_is_added_to_settings_however_they_are_written(
    tmp_path: Path, before: str, after: str
) -> None:
    path = tmp_path / "dpipe.yaml"
    path.write_text(before)
    drafts._add_source(path, "d", "p, q.csv")
    assert path.read_text() == after.replace("p, q.csv", '"p, q.csv"')
    assert yaml.safe_load(path.read_text())["sources"]["d"] == "p, q.csv"


def test_settings_that_can_not_be_added_to_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "dpipe.yaml"
    path.write_text("sources: &all {a: b}\nmore: *all\nlist: [\n")
    with pytest.raises(ConfigError, match="can't be added to") as refused:
        drafts._add_source(path, "d", "p.csv")
    assert refused.value.hint == "write `d: p.csv` under its `sources` yourself"
    assert path.read_text() == "sources: &all {a: b}\nmore: *all\nlist: [\n"
