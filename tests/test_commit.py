"""The commit protocol on real files and a real catalog; the kernel's part is played by pyarrow."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest
from dpipe.contract.plan import Column, Kind, PartitionField, Plan
from dpipe.errors import ConfigError, DpipeError, UnavailableError
from dpipe.iceberg import ledger, metadata_locations, open_catalog, tables
from dpipe.iceberg.attempt import WrittenFile
from dpipe.iceberg.commit import AlreadyCommitted, Committed, Stale, commit
from dpipe.iceberg.existing import ExistingRows
from dpipe.iceberg.recovery import complete, recover
from pyiceberg.schema import assign_fresh_schema_ids
from pyiceberg.table import DataScan, FileScanTask
from support import attempt_of, batch_entry, make_project, rows_of, write_parquet

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project
    from pyiceberg.catalog import Catalog

PLAN = Plan(
    dataset="orders",
    contract="c" * 64,
    columns=(
        Column("order_id", "int64", required=True),
        Column("note", "string"),
        Column("amount", "float64"),
    ),
    key=("order_id",),
)
DAY = 15_706  # 2013-01-01, in days since 1970
BY_MONTH = Plan(
    dataset="orders",
    contract="c" * 64,
    columns=(Column("order_id", "int64", required=True), Column("day", "date"), Column("kind", "string")),
    partition=(PartitionField("day", "month", "day_month"), PartitionField("kind", "identity", "kind")),
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "a project", contracts={})


@pytest.fixture
def catalog(project: Project) -> Catalog:
    catalog = open_catalog(project)
    tables.raw_table(catalog, PLAN)
    return catalog


def orders(batch_id: str, numbers: range) -> list[dict[str, Any]]:
    return [
        {
            "order_id": number,
            "note": None,
            "amount": 1.5,
            "_dpipe_batch_id": batch_id,
            "_dpipe_record_no": position,
            "_dpipe_contract": "c" * 64,
        }
        for position, number in enumerate(numbers, start=1)
    ]


def bad_order(batch_id: str) -> dict[str, Any]:
    return {
        "_dpipe_batch_id": batch_id,
        "_dpipe_record_no": 9,
        "_dpipe_contract": "c" * 64,
        "disposition": "rejected",
        "duplicate_kind": None,
        "member": None,
        "byte_offset": 80,
        "byte_length": 3,
        "line": 9,
        "raw_format": "csv",
        "raw_header": b"order_id",
        "raw": b"\xffx,",
        "violations": [{"column": "order_id", "rule": "type", "message": "not a whole number"}],
        "winner_batch_id": None,
        "winner_record_no": None,
    }


def accepted_file(catalog: Catalog, batch_id: str, numbers: range = range(3)) -> WrittenFile:
    return write_parquet(catalog, ("raw", "orders"), orders(batch_id, numbers))


def quarantine_file(catalog: Catalog, batch_id: str) -> WrittenFile:
    tables.quarantine_table(catalog, "orders")
    return write_parquet(catalog, ("quarantine", "orders"), [bad_order(batch_id)])


def committed(catalog: Catalog, project: Project, batch_id: str, numbers: range = range(3)) -> Committed:
    file = accepted_file(catalog, batch_id, numbers)
    outcome = commit(catalog, attempt_of(project, [batch_entry(batch_id, len(numbers))], [file]))
    assert isinstance(outcome, Committed)
    return outcome


def test_a_commit_publishes_rows_quarantine_and_ledger(project: Project, catalog: Catalog) -> None:
    entry = batch_entry("file-a", 3, rejected=1)
    attempt = attempt_of(
        project, [entry], [accepted_file(catalog, "file-a")], [quarantine_file(catalog, "file-a")]
    )
    outcome = commit(catalog, attempt)
    assert isinstance(outcome, Committed)
    complete(catalog, "orders", outcome.record)
    assert [row["order_id"] for row in rows_of(project, "raw", "orders")] == [0, 1, 2]
    assert rows_of(project, "quarantine", "orders") == [bad_order("file-a")]
    (row,) = ledger.rows(catalog)
    assert (row["batch_id"], row["records_in"], row["accepted"], row["rejected"]) == ("file-a", 4, 3, 1)
    assert row["snapshot_id"] == outcome.record.snapshot_id
    assert [file["kind"] for file in row["files"]] == ["accepted", "quarantine"]


def test_a_batch_without_accepted_rows_is_committed_all_the_same(project: Project, catalog: Catalog) -> None:
    outcome = commit(catalog, attempt_of(project, [batch_entry("file-a", 0)]))
    assert isinstance(outcome, Committed)
    complete(catalog, "orders", outcome.record)
    assert ledger.batch_ids(catalog, "orders") == {"file-a"}
    assert rows_of(project, "raw", "orders") == []


def test_a_committed_batch_is_not_committed_again(project: Project, catalog: Catalog) -> None:
    complete(catalog, "orders", committed(catalog, project, "file-a").record)
    second = attempt_of(project, [batch_entry("file-a", 3)], [accepted_file(catalog, "file-a")])
    assert commit(catalog, second) == AlreadyCommitted(frozenset({"file-a"}))
    assert len(rows_of(project, "raw", "orders")) == 3


def test_a_batch_that_only_a_summary_names_is_not_committed_again(project: Project, catalog: Catalog) -> None:
    committed(catalog, project, "file-a")
    assert ledger.batch_ids(catalog, "orders") == set()
    assert commit(catalog, attempt_of(project, [batch_entry("file-a", 0)])) == AlreadyCommitted(
        frozenset({"file-a"})
    )


def test_keys_read_from_an_older_snapshot_make_the_attempt_stale(project: Project, catalog: Catalog) -> None:
    late = attempt_of(
        project, [batch_entry("file-b", 3)], [accepted_file(catalog, "file-b")], depends_on_rows=True
    )
    committed(catalog, project, "file-a")
    assert commit(catalog, late) == Stale()
    assert {row["_dpipe_batch_id"] for row in rows_of(project, "raw", "orders")} == {"file-a"}


def test_without_a_key_an_older_snapshot_does_no_harm(project: Project, catalog: Catalog) -> None:
    late = attempt_of(project, [batch_entry("file-b", 3)], [accepted_file(catalog, "file-b")])
    committed(catalog, project, "file-a")
    assert isinstance(commit(catalog, late), Committed)
    assert len(rows_of(project, "raw", "orders")) == 6


def test_of_many_writers_of_one_batch_just_one_commits(project: Project, catalog: Catalog) -> None:
    attempts = [
        attempt_of(project, [batch_entry("file-a", 3)], [accepted_file(catalog, "file-a")]) for _ in range(6)
    ]
    outcomes: list[object] = []
    start = threading.Barrier(len(attempts))

    def write(index: int) -> None:
        own = open_catalog(project)
        start.wait()
        outcomes.append(commit(own, attempts[index]))

    threads = [threading.Thread(target=write, args=(index,)) for index in range(len(attempts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(outcome, Committed) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, AlreadyCommitted) for outcome in outcomes) == 5
    assert len(rows_of(project, "raw", "orders")) == 3


def test_writers_of_different_batches_all_commit(project: Project, catalog: Catalog) -> None:
    names = [f"file-{index}" for index in range(5)]
    attempts = {
        name: attempt_of(project, [batch_entry(name, 3)], [accepted_file(catalog, name)]) for name in names
    }

    def write(name: str) -> None:
        own = open_catalog(project)
        outcome = commit(own, attempts[name])
        assert isinstance(outcome, Committed)
        complete(own, "orders", outcome.record)

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rows_of(project, "raw", "orders")) == 15
    assert sorted(row["batch_id"] for row in ledger.rows(catalog)) == names


def test_a_commit_that_happened_though_its_answer_was_lost_counts(
    project: Project, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = catalog.commit_table

    def lossy(*arguments: Any) -> None:
        really(*arguments)
        raise ConnectionResetError("the answer was lost")

    attempt = attempt_of(project, [batch_entry("file-a", 3)], [accepted_file(catalog, "file-a")])
    monkeypatch.setattr(catalog, "commit_table", lossy)
    assert isinstance(commit(catalog, attempt), Committed)
    assert len(rows_of(project, "raw", "orders")) == 3


def test_a_commit_that_can_not_be_found_is_reported_and_its_files_stay(
    project: Project, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: Any) -> None:
        raise ConnectionResetError("no connection")

    file = accepted_file(catalog, "file-a")
    attempt = attempt_of(project, [batch_entry("file-a", 3)], [file])
    monkeypatch.setattr(catalog, "commit_table", broken)
    with pytest.raises(UnavailableError, match="did not report back"):
        commit(catalog, attempt)
    monkeypatch.undo()
    assert isinstance(commit(catalog, attempt), Committed)


def test_recovery_completes_commits_from_their_summaries(project: Project, catalog: Catalog) -> None:
    entry = batch_entry("file-a", 3, rejected=1)
    attempt = attempt_of(
        project, [entry], [accepted_file(catalog, "file-a")], [quarantine_file(catalog, "file-a")]
    )
    commit(catalog, attempt)
    assert [record.batches[0].batch_id for record in recover(catalog, "orders")] == ["file-a"]
    assert ledger.batch_ids(catalog, "orders") == {"file-a"}
    assert len(rows_of(project, "quarantine", "orders")) == 1


def test_a_dead_writers_commit_is_completed_before_another_goes_on_top(
    project: Project, catalog: Catalog
) -> None:
    dead = attempt_of(
        project,
        [batch_entry("file-a", 3, rejected=1)],
        [accepted_file(catalog, "file-a")],
        [quarantine_file(catalog, "file-a")],
    )
    commit(catalog, dead)
    complete(catalog, "orders", committed(catalog, project, "file-b", range(10, 12)).record)
    assert recover(catalog, "orders") == []
    assert ledger.batch_ids(catalog, "orders") == {"file-a", "file-b"}
    assert len(rows_of(project, "quarantine", "orders")) == 1


def test_a_dead_writers_batch_is_not_committed_again_below_another_commit(
    project: Project, catalog: Catalog
) -> None:
    committed(catalog, project, "file-a")
    complete(catalog, "orders", committed(catalog, project, "file-b", range(10, 12)).record)
    recover(catalog, "orders")
    again = attempt_of(project, [batch_entry("file-a", 3)], [accepted_file(catalog, "file-a")])
    assert commit(catalog, again) == AlreadyCommitted(frozenset({"file-a"}))
    assert len(rows_of(project, "raw", "orders")) == 5


def test_recovery_does_nothing_twice(project: Project, catalog: Catalog) -> None:
    attempt = attempt_of(
        project, [batch_entry("file-a", 0, rejected=1)], [], [quarantine_file(catalog, "file-a")]
    )
    outcome = commit(catalog, attempt)
    assert isinstance(outcome, Committed)
    complete(catalog, "orders", outcome.record)
    complete(catalog, "orders", outcome.record)
    assert recover(catalog, "orders") == []
    assert len(rows_of(project, "quarantine", "orders")) == 1
    assert len(ledger.rows(catalog)) == 1


def test_recovery_after_the_quarantine_commit_appends_the_ledger_alone(
    project: Project, catalog: Catalog
) -> None:
    attempt = attempt_of(
        project, [batch_entry("file-a", 0, rejected=1)], [], [quarantine_file(catalog, "file-a")]
    )
    outcome = commit(catalog, attempt)
    assert isinstance(outcome, Committed)
    complete(catalog, "orders", outcome.record)
    catalog.drop_table(("dpipe", "batches"))
    recover(catalog, "orders")
    assert len(rows_of(project, "quarantine", "orders")) == 1
    assert ledger.batch_ids(catalog, "orders") == {"file-a"}


def test_a_file_that_is_not_as_reported_is_not_committed(project: Project, catalog: Catalog) -> None:
    file = accepted_file(catalog, "file-a")
    false = WrittenFile(file.path, file.rows + 1, file.bytes, file.sha256)
    with pytest.raises(DpipeError, match="has 3 rows"):
        commit(catalog, attempt_of(project, [batch_entry("file-a", 4)], [false]))
    assert rows_of(project, "raw", "orders") == []


def test_quarantine_field_ids_of_a_new_table_are_in_order(catalog: Catalog) -> None:
    table = tables.quarantine_table(catalog, "orders")
    assert tables.quarantine_ids(table) == list(range(1, 20))
    # Catalogs that number fields themselves do so level by level, or as SeaweedFS does from within.
    assert assign_fresh_schema_ids(table.schema()) == table.schema()


def test_an_empty_table_follows_a_changed_contract(catalog: Catalog) -> None:
    changed = Plan("orders", "d" * 64, (Column("order_id", "string"),))
    assert str(tables.raw_table(catalog, changed).schema().fields[0].field_type) == "string"


def test_a_table_with_data_refuses_a_changed_contract(project: Project, catalog: Catalog) -> None:
    committed(catalog, project, "file-a")
    changed = Plan("orders", "d" * 64, (*PLAN.columns, Column("colour", "string")), PLAN.key)
    with pytest.raises(ConfigError, match="column `colour` of type string is new"):
        tables.raw_table(catalog, changed)


def test_existing_rows_are_those_of_the_partition(project: Project) -> None:
    catalog = open_catalog(project)
    tables.raw_table(catalog, BY_MONTH)
    provenance = {"_dpipe_batch_id": "file-a", "_dpipe_record_no": 1, "_dpipe_contract": "c"}
    january = {"order_id": 1, "day": date(2013, 1, 31), "kind": "x", **provenance}
    february = {"order_id": 2, "day": date(2013, 2, 1), "kind": None, **provenance}
    month = 43 * 12
    files = [
        write_parquet(catalog, ("raw", "orders"), [january], {"day_month": month, "kind": "x"}),
        write_parquet(catalog, ("raw", "orders"), [february], {"day_month": month + 1, "kind": None}),
    ]
    commit(catalog, attempt_of(project, [batch_entry("file-a", 2)], files))
    read = ExistingRows(catalog.load_table(("raw", "orders")), BY_MONTH)
    found = []
    for values in ((month, "x"), (month + 1, None), (month, "y")):
        reader = read({"day_month": values[0], "kind": values[1]})
        assert reader is not None
        found.append(reader.read_all()["order_id"].to_pylist())
    assert found == [[1], [2], []]


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("date", date(2013, 1, 1), DAY),
        ("date", date(1, 1, 1), -719_162),
        ("date", None, None),
        ("timestamp", datetime(2013, 1, 1, tzinfo=UTC), DAY * 86_400_000_000),
        ("timestamp_ntz", datetime(2013, 1, 1), DAY * 86_400_000_000),  # noqa: DTZ001 - has no zone
        ("boolean", True, True),
        ("int32", 7, 7),
        ("string", "x/y=z", "x/y=z"),
    ],
)
def test_existing_rows_are_found_by_the_value_that_iceberg_stores(
    project: Project, kind: Kind, value: object, stored: object
) -> None:
    plan = Plan(
        dataset="orders",
        contract="c" * 64,
        columns=(Column("order_id", "int64", required=True), Column("part", kind)),
        partition=(PartitionField("part", "identity", "part"),),
    )
    catalog = open_catalog(project)
    tables.raw_table(catalog, plan)
    row = {**orders("file-a", range(1))[0], "part": value}
    del row["note"], row["amount"]
    file = write_parquet(catalog, ("raw", "orders"), [row], {"part": stored})
    commit(catalog, attempt_of(project, [batch_entry("file-a", 1)], [file]))
    reader = ExistingRows(catalog.load_table(("raw", "orders")), plan)({"part": stored})
    assert reader is not None
    assert reader.read_all()["part"].to_pylist() == [value]


def test_look_ups_of_many_partitions_plan_the_files_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = open_catalog(project)
    tables.raw_table(catalog, BY_MONTH)
    really, calls = DataScan.plan_files, []

    def counted(scan: DataScan) -> Any:
        calls.append(scan)
        return really(scan)

    row = {**orders("file-a", range(1))[0], "day": date(2013, 1, 1), "kind": "x"}
    del row["note"], row["amount"]
    file = write_parquet(catalog, ("raw", "orders"), [row], {"day_month": 516, "kind": "x"})
    commit(catalog, attempt_of(project, [batch_entry("file-a", 1)], [file]))
    monkeypatch.setattr(DataScan, "plan_files", counted)
    read = ExistingRows(catalog.load_table(("raw", "orders")), BY_MONTH)
    assert calls == []
    for month in range(500, 530):
        reader = read({"day_month": month, "kind": "x"})
        assert reader is not None
        assert reader.read_all().num_rows == (month == 516)
    assert len(calls) == 1


def test_rows_that_a_delete_file_deleted_are_not_taken_for_existing_ones(
    project: Project, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(catalog, project, "file-a")
    table = catalog.load_table(("raw", "orders"))
    (task,) = table.scan().plan_files()
    deleting = FileScanTask(task.file, delete_files={task.file})
    monkeypatch.setattr(DataScan, "plan_files", lambda _: [deleting])
    with pytest.raises(DpipeError, match="deleted by a delete file"):
        ExistingRows(table, PLAN)({})


def test_existing_rows_are_those_of_the_snapshot_that_was_loaded(project: Project, catalog: Catalog) -> None:
    committed(catalog, project, "file-a")
    read = ExistingRows(catalog.load_table(("raw", "orders")), PLAN)
    committed(catalog, project, "file-b", range(10, 12))
    reader = read({})
    assert reader is not None
    assert reader.read_all()["order_id"].to_pylist() == [0, 1, 2]


def test_an_empty_table_has_no_existing_rows(catalog: Catalog) -> None:
    assert ExistingRows(catalog.load_table(("raw", "orders")), PLAN)({}) is None


def test_metadata_locations_name_every_table(project: Project, catalog: Catalog) -> None:
    tables.ledger_table(catalog)
    assert metadata_locations(project).keys() == {"dpipe.batches", "raw.orders"}


def test_many_may_open_a_new_catalog_at_once(project: Project) -> None:
    start = threading.Barrier(6)
    failures: list[Exception] = []

    def make() -> None:
        start.wait()
        try:
            tables.ledger_table(open_catalog(project))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert metadata_locations(project).keys() == {"dpipe.batches"}
