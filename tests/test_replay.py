"""Replay: what a mended contract or a mended record makes good becomes rows, once, as the records that they were."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dpipe import landing
from dpipe.contract import contract_for
from dpipe.errors import UsageError
from dpipe.failpoints import ENVIRONMENT_VARIABLE, NAMES
from dpipe.iceberg import open_catalog, quarantine
from dpipe.iceberg.catalog import metadata_locations
from dpipe.landing import land_replay
from dpipe.stages import patch
from dpipe.stages import replay as stage
from dpipe.stages.audit.story import story
from dpipe.stages.audit.verify import verify
from dpipe.stages.process import process
from dpipe.stages.replay import ReplayResult, Selection, replay
from dpipe.state import runs
from dpipe.warehouse import batches as warehouse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import ORDERS, make_project, rows_of, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dpipe.settings import Project
    from dpipe.stages.process import ProcessResult

HEADER = "order_id,day,amount\n"
# Records 2 and 4 break the minimum, record 5 has no number.
CONTENT = HEADER + "1,2013-01-01,5\n2,2013-01-01,-1\n3,2013-01-02,7\n4,2013-01-02,-50\nx,2013-01-02,1\n"
KEYLESS = (
    ORDERS.replace(" primaryKey: true,", "")
    .replace("primaryKeyPosition: 1,", "")
    .replace("primaryKeyPosition: 2,\n", "\n")
)
ALL_MAY_BE_BROKEN = {"max_rejected_share": 1.0}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return made(tmp_path / "a project")


def made(folder: Path, text: str = ORDERS) -> Project:
    return make_project(folder, {"orders": text}, ALL_MAY_BE_BROKEN)


def ingest(project: Project, content: str | bytes, name: str = "a.csv") -> str:
    path = project.root / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    batch_id = landing.land_file(project, "orders", path).manifest.batch_id
    processed(project)
    return batch_id


def processed(project: Project) -> ProcessResult:
    with runs.recorded(project, "process") as run:
        (result,) = process(project, run=run)
    return result


def replayed(
    project: Project,
    selection: Selection | None = None,
    patches: Mapping[tuple[str, int], bytes] | None = None,
    *,
    dry_run: bool = False,
) -> ReplayResult:
    with runs.recorded(project, "replay") as run:
        return replay(project, "orders", selection or Selection(), run=run, patches=patches, dry_run=dry_run)


def mend(project: Project, before: str = "minimum: 0", after: str = "minimum: -10") -> None:
    path = project.contracts / "orders.odcs.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def rows(project: Project) -> dict[int, Any]:
    """The amounts in raw by the number of the record."""
    return {row["_dpipe_record_no"]: row["amount"] for row in rows_of(project, "raw", "orders")}


def open_numbers(project: Project) -> list[int]:
    found = quarantine.open_records(open_catalog(project), "orders")
    return sorted(row["_dpipe_record_no"] for row in found)


def assert_holds(project: Project) -> None:
    (audit,) = verify(project)
    assert audit.findings == []


def test_a_mended_contract_brings_records_into_raw_as_what_they_were(project: Project) -> None:
    origin = ingest(project, CONTENT)
    before = rows_of(project, "quarantine", "orders")
    old = contract_for(project, "orders").hash
    mend(project)
    result = replayed(project)
    assert (result.looked_at, result.replayed, result.still_broken) == (3, 1, 2)
    assert {(broken["column"], broken["rule"], broken["records"]) for broken in result.violations} == {
        ("amount", "minimum", 1),
        ("order_id", "type", 1),
    }
    (row,) = [row for row in rows_of(project, "raw", "orders") if row["order_id"] == 2]
    assert (row["_dpipe_batch_id"], row["_dpipe_record_no"]) == (origin, 2)
    assert row["_dpipe_contract"] == contract_for(project, "orders").hash
    # The judgement of then stays what it was, so the record can be traced to both contracts.
    assert rows_of(project, "quarantine", "orders") == before
    assert {row["_dpipe_contract"] for row in before} == {old}
    assert open_numbers(project) == [4, 5]
    assert_holds(project)


def test_replaying_twice_adds_nothing(project: Project) -> None:
    ingest(project, CONTENT)
    mend(project)
    replayed(project)
    before = rows_of(project, "raw", "orders"), rows_of(project, "quarantine", "orders")
    result = replayed(project)
    assert (result.looked_at, result.replayed, result.process) == (2, 0, None)
    assert (rows_of(project, "raw", "orders"), rows_of(project, "quarantine", "orders")) == before


def test_without_a_change_nothing_is_replayed(project: Project) -> None:
    ingest(project, CONTENT)
    assert replayed(project).replayed == 0
    assert landing.batch_ids(project, "orders") == {landing.manifests(project, "orders")[0].batch_id}


def test_a_dry_run_says_what_would_be_and_changes_nothing(project: Project) -> None:
    ingest(project, CONTENT)
    mend(project)
    result = replayed(project, dry_run=True)
    assert (result.replayed, result.batches, result.process) == (1, [], None)
    assert len(landing.batch_ids(project, "orders")) == 1
    assert sorted(rows(project)) == [1, 3]


def test_records_are_chosen_by_batch_rule_and_number(project: Project) -> None:
    first = ingest(project, CONTENT)
    second = ingest(project, HEADER + "10,2013-01-01,-1\n11,2013-01-01,-2\n", "b.csv")
    mend(project)
    assert replayed(project, Selection(batch="nothing")).looked_at == 0
    assert replayed(project, Selection(rule="type")).looked_at == 1
    assert replayed(project, Selection(batch=second, record_nos=frozenset({2}))).replayed == 1
    assert replayed(project, Selection(batch=first[:12])).replayed == 1
    assert replayed(project).replayed == 1
    assert_holds(project)


def test_a_mended_record_is_a_row_and_its_bytes_of_then_stay(project: Project, tmp_path: Path) -> None:
    origin = ingest(project, CONTENT)
    exported = tmp_path / "bad.ndjson"
    assert run_dpipe(project, "quarantine", "export", "orders", "--to", str(exported)).returncode == 0
    lines = [json.loads(line) for line in exported.read_text().splitlines()]
    assert [(line["record_no"], line["raw"]) for line in lines] == [
        (2, "2,2013-01-01,-1"),
        (4, "4,2013-01-02,-50"),
        (5, "x,2013-01-02,1"),
    ]
    lines[2]["raw"] = "5,2013-01-02,1"
    exported.write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = run_dpipe(project, "quarantine", "replay", "orders", "--patch", str(exported), "--json")
    result = json.loads(said.stdout)
    assert (result["looked_at"], result["replayed"], result["unchanged"]) == (3, 1, 2)
    assert rows(project) == {1: 5.0, 3: 7.0, 5: 1.0}
    assert b"x,2013-01-02,1" in [row["raw"] for row in rows_of(project, "quarantine", "orders")]
    again = json.loads(
        run_dpipe(project, "quarantine", "replay", "orders", "--patch", str(exported), "--json").stdout
    )
    assert (again["replayed"], again["not_open"]) == (0, 1)
    assert [event.what for event in story(project, origin).events][-1] == "replayed"
    told = story(project, origin, 5).record
    assert told is not None
    assert told.row is not None
    assert (told.disposition, told.row["order_id"], len(told.judgements)) == ("accepted", 5, 1)
    assert_holds(project)


def test_a_mended_record_that_is_still_broken_stays_in_quarantine(project: Project) -> None:
    origin = ingest(project, CONTENT)
    result = replayed(project, patches={(origin, 5): b"y,2013-01-02,1"})
    assert (result.replayed, result.still_broken) == (0, 1)
    assert open_numbers(project) == [2, 4, 5]


@pytest.mark.parametrize(
    ("raw", "replays"),
    [
        (b'6,2013-01-02,"1"', 1),
        (b"6,2013-01-02,1\n7,2013-01-02,1", 0),
        (b'6,2013-01-02,"1', 0),
        (b"# no record", 0),
        (b" ", 0),
    ],
)
def test_a_patch_is_one_record_or_none(project: Project, raw: bytes, replays: int) -> None:
    """Beside another that is sound, so that the one could take the place of the other."""
    origin = ingest(project, CONTENT)
    result = replayed(project, patches={(origin, 4): b"40,2013-01-02,4", (origin, 5): raw})
    assert result.replayed == 1 + replays
    assert rows(project) == {1: 5.0, 3: 7.0, 4: 4.0} | ({5: 1.0} if replays else {})
    assert_holds(project)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", ":1: Expecting value"),
        ("[]", ":1: no JSON object"),
        ('{"batch_id": "a", "record_no": 1}', "`raw` is missing"),
        ('{"batch_id": "a", "record_no": true, "raw": "x"}', "`record_no` a whole number"),
        ('{"batch_id": "a", "record_no": 1, "raw": 7}', "`raw` is a text"),
        ('{"batch_id": "a", "record_no": 1, "raw": ""}', "has 0 bytes"),
        (
            '{"batch_id": "a", "record_no": 1, "raw": "' + "x" * 30 + '"}',
            "has 30 bytes, and 1 to 20 are read",
        ),
        ('{"batch_id": "a", "record_no": 1, "raw_base64": "!"}', "base64"),
        (
            '{"batch_id": "a", "record_no": 1, "raw": "x"}\n{"batch_id": "a", "record_no": 1, "raw": "y"}',
            ":2: record 1",
        ),
    ],
)
def test_what_is_no_patch_is_named_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "patch.ndjson"
    path.write_text(line + "\n")
    with pytest.raises(UsageError) as refused:
        patch.read(path, 20)
    assert said in refused.value.message


def test_bytes_that_are_no_text_go_through_a_patch(project: Project) -> None:
    origin = ingest(project, CONTENT.encode() + b"\xff,2013-01-01,1\n")
    (row,) = [row for row in rows_of(project, "quarantine", "orders") if row["_dpipe_record_no"] == 6]
    path = project.root / "patch.ndjson"
    path.write_text("\n" + patch.line(row))
    assert patch.read(path, 100) == {(origin, 6): b"\xff,2013-01-01,1"}


def test_a_replayed_record_whose_key_is_there_is_a_duplicate(project: Project) -> None:
    origin = ingest(project, CONTENT)
    winner = ingest(project, HEADER + "2,2013-01-01,8\n", "b.csv")
    mend(project)
    result = replayed(project)
    assert result.process is not None
    assert (result.process.accepted, result.process.duplicate) == (0, 1)
    kept = [row for row in rows_of(project, "quarantine", "orders") if row["disposition"] == "duplicate"]
    assert [(row["_dpipe_batch_id"], row["_dpipe_record_no"]) for row in kept] == [(origin, 2)]
    assert [(row["winner_batch_id"], row["winner_record_no"]) for row in kept] == [(winner, 1)]
    assert open_numbers(project) == [4, 5]
    assert_holds(project)


def test_a_record_that_another_process_replayed_meanwhile_is_refused(tmp_path: Path) -> None:
    """Without a key nothing but its number tells that the record is there."""
    project = made(tmp_path / "a project", KEYLESS)
    assert contract_for(project, "orders").plan.key == ()
    origin = ingest(project, CONTENT)
    mend(project)
    replayed(project)
    late = land_replay(
        project, "orders", b"order_id,day,amount\n2,2013-01-01,-1\n",
        origin=origin, record_nos=(2,), format="csv", identity="another",
    )  # fmt: skip
    result = processed(project)
    assert [refusal.batch_id for refusal in result.refused] == [late.manifest.batch_id]
    assert "is in raw" in result.refused[0].reasons[0]
    assert rows(project) == {1: 5.0, 2: -1.0, 3: 7.0}
    assert_holds(project)


def test_a_payload_with_other_records_than_its_numbers_is_refused(project: Project) -> None:
    origin = ingest(project, CONTENT)
    for number, payload in enumerate(
        (b"order_id,day,amount\n", b"order_id,day,amount\n8,2013-01-01,1\n9,2013-01-01,1\n")
    ):
        land_replay(
            project, "orders", payload, origin=origin, record_nos=(4 + number,), format="csv", identity="c"
        )
    result = processed(project)
    assert len(result.refused) == 2
    assert all("number" in refusal.reasons[0] for refusal in result.refused)
    assert sorted(rows(project)) == [1, 3]
    assert_holds(project)


def test_rules_on_whole_batches_are_not_for_replays(tmp_path: Path) -> None:
    rule = "    quality:\n      - {name: enough, metric: rowCount, mustBeGreaterThan: 1}\n    properties:\n"
    project = made(tmp_path / "a project", ORDERS.replace("    properties:\n", rule))
    ingest(project, CONTENT)
    mend(project)
    assert replayed(project).process is not None
    assert sorted(rows(project)) == [1, 2, 3]


@pytest.mark.parametrize("name", ["a.ndjson", "a.json", "a.parquet", "a.csv.gz"])
def test_records_of_every_format_are_replayed(project: Project, name: str) -> None:
    records = [
        {"order_id": number, "day": f"2013-01-0{number}", "amount": -1.0 if number % 2 else 2.0}
        for number in range(1, 7)
    ]
    path = project.root / name
    if name.endswith("ndjson"):
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    elif name.endswith("json"):
        path.write_text(json.dumps(records, indent=2))
    elif name.endswith("parquet"):
        table = pa.Table.from_pylist(records)
        pq.write_table(table.set_column(1, "day", table["day"].cast(pa.date32())), path)
    else:
        lines = [",".join(map(str, record.values())) for record in records]
        path.write_bytes(gzip.compress((HEADER + "\n".join(lines)).encode()))
    landing.land_file(project, "orders", path)
    processed(project)
    mend(project)
    assert replayed(project).replayed == 3
    assert rows(project) == {number: -1.0 if number % 2 else 2.0 for number in range(1, 7)}
    assert_holds(project)


def test_a_record_that_is_not_kept_whole_is_left_out(project: Project) -> None:
    whole = gzip.compress(
        HEADER.encode() + b"".join(b"%d,2013-01-01,-1\n" % number for number in range(2000))
    )
    ingest(project, whole[: len(whole) // 2], "a.csv.gz")
    mend(project)
    result = replayed(project)
    assert result.incomplete == 1
    assert result.replayed == result.looked_at - 1
    assert_holds(project)


@pytest.mark.parametrize("point", NAMES)
def test_a_replay_after_a_kill_gives_the_same_rows(tmp_path: Path, point: str) -> None:
    project = made(tmp_path / "a project")
    ingest(project, CONTENT)
    mend(project)
    killed = run_dpipe(project, "quarantine", "replay", "orders", environment={ENVIRONMENT_VARIABLE: point})
    assert killed.returncode < 0
    replayed(project)
    processed(project)
    assert rows(project) == {1: 5.0, 2: -1.0, 3: 7.0}
    assert_holds(project)


def test_replays_and_processes_at_once_bring_each_record_once(project: Project) -> None:
    ingest(
        project, HEADER + "".join(f"{number},2013-01-01,{-1 if number % 3 else 1}\n" for number in range(300))
    )
    mend(project)
    commands = [["quarantine", "replay", "orders"], ["process"], ["quarantine", "replay", "orders"]]
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "dpipe", "-q", "--project", str(project.root), *command],
            stdout=subprocess.DEVNULL,
            env=os.environ,
        )
        for command in commands
    ]
    assert [child.wait() for child in children] == [0, 0, 0]
    assert sorted(rows(project)) == list(range(1, 301))
    assert len(rows_of(project, "raw", "orders")) == 300
    assert_holds(project)


def test_the_list_says_what_is_still_open(project: Project) -> None:
    ingest(project, CONTENT)
    mend(project)
    replayed(project)
    found = json.loads(run_dpipe(project, "quarantine", "list", "orders", "--json").stdout)
    assert {(row["rule"], row["records"], row["open"]) for row in found} == {
        ("minimum", 2, 1),
        ("type", 1, 1),
    }


def test_models_select_the_batch_that_a_replay_came_from(tmp_path: Path) -> None:
    database = tmp_path / "warehouse.duckdb"
    held = [
        warehouse.Batch("orders", "file-a", 1),
        warehouse.Batch("orders", "replay-b", 2, origin="file-old"),
    ]
    warehouse.begin(database, held)
    with duckdb.connect(str(database)) as connection:
        selected = connection.execute("select batch_id from dpipe_meta.batches_to_transform").fetchall()
    assert sorted(selected) == [("file-a",), ("file-old",)]
    warehouse.finish(database, "hash", "run")
    assert warehouse.contents(database).batches == frozenset(held)


def test_models_take_a_replays_rows_as_received_with_their_batch(project: Project) -> None:
    origin = ingest(project, CONTENT)
    mend(project)
    (replay_id,) = replayed(project).batches
    held = {batch.batch_id: batch for batch in warehouse.ledger(metadata_locations(project))}
    assert held[replay_id].received_at == held[origin].received_at is not None
    database = project.root / "warehouse.duckdb"
    warehouse.begin(database, held.values())
    with duckdb.connect(str(database)) as connection:
        selected = connection.execute(
            "select distinct batch_id, received_at::varchar from dpipe_meta.batches_to_transform"
        ).fetchall()
    assert selected == [(origin, held[origin].received_at)]


def test_the_manifest_of_a_replay_names_its_origin(project: Project) -> None:
    origin = ingest(project, CONTENT)
    mend(project)
    (batch_id,) = replayed(project).batches
    manifest = landing.find(project, batch_id)
    assert (manifest.kind, manifest.origin, manifest.record_nos) == ("replay", origin, (2,))
    path = project.landing / "orders" / batch_id / "manifest.json"
    document = json.loads(path.read_text())
    for change in ({"record_nos": [0]}, {"record_nos": None}, {"origin": None}):
        path.write_text(json.dumps(document | change))
        (finding, *_) = verify(project)[0].findings
        assert finding.check == "landing"


def test_records_of_a_replay_that_came_to_nothing_are_replayed_again(project: Project) -> None:
    """Landed under one contract, judged by another, and then the first one is back."""
    ingest(project, CONTENT)
    mend(project)
    environment = {ENVIRONMENT_VARIABLE: "after-kernel"}
    assert run_dpipe(project, "quarantine", "replay", "orders", environment=environment).returncode < 0
    mend(project, "minimum: -10", "minimum: 0")
    assert processed(project).rejected == 1
    mend(project)
    result = replayed(project)
    assert result.process is not None
    assert result.process.accepted == 1
    assert open_numbers(project) == [4, 5]
    assert_holds(project)


def test_records_of_a_refused_replay_are_open_to_another(project: Project) -> None:
    origin = ingest(project, CONTENT)
    mend(project)
    land_replay(
        project, "orders", HEADER.encode(), origin=origin, record_nos=(2,), format="csv", identity="c"
    )
    assert len(processed(project).refused) == 1
    assert replayed(project).replayed == 1
    assert open_numbers(project) == [4, 5]


def test_a_record_that_is_about_to_be_replayed_is_not_dismissed(project: Project) -> None:
    ingest(project, CONTENT)
    mend(project)
    environment = {ENVIRONMENT_VARIABLE: "after-kernel"}
    assert run_dpipe(project, "quarantine", "replay", "orders", environment=environment).returncode < 0
    command = ("quarantine", "dismiss", "orders", "--all", "--reason", "why", "--json")
    assert json.loads(run_dpipe(project, *command).stdout)["dismissed"] == 2
    processed(project)
    assert sorted(rows(project)) == [1, 2, 3]


def test_records_of_many_batches_are_read_together_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "MOST_BYTES", 100)
    found: list[dict[str, Any]] = [
        {
            "_dpipe_batch_id": f"file-{number % 20}",
            "_dpipe_record_no": number,
            "raw": b"x" * 10,
            "raw_format": "ndjson",
            "raw_header": None,
            "violations": [],
        }
        for number in range(1, 401)
    ]
    groups = list(stage._grouped(iter(found), None, ReplayResult("orders")))
    assert sum(len(group.records) for group in groups) == 400
    assert max(group.size for group in groups) <= 100
    assert len(groups) < 250


def test_dismissed_records_are_no_longer_open_and_keep_the_reason(project: Project) -> None:
    origin = ingest(project, CONTENT)
    command = ("quarantine", "dismiss", "orders", "--rule", "minimum", "--reason", "test orders", "--json")
    assert json.loads(run_dpipe(project, *command).stdout) == {"dataset": "orders", "dismissed": 2}
    assert json.loads(run_dpipe(project, *command).stdout) == {"dataset": "orders", "dismissed": 0}
    assert open_numbers(project) == [5]
    mend(project)
    assert replayed(project).replayed == 0
    told = story(project, origin, 2).record
    assert told is not None
    assert told.dismissed is not None
    assert (told.disposition, told.dismissed["reason"]) == ("rejected", "test orders")
    assert "test orders" in run_dpipe(project, "audit", "show", origin, "--record", "2").stdout
    assert_holds(project)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--reason", "why"),
        ("--reason", "why", "--all", "--rule", "type"),
        ("--reason", " ", "--all"),
        ("--reason", "why", "--batch", ""),
    ],
)
def test_what_is_dismissed_must_be_chosen_and_have_a_reason(
    project: Project, arguments: tuple[str, ...]
) -> None:
    ingest(project, CONTENT)
    assert run_dpipe(project, "quarantine", "dismiss", "orders", *arguments).returncode == 2
    assert open_numbers(project) == [2, 4, 5]


FIELD = st.one_of(
    st.sampled_from(["1", "-5", "-50", "", '"3"', '"4""', '"', 'a"b', '"1\n', "x", "\\", "-1.5"]),
    st.integers(-12, 12).map(str),
)
RECORD = st.tuples(
    st.integers(1, 40).map(str), st.sampled_from(["2013-01-01", '"2013-01-02"', "2013-02-30", ""]), FIELD
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(RECORD, min_size=1, max_size=12))
def test_what_is_replayed_is_what_the_contract_would_have_taken(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, str, str]]
) -> None:
    content = HEADER + "".join(",".join(record) + "\n" for record in records)
    project, oracle = (made(tmp_path_factory.mktemp(name) / "p", KEYLESS) for name in ("replayed", "oracle"))
    ingest(project, content)
    mend(project)
    replayed(project)
    mend(oracle)
    ingest(oracle, content)
    values = [
        [
            {name: value for name, value in row.items() if not name.startswith("_dpipe_contract")}
            for row in rows_of(one, "raw", "orders")
        ]
        for one in (project, oracle)
    ]
    assert values[0] == values[1]
    assert_holds(project)
