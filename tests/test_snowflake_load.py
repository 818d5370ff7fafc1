"""The lake's tables in Snowflake: each row once, whatever happened. Against an emulator, by the real connector."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from dpipe.errors import ConfigError, DpipeError, UnavailableError, UsageError
from dpipe.iceberg import metadata_locations, open_catalog
from dpipe.iceberg.compaction import Target
from dpipe.settings import load_project
from dpipe.stages.evolve import evolve
from dpipe.stages.maintain import maintain
from dpipe.state import runs
from dpipe.warehouse.snowflake import session as session_module
from dpipe.warehouse.snowflake.lake import load_lake
from dpipe.warehouse.snowflake.session import Session, connected, names_of
from snowflake_account import REAL, account, copy_of, loaded, private_key, with_account
from support import ORDERS, UPSERT, ingest, make_project, processed, rows_of, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dpipe.settings import Project

HEADER = "order_id,day,amount\n"
COLUMNS = "order_id, day, amount, _dpipe_batch_id, _dpipe_record_no"
SMALL = Target(file_bytes=64 << 20, least_files=2)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with account(tmp_path_factory.mktemp("account")) as running:
        yield running


def new_project(folder: Path, port: int, contract: str = UPSERT) -> Project:
    project = make_project(folder / "a project", {"orders": contract}, {"max_rejected_share": 1.0})
    return with_account(project, port)


def of_lake(project: Project, columns: str = COLUMNS) -> list[tuple[Any, ...]]:
    names = columns.split(", ")
    return sorted((tuple(row[name] for name in names) for row in rows_of(project, "raw", "orders")), key=repr)


def compact(project: Project, keep: timedelta = timedelta(days=1)) -> None:
    with runs.recorded(project, "maintain") as run:
        maintain(project, target=SMALL, keep=keep, run=run, dry_run=False, young=timedelta(0))


def some_orders(rng: random.Random, name: int) -> str:
    """Orders of three days: new ones, and changed ones that take the place of others."""
    lines = {(rng.randint(1, 30), rng.randint(1, 3)) for _ in range(rng.randint(1, 12))}
    return HEADER + "".join(f"{number},2013-01-0{day},{name}\n" for number, day in sorted(lines))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 6))])
def test_the_copy_has_the_lakes_rows_after_upserts_and_compactions_with_and_without_history(
    seed: int, tmp_path: Path, port: int
) -> None:
    project, rng = new_project(tmp_path, port), random.Random(seed)
    for step in range(5):
        for commit in range(rng.randint(step == 0, 3)):
            ingest(project, some_orders(rng, 10 * step + commit))
        if rng.random() < 0.5:
            compact(project, timedelta(0) if rng.random() < 0.5 else timedelta(days=1))
        loaded(project)
        assert copy_of(project, "raw.orders", COLUMNS) == of_lake(project)
    assert not any(table.changed for table in loaded(project).tables)


@pytest.mark.usefixtures("aws")
def test_a_lake_in_s3_is_loaded_by_way_of_this_machines_disk(tmp_path: Path, port: int) -> None:
    """And so is one in a folder whose name the connector would take for a pattern."""
    settings = {"warehouse": f"s3://dpipe/{tmp_path.name}"}
    for place, own in (("in s3", settings), ("a [folder]*", {})):
        project = make_project(tmp_path / place, {"orders": UPSERT}, {"max_rejected_share": 1.0, **own})
        project = with_account(project, port)
        for number in range(2):
            ingest(project, f"{HEADER}1,2013-01-01,{number}\n{number},2013-01-02,1\n")
            loaded(project)
        assert copy_of(project, "raw.orders", COLUMNS) == of_lake(project)


def test_a_compaction_brings_nothing_to_be_copied_and_an_append_only_its_files(
    tmp_path: Path, port: int
) -> None:
    project = new_project(tmp_path, port, ORDERS)
    for number in range(4):
        ingest(project, f"{HEADER}{number},2013-01-01,1\n")
    loaded(project)
    compact(project)
    first = {table.table: table for table in loaded(project).tables}["raw.orders"]
    ingest(project, f"{HEADER}9,2013-01-01,1\n")
    second = {table.table: table for table in loaded(project).tables}["raw.orders"]
    assert (first.changed, first.files, first.reloaded_partitions) == (True, 0, 0)
    assert (second.files, second.rows, second.reloaded_partitions) == (1, 1, 0)
    assert copy_of(project, "raw.orders", COLUMNS) == of_lake(project)


def test_an_upsert_loads_only_the_partition_anew_whose_rows_it_replaced(tmp_path: Path, port: int) -> None:
    project = new_project(tmp_path, port)
    ingest(project, f"{HEADER}1,2013-01-01,1\n2,2013-01-02,1\n3,2013-01-03,1\n")
    loaded(project)
    ingest(project, f"{HEADER}2,2013-01-02,5\n")
    result = {table.table: table for table in loaded(project).tables}["raw.orders"]
    assert (result.files, result.rows, result.reloaded_partitions) == (1, 1, 1)
    assert copy_of(project, "raw.orders", COLUMNS) == of_lake(project)


@pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.long), 13])
def test_a_load_that_breaks_off_at_any_statement_leaves_each_row_once_when_it_is_run_again(
    stride: int, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is lost before a statement takes effect or after it, and with it what was not committed."""
    project = new_project(tmp_path, port)
    ingest(project, f"{HEADER}1,2013-01-01,0\n2,2013-01-02,0\n")
    broke_off = 0
    for step in itertools.count(step=stride):
        ingest(project, f"{HEADER}1,2013-01-01,{step + 1}\n{step + 10},2013-01-02,1\n")
        with monkeypatch.context() as patch:
            patch.setattr(Session, "_timed", cut_off(step // 2, answer_is_lost=step % 2 == 1))
            try:
                loaded(project)
            except UnavailableError:
                broke_off += 1
            else:
                break
        loaded(project)
        assert copy_of(project, "raw.orders", COLUMNS) == of_lake(project)
    assert broke_off * stride > 60


def cut_off(statements: int, *, answer_is_lost: bool) -> Callable[..., Any]:
    """What stands for `Session._timed`: so many statements are answered, and one more may take effect."""
    real, run = Session._timed, 0

    def timed(self: Session, sql: str, step: Callable[[], Any]) -> Any:
        nonlocal run
        run += 1
        if run <= statements:
            return real(self, sql, step)
        if run == statements + 1 and answer_is_lost:
            real(self, sql, step)
        raise UnavailableError("the connection is lost")

    return timed


def test_a_copy_that_somebody_else_changed_is_refused_and_made_anew_when_asked(
    tmp_path: Path, port: int
) -> None:
    project = new_project(tmp_path, port)
    ingest(project, f"{HEADER}1,2013-01-01,1\n2,2013-01-01,1\n")
    loaded(project)
    with connected(project) as session:
        session.execute(f"delete from {names_of(project).table('raw.orders')} where order_id = 1")
    ingest(project, f"{HEADER}3,2013-01-02,1\n")
    with pytest.raises(DpipeError, match="has 2 rows, its files 3") as error:
        loaded(project)
    assert error.value.hint is not None
    assert "--afresh raw.orders" in error.value.hint
    assert len(copy_of(project, "raw.orders", COLUMNS)) == 1  # the load that was refused changed nothing
    loaded(project, "raw.orders")
    assert copy_of(project, "raw.orders", COLUMNS) == of_lake(project)


def test_a_load_that_comes_second_is_refused(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes without a lock in common, as on two machines: both have looked, one comes first."""
    from dpipe.warehouse.snowflake import load as module

    project = new_project(tmp_path, port)
    ingest(project, f"{HEADER}1,2013-01-01,1\n")
    loaded(project)
    ingest(project, f"{HEADER}2,2013-01-01,1\n")
    real = module._upload
    inner: list[bool] = []

    def overtaken(*arguments: Any) -> Any:
        found = real(*arguments)
        if not inner and arguments[0].name == "raw.orders":
            inner.append(True)
            with connected(project) as session:
                load_lake(project, session, {"raw.orders": metadata_locations(project)["raw.orders"]})
        return found

    monkeypatch.setattr(module, "_upload", overtaken)
    with pytest.raises(DpipeError, match=r"another load of `raw\.orders` came first"):
        loaded(project)
    monkeypatch.undo()
    loaded(project)
    assert copy_of(project, "raw.orders", COLUMNS) == of_lake(project)


HEAD = ORDERS.partition("      - {")[0]
KEY = "      - {name: order_id, logicalType: integer, required: true, primaryKey: true, primaryKeyPosition: 1}\n"


def change_contract(project: Project, columns: str) -> None:
    (project.contracts / "orders.odcs.yaml").write_text(HEAD + KEY + columns)
    with runs.recorded(project, "contract apply") as run:
        evolve(project, "orders", may_drop={"note"}, run=run)


def test_added_renamed_widened_and_dropped_columns_follow_into_the_copy(tmp_path: Path, port: int) -> None:
    project = new_project(
        tmp_path,
        port,
        HEAD
        + KEY
        + "      - {name: price, logicalType: number, physicalType: 'decimal(5,2)'}\n"
        + "      - {name: note, logicalType: string}\n",
    )
    ingest(project, "order_id,price,note\n1,1.50,a\n")
    loaded(project)
    change_contract(
        project,
        "      - {name: cost, logicalType: number, physicalType: 'decimal(9,2)', customProperties: "
        "[{property: dpipe.renamedFrom, value: price}]}\n"
        "      - {name: city, logicalType: string}\n",
    )
    ingest(project, "order_id,cost,city\n2,1234567.25,Paris\n")
    loaded(project)
    columns = "order_id, cost, city"
    expected = [(1, Decimal("1.50"), None), (2, Decimal("1234567.25"), "Paris")]
    assert of_lake(project, columns) == expected
    assert copy_of(project, "raw.orders", columns) == expected
    # Made anew, files of before are read by the names that their columns had then.
    loaded(project, "raw.orders")
    assert copy_of(project, "raw.orders", columns) == expected
    with pytest.raises(DpipeError, match=r"(?i)note"):
        copy_of(project, "raw.orders", "note")


TYPES = """\
      - {name: whole, logicalType: integer, physicalType: int32}
      - {name: ratio, logicalType: number, physicalType: double}
      - {name: price, logicalType: number, physicalType: 'decimal(38,9)'}
      - {name: name, logicalType: string}
      - {name: yes, logicalType: boolean}
      - {name: day, logicalType: date}
      - {name: at, logicalType: timestamp, logicalTypeOptions: {timezone: true}}
      - {name: clock, logicalType: timestamp}
      - {name: "order", logicalType: string}
      - {name: tags, logicalType: array, items: {name: tag, logicalType: string}}
"""


def test_values_of_every_type_and_their_absence_come_through(tmp_path: Path, port: int) -> None:
    project = new_project(tmp_path, port, HEAD + KEY + TYPES)
    text = 'it\'s \\"ünï\\" \\\\ 中 \\u0000'
    (project.root / "a.ndjson").write_text(
        '{"order_id": 9007199254740993, "whole": -2147483648, "ratio": 0.1, '
        '"price": 12345678901234567890123456789.123456789, '
        f'"name": "{text}", "yes": false, "day": "0001-01-01", "at": "2020-02-29T23:59:59.123456+02:00", '
        '"clock": "9999-12-31T23:59:59", "order": "x", "tags": ["a", null]}\n'
        '{"order_id": 2}\n'
    )
    ingested = run_dpipe(project, "ingest", "orders", str(project.root / "a.ndjson"))
    assert ingested.returncode == 0, ingested.stderr
    result = processed(project)
    assert result.accepted == 2, [row["violations"] for row in rows_of(project, "quarantine", "orders")]
    loaded(project)
    columns = 'order_id, whole, ratio, price, name, yes, day, "AT", clock, "ORDER"'
    found = copy_of(project, "raw.orders", columns)
    assert found[0] == (2, *([None] * 9))
    assert found[1] == (
        9007199254740993,
        -2147483648,
        0.1,
        Decimal("12345678901234567890123456789.123456789"),
        'it\'s "ünï" \\ 中 \0',
        False,
        date(1, 1, 1),
        datetime(2020, 2, 29, 21, 59, 59, 123456, UTC),
        datetime(9999, 12, 31, 23, 59, 59),  # noqa: DTZ001 - it has no zone
        "x",
    )


@pytest.mark.skipif(REAL is not None, reason="it would take the user's key away")
def test_a_login_with_another_key_is_refused_with_advice(tmp_path: Path, port: int) -> None:
    project = new_project(tmp_path, port)
    private_key.cache_clear()
    (project.root / "key.p8").write_bytes(private_key())
    failed = run_dpipe(project, "warehouse", "load", "--json")
    assert failed.returncode == 2, failed.stdout
    assert "Snowflake refuses the login" in failed.stderr
    assert "dpipe warehouse init" in failed.stderr


@pytest.mark.skipif(REAL is not None, reason="it is there")
def test_a_server_that_is_not_there_is_unavailable(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project(tmp_path, port)
    config = project.root / "configs" / "dpipe.yaml"
    config.write_text(config.read_text().replace(f"port: {port}", "port: 9"))
    monkeypatch.setattr(session_module, "LOGIN_SECONDS", 1)
    with pytest.raises(UnavailableError, match="Snowflake did not answer"):
        loaded(load_project(project.root))


def test_a_table_that_the_lake_has_not_is_named(tmp_path: Path, port: int) -> None:
    project = new_project(tmp_path, port)
    with pytest.raises(UsageError, match=r"the lake has no table `raw\.nothing`"):
        loaded(project, "raw.nothing")


def test_a_project_without_an_account_is_told_what_to_write(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with pytest.raises(ConfigError, match="says nothing of a Snowflake account"):
        loaded(project)


def test_the_ledgers_copy_names_only_batches_whose_rows_are_there(tmp_path: Path, port: int) -> None:
    project = new_project(tmp_path, port)
    ingest(project, f"{HEADER}1,2013-01-01,1\n")
    result = loaded(project)
    assert result.tables[-1].table == "dpipe.batches"
    in_ledger = copy_of(project, "dpipe.batches", "batch_id, accepted")
    in_raw = copy_of(project, "raw.orders", "_dpipe_batch_id")
    assert in_ledger == [(in_raw[0][0], 1)]
    assert open_catalog(project).load_table("dpipe.batches").current_snapshot() is not None
