"""Maintain: files become few, history short and leftovers go; rows, balance and whoever is at work stay as they are."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from dpipe import landing
from dpipe.failpoints import ENVIRONMENT_VARIABLE, OF_MAINTENANCE
from dpipe.iceberg import history, ledger, metadata_locations, open_catalog
from dpipe.iceberg.compaction import Target
from dpipe.iceberg.storage import local_path
from dpipe.stages.audit.verify import verify
from dpipe.stages.maintain import YOUNG, Upkeep, maintain
from dpipe.stages.process import process
from dpipe.stages.replay import Selection, replay
from dpipe.state import runs
from dpipe.warehouse import batches as warehouse
from dpipe.warehouse import lake as warehouse_lake
from pyiceberg.table.snapshots import Operation
from support import ORDERS, UPSERT, assert_holds, ingest, lake_content, make_project, rows_of, run_dpipe

if TYPE_CHECKING:
    from datetime import tzinfo
    from typing import Self

    from dpipe.settings import Project
    from pyiceberg.table import Table

HEADER = "order_id,day,amount\n"
SMALL = Target(file_bytes=64 << 20, least_files=2)
LONG = timedelta(days=365)
NOTHING = timedelta(0)
QUICK = "after-compaction-commit"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Six commits into three days, each with a rejected and, but for the first, a duplicate record."""
    return filled(make_project(tmp_path / "a project", {"orders": ORDERS}, {"max_rejected_share": 1.0}))


def filled(project: Project, commits: int = 6) -> Project:
    for commit in range(commits):
        rows = "".join(
            f"{number},2013-01-0{number % 3 + 1},{commit}\n"
            for number in range(commit * 10, commit * 10 + 11)
        )
        ingest(project, f"{HEADER}{rows}{commit},2013-01-01,-1\n")
    return project


def maintained(
    project: Project,
    *,
    target: Target = SMALL,
    keep: timedelta = LONG,
    young: timedelta = YOUNG,
    dry_run: bool = False,
) -> dict[str, Upkeep]:
    with runs.recorded(project, "maintain") as run:
        found = maintain(project, target=target, keep=keep, run=run, dry_run=dry_run, young=young)
    return {upkeep.table: upkeep for upkeep in found}


def table(project: Project, name: str = "raw.orders") -> Table:
    return open_catalog(project).load_table(name)


def live(project: Project, name: str = "raw.orders") -> list[Path]:
    return [Path(local_path(task.file.file_path)) for task in table(project, name).scan().plan_files()]


def on_disk(project: Project) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in project.lake.rglob("*") if path.is_file()}


def test_small_files_become_one_a_partition_with_the_same_rows(project: Project) -> None:
    before = lake_content(project)
    assert len(live(project)) == 18
    done = maintained(project)
    assert lake_content(project) == before
    assert_holds(project)
    raw, kept = done["raw.orders"], done["quarantine.orders"]
    assert (raw.compacted_files, raw.written_files, len(live(project))) == (18, 3, 3)
    assert (kept.compacted_files, kept.written_files, len(live(project, "quarantine.orders"))) == (6, 1, 1)
    assert (done["dpipe.batches"].compacted_files, len(live(project, "dpipe.batches"))) == (6, 1)
    assert raw.written_bytes == sum(path.stat().st_size for path in live(project))
    assert raw.compacted_bytes > raw.written_bytes


def test_compacted_rows_lie_in_the_order_of_the_key(project: Project) -> None:
    maintained(project)
    for path in live(project):
        numbers = pq.read_table(path, partitioning=None)["order_id"].to_pylist()
        assert numbers == sorted(numbers)
        assert len(numbers) > 10


def test_a_compaction_says_that_it_changed_no_row(project: Project) -> None:
    ingested = [snapshot.summary.operation for snapshot in table(project).snapshots() if snapshot.summary]
    maintained(project)
    for name in ("raw.orders", "quarantine.orders", "dpipe.batches"):
        head = table(project, name).current_snapshot()
        operations = [one.summary.operation for one in table(project, name).snapshots() if one.summary]
        assert head is not None
        assert Operation.REPLACE in operations
    assert set(ingested) == {Operation.APPEND}
    summary = next(
        one.summary
        for one in table(project).snapshots()
        if one.summary and one.summary.operation == Operation.REPLACE
    )
    assert summary["total-records"] == str(table(project).scan().count())


def test_a_second_run_has_nothing_to_do(project: Project) -> None:
    maintained(project)
    before = metadata_locations(project)
    again = maintained(project)
    assert {upkeep.compacted_files for upkeep in again.values()} == {0}
    # The compactions themselves are a table, which had two rows to compact.
    assert {name for name, at in metadata_locations(project).items() if before[name] != at} <= {
        "dpipe.compactions"
    }


def test_few_or_large_files_are_left_alone(project: Project) -> None:
    assert maintained(project, target=Target(64 << 20, 7))["raw.orders"].compacted_files == 0
    assert maintained(project, target=Target(1 << 10, 2))["raw.orders"].compacted_files == 0
    assert len(live(project)) == 18


def test_a_compaction_is_not_a_batch_that_a_transform_would_take_in(project: Project) -> None:
    before = warehouse.ledger(metadata_locations(project))
    maintained(project)
    assert warehouse.ledger(metadata_locations(project)) == before
    assert len(ledger.compactions(open_catalog(project), "orders")) == 2


def test_batches_go_in_after_a_compaction_and_are_compared_with_what_is_there(project: Project) -> None:
    maintained(project)
    ingest(project, f"{HEADER}0,2013-01-01,0\n7000,2013-01-01,0\n")
    assert table(project).scan().count() == 62
    assert ledger.rows(open_catalog(project))[-1]["duplicate"] == 1
    assert_holds(project)
    maintained(project)
    assert_holds(project)


def test_an_upsert_supersedes_rows_of_compacted_files(tmp_path: Path) -> None:
    project = filled(make_project(tmp_path, {"orders": UPSERT}, {"max_rejected_share": 1.0}))
    before = rows_of(project, "raw", "orders")
    maintained(project)
    assert rows_of(project, "raw", "orders") == before
    ingest(project, f"{HEADER}0,2013-01-01,99\n")
    assert {row["amount"] for row in rows_of(project, "raw", "orders") if row["order_id"] == 0} == {99}
    assert_holds(project)


def test_a_table_follows_its_contract_after_a_compaction_of_files_from_before(project: Project) -> None:
    contract = project.contracts / "orders.odcs.yaml"
    contract.write_text(contract.read_text() + "      - {name: note, logicalType: string}\n")
    assert run_dpipe(project, "contract", "apply", "orders").returncode == 0
    path = project.root / "b.csv"
    path.write_text("order_id,day,amount,note\n9000,2013-01-01,1,new\n")
    assert run_dpipe(project, "ingest", "orders", str(path)).returncode == 0
    assert run_dpipe(project, "process").returncode == 0
    before = rows_of(project, "raw", "orders")
    maintained(project)
    assert rows_of(project, "raw", "orders") == before
    assert {row["note"] for row in before} == {None, "new"}
    assert_holds(project)


NESTED = """
      - name: items
        logicalType: array
        items: {logicalType: object, properties: [{name: sku, logicalType: string}, {name: n, logicalType: integer}]}
"""


def test_nested_columns_and_arrays_that_are_null_survive(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"orders": ORDERS + NESTED.lstrip("\n")}, {"max_rejected_share": 1.0})
    for number in range(3):
        path = project.root / "a.ndjson"
        items: list[Any] = [None, [], [{"sku": "a", "n": 1}, None, {"sku": None}]]
        rows = [
            {"order_id": number * 3 + at, "day": "2013-01-01", "amount": 1.5, "items": one}
            for at, one in enumerate(items)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        landing.land_file(project, "orders", path)
        with runs.recorded(project, "process") as run:
            process(project, run=run)
    files = live(project)
    before = sorted(
        (row for path in files for row in pq.read_table(path, partitioning=None).to_pylist()), key=repr
    )
    assert maintained(project)["raw.orders"].written_files == 1
    (path,) = live(project)
    assert sorted(pq.read_table(path, partitioning=None).to_pylist(), key=repr) == before
    assert_holds(project)


def test_old_history_goes_and_what_is_kept_is_readable_to_the_last_file(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {
        snapshot.snapshot_id: sorted(
            table(project).scan(snapshot_id=snapshot.snapshot_id).to_arrow().to_pylist(), key=repr
        )
        for snapshot in table(project).snapshots()
    }
    third, fourth = sorted(table(project).snapshots(), key=lambda one: one.timestamp_ms)[2:4]
    between = history.committed_at(third) + (history.committed_at(fourth) - history.committed_at(third)) / 2
    now = datetime.now(UTC)

    class Then(datetime):
        """So that it doesn't matter how long it takes from here to there: two commits are soon after each other."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(now.timestamp(), tz)

    monkeypatch.setattr("dpipe.stages.maintain.datetime", Then)
    done = maintained(project, keep=now - between, young=NOTHING)["raw.orders"]
    # The third was current at that moment, although it is older; the compaction's is the newest.
    left = [snapshot.snapshot_id for snapshot in table(project).snapshots()]
    assert third.snapshot_id in left
    assert (done.expired_snapshots, done.kept_snapshots, len(left)) == (2, 6, 6)
    for snapshot_id in left:
        found = sorted(table(project).scan(snapshot_id=snapshot_id).to_arrow().to_pylist(), key=repr)
        assert found == contents.get(snapshot_id, contents[max(contents, key=lambda one: len(contents[one]))])
    assert_holds(project)


def test_with_no_history_only_the_files_that_are_needed_are_left(project: Project) -> None:
    content = lake_content(project)
    maintained(project)
    done = maintained(project, keep=NOTHING, young=NOTHING)
    assert done["raw.orders"].kept_snapshots == 1
    assert set(project.lake.rglob("raw/orders/data/**/*.parquet")) == set(live(project))
    assert len(list(project.lake.rglob("quarantine/orders/data/**/*.parquet"))) == 1
    assert lake_content(project) == content
    assert_holds(project)
    ingest(project, f"{HEADER}0,2013-01-01,0\n8000,2013-01-01,0\n")
    assert_holds(project)
    with warehouse_lake.connect(project) as connection:
        assert connection.execute("select count(*) from lake.raw.orders").fetchall() == [(62,)]


def test_what_was_replayed_is_known_when_the_files_that_brought_it_are_gone(project: Project) -> None:
    contract = project.contracts / "orders.odcs.yaml"
    contract.write_text(contract.read_text().replace("minimum: 0", "minimum: -5"))
    with runs.recorded(project, "replay") as run:
        replay(project, "orders", Selection(batch=ledger.rows(open_catalog(project))[0]["batch_id"]), run=run)
    maintained(project)
    maintained(project, keep=NOTHING, young=NOTHING)
    with runs.recorded(project, "replay") as run:
        result = replay(project, "orders", Selection(), run=run)
    assert result.looked_at == 5
    assert_holds(project)


def test_leftovers_go_when_they_are_old_and_stay_while_a_job_may_need_them(project: Project) -> None:
    folder = project.lake / "raw" / "orders" / "data"
    old, young = folder / "day=2013-01-01" / "old.parquet", folder / "young.parquet"
    manifest = project.lake / "raw" / "orders" / "metadata" / "old-m0.avro"
    for path in (old, young, manifest):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"left")
    long_ago = time.time() - 2 * 24 * 60 * 60
    for path in (old, manifest):
        os.utime(path, (long_ago, long_ago))
    done = maintained(project)
    assert (done["raw.orders"].removed_files, done["raw.orders"].removed_bytes) == (2, 8)
    assert (old.exists(), manifest.exists(), young.exists()) == (False, False, True)
    assert_holds(project)


def test_files_of_the_project_outside_the_tables_stay(project: Project) -> None:
    foreign = project.lake / "notes.txt"
    foreign.write_text("mine")
    maintained(project, keep=NOTHING, young=NOTHING)
    assert foreign.exists()


def test_a_dry_run_foretells_and_changes_nothing(project: Project) -> None:
    for path in (project.lake / "raw" / "orders" / "data").rglob("*.parquet"):
        (path.parent / "left.parquet").write_bytes(b"left")
    before = on_disk(project)
    foretold = maintained(project, keep=NOTHING, young=NOTHING, dry_run=True)["raw.orders"]
    assert on_disk(project) == before
    assert (foretold.compacted_files, foretold.written_files, foretold.written_bytes) == (18, 3, None)
    assert (foretold.expired_snapshots, foretold.kept_snapshots) == (5, 1)
    assert foretold.removed_files > 3
    # What the compaction replaces goes too, since history isn't kept.
    done = maintained(project, target=Target(1, 100), keep=NOTHING, young=NOTHING)["raw.orders"]
    assert (done.expired_snapshots, done.kept_snapshots) == (5, 1)
    assert (
        abs(done.removed_files - foretold.removed_files) <= 2
    )  # the expiry is a commit with metadata of its own


@pytest.mark.parametrize(
    "point",
    [pytest.param(name, marks=() if name == QUICK else pytest.mark.long) for name in OF_MAINTENANCE],
)
def test_a_kill_leaves_what_the_next_run_completes(tmp_path: Path, point: str) -> None:
    project = filled(make_project(tmp_path, {"orders": UPSERT}, {"max_rejected_share": 1.0}), commits=3)
    content = lake_content(project)
    arguments = ["maintain", "--min-files", "2"]
    killed = run_dpipe(project, *arguments, environment={ENVIRONMENT_VARIABLE: point})
    assert killed.returncode == -signal.SIGKILL
    assert lake_content(project) == content
    assert run_dpipe(project, *arguments).returncode == 0
    assert lake_content(project) == content
    assert_holds(project)
    assert len(live(project)) == 3
    ingest(project, f"{HEADER}0,2013-01-01,99\n")
    assert_holds(project)


def test_a_batch_that_comes_after_a_kill_completes_the_compaction(project: Project) -> None:
    killed = run_dpipe(
        project, "maintain", "--min-files", "2", environment={ENVIRONMENT_VARIABLE: "after-compaction-commit"}
    )
    assert killed.returncode == -signal.SIGKILL
    assert ledger.compactions(open_catalog(project), "orders") == []
    ingest(project, f"{HEADER}0,2013-01-01,0\n8000,2013-01-01,0\n")
    assert len(ledger.compactions(open_catalog(project), "orders")) == 1
    assert_holds(project)


def test_the_audit_finds_a_changed_compacted_file(project: Project) -> None:
    maintained(project)
    path = live(project)[0]
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    (audit,) = verify(project)
    assert {finding.check for finding in audit.findings} >= {"files"}


COMPACTING = """
import sys
from datetime import timedelta
from pathlib import Path
from dpipe.iceberg.compaction import Target
from dpipe.settings import load_project
from dpipe.stages.maintain import maintain
from dpipe.state import runs
project = load_project(Path(sys.argv[1]))
while not (project.root / "enough").exists():
    with runs.recorded(project, "maintain") as run:
        maintain(project, target=Target(64 << 20, 2), keep=timedelta(seconds=20), run=run, young=timedelta(seconds=20))
"""


def beside_writers(project: Project, rounds: int) -> None:
    """Batches and corrections go in while another process compacts, expires and deletes all the time."""
    random_numbers = random.Random(rounds)
    beside = subprocess.Popen([sys.executable, "-c", COMPACTING, str(project.root)], stderr=subprocess.PIPE)
    amounts: dict[int, int] = {}

    def compactions() -> int:
        return len(ledger.compactions(open_catalog(project), "orders"))

    number = 0
    # The other process is still starting when the first ones go in.
    while number < rounds or (compactions() < rounds // 4 and beside.poll() is None):
        wanted = random_numbers.sample(range(40), 12)
        amounts |= dict.fromkeys(wanted, number)
        ingest(
            project, HEADER + "".join(f"{key},2013-01-0{key % 3 + 1},{number}\n" for key in wanted) + "x,,\n"
        )
        number += 1
    (project.root / "enough").touch()
    _, errors = beside.communicate(timeout=300)
    assert (beside.returncode, errors) == (0, b"")
    assert {row["order_id"]: row["amount"] for row in rows_of(project, "raw", "orders")} == amounts
    assert len(rows_of(project, "quarantine", "orders")) >= rounds
    assert_holds(project)
    assert compactions() >= rounds // 4


def test_writers_go_on_beside_it(tmp_path: Path) -> None:
    beside_writers(make_project(tmp_path, {"orders": UPSERT}, {"max_rejected_share": 1.0}), rounds=12)


@pytest.mark.long
def test_writers_go_on_beside_it_for_long(tmp_path: Path) -> None:
    beside_writers(make_project(tmp_path, {"orders": UPSERT}, {"max_rejected_share": 1.0}), rounds=300)


def test_the_command_says_what_it_did_as_text_and_json(project: Project) -> None:
    told = run_dpipe(project, "maintain", "--min-files", "2", "--dry-run")
    assert told.returncode == 0
    assert "raw.orders: 18 files become 3\n" in told.stdout
    done = json.loads(run_dpipe(project, "maintain", "orders", "--min-files", "2", "--json").stdout)
    assert {upkeep["table"] for upkeep in done} >= {"raw.orders", "quarantine.orders", "dpipe.batches"}
    assert done[0]["compacted_files"] == 18
    assert "raw.orders: nothing to do\n" in run_dpipe(project, "maintain", "--min-files", "2").stdout
    last = runs.latest(project)[0]
    assert (last["command"], last["status"]) == ("maintain", "succeeded")


def test_the_command_names_what_is_wrong(project: Project) -> None:
    for arguments, said in (
        (["--keep", "5m"], "`--keep` is shorter than an hour"),
        (["--keep", "long"], "`long` is no length of time"),
        (["nothing"], "the lake has no table of a dataset `nothing`"),
    ):
        told = run_dpipe(project, "maintain", *arguments)
        assert (told.returncode, said in told.stderr) == (2, True)


def test_an_empty_lake_needs_nothing(tmp_path: Path) -> None:
    assert maintained(make_project(tmp_path)) == {}
    told = run_dpipe(make_project(tmp_path), "maintain", "orders")
    assert (told.returncode, "the lake has no table of a dataset `orders`" in told.stderr) == (2, True)
