"""Files that nobody should send: each costs its own records, and neither the run nor the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dpipe import _kernel
from dpipe.contract import Column, Plan

if TYPE_CHECKING:
    from pathlib import Path


def process(folder: Path, source: Path, plan: Plan) -> dict[str, Any]:
    """The kernel's counts of one source."""
    answer = _kernel.process(
        plan.to_json(),
        [{"batch_id": "batch", "path": str(source), "format": None, "compression": None}],
        data_dir=str(folder / "data"),
        quarantine_dir=str(folder / "quarantine"),
    )
    batch: dict[str, Any] = answer["batches"][0]
    assert batch["records_in"] == batch["accepted"] + batch["rejected"] + batch["duplicate"]
    return batch


def plan_of(kind: Any, **more: Any) -> Plan:
    return Plan(dataset="things", contract="0" * 64, columns=(Column("a", kind),), **more)


def rules(batch: dict[str, Any]) -> dict[str, int]:
    return {broken["rule"]: broken["records"] for broken in batch["violations"]}


def test_a_long_header_is_not_held_once_a_rejected_record(tmp_path: Path) -> None:
    header = "a," + ",".join(f"x{number:08}" for number in range(3_600))
    (tmp_path / "source.csv").write_text(header + "\n" + "y\n" * 65_536)
    batch = process(tmp_path, tmp_path / "source.csv", plan_of("int32"))
    assert rules(batch) == {"field_count": 65_536}


def test_a_header_of_many_names_is_read_in_time(tmp_path: Path) -> None:
    names = ",".join(f"c{number}" for number in range(200_000))
    (tmp_path / "source.csv").write_text(f"{names},a\n1\n")
    assert rules(process(tmp_path, tmp_path / "source.csv", plan_of("int32"))) == {"field_count": 1}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("date", pa.array([1, 10_000_000], pa.date32())),
        ("timestamp", pa.array([1, 1 << 62], pa.timestamp("us", "UTC"))),
        ("timestamp", pa.array([1_000, 1_001], pa.timestamp("ns", "UTC"))),
        ("string", pa.array([None, [(1, 2)]], pa.map_(pa.int32(), pa.int32()))),
    ],
    ids=["a date past the calendar", "an instant past the calendar", "nanoseconds", "a map"],
)
def test_a_parquet_value_that_the_column_cannot_hold_costs_its_record(
    tmp_path: Path, kind: str, values: pa.Array
) -> None:
    pq.write_table(pa.table({"a": values}), tmp_path / "source.parquet")
    batch = process(tmp_path, tmp_path / "source.parquet", plan_of(kind))
    assert (batch["accepted"], rules(batch)) == (1, {"type": 1})


def test_unknown_columns_are_refused_in_every_format_when_the_contract_says_so(tmp_path: Path) -> None:
    plan = plan_of("int32", unknown_fields="reject")
    (tmp_path / "source.csv").write_text("a,b\n1,2\nx,3\n")
    (tmp_path / "source.ndjson").write_text('{"a":1,"b":2}\n{"a":"x","b":3}\n')
    pq.write_table(pa.table({"a": ["1", "x"], "b": [2, 3]}), tmp_path / "source.parquet")
    for name in ("source.csv", "source.ndjson"):
        assert rules(process(tmp_path, tmp_path / name, plan)) == {"unknown_field": 2, "type": 1}, name
    assert rules(process(tmp_path, tmp_path / "source.parquet", plan)) == {"unknown_field": 2, "type": 2}


def test_a_source_that_cannot_be_read_is_one_rejected_record(tmp_path: Path) -> None:
    for number, content in enumerate([b"PAR1 and no footer PAR1", "a\n1\n".encode("utf-16")]):
        source = tmp_path / str(number)
        source.write_bytes(content)
        batch = process(tmp_path, source, plan_of("int32"))
        assert (batch["records_in"], rules(batch)) == (1, {"unreadable": 1})


def test_a_file_that_is_not_there_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(_kernel.KernelIoError, match="No such file"):
        process(tmp_path, tmp_path / "missing", plan_of("int32"))
