"""OpenLineage events of runs: what they say is what was committed, each is valid, and none is lost on its way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dpipe.iceberg import ledger, open_catalog
from dpipe.lineage import facets, names
from dpipe.state import runs
from lineage_receiver import SchemaCheckingReceiver, dpipe, problems, receiving, statistics, upstream
from stream_support import Kinesis, order
from support import ORDERS, make_project, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpipe.settings import Project

GOOD = "order_id,day,amount\n" + "".join(f"{number},2013-01-01,{number}.5\n" for number in range(1, 21))
MIXED = GOOD + "x,2013-01-01,1\n1,2013-01-01,1.5\n"
BAD = "order_id,day,amount\n" + "x,2013-01-01,1\n" * 3


@pytest.fixture
def receiver() -> Iterator[SchemaCheckingReceiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


def write(project: Project, content: str, name: str = "a.csv") -> str:
    path = project.root / name
    path.write_text(content)
    return str(path)


def made_of(dataset: dict[str, Any], column: str) -> set[tuple[str, str, str]]:
    """Name and field of what a column is made of, and how."""
    inputs = dataset["facets"]["columnLineage"]["fields"][column]["inputFields"]
    return {(one["name"], one["field"], one["transformations"][0]["subtype"]) for one in inputs}


def test_a_file_is_followed_from_landing_to_tables_by_counts_batches_and_runs(
    project: Project, receiver: SchemaCheckingReceiver
) -> None:
    path = write(project, MIXED)
    assert dpipe(project, receiver.url, "ingest", "orders", path).returncode == 0
    assert dpipe(project, receiver.url, "process").returncode == 0
    assert receiver.problems == []

    landed, processed = receiver.of_job("ingest.orders"), receiver.of_job("process.orders")
    assert [(one["namespace"], one["name"]) for one in landed["inputs"]] == [("file", path)]
    assert statistics(landed["outputs"][0]) == {"size": len(MIXED), "fileCount": 1}
    (row,) = ledger.rows(open_catalog(project))
    (batch,) = processed["run"]["facets"]["dpipe_run"]["batches"]
    assert (
        batch["batchId"] == row["batch_id"] == landed["run"]["facets"]["dpipe_run"]["batches"][0]["batchId"]
    )
    assert (batch["recordsIn"], batch["accepted"], batch["rejected"], batch["duplicate"]) == (22, 20, 1, 1)
    assert processed["run"]["facets"]["dpipe_run"]["runId"] == row["run_id"]

    (source,) = processed["inputs"]
    raw, quarantine = processed["outputs"]
    assert (source["namespace"], source["name"]) == (
        landed["outputs"][0]["namespace"],
        landed["outputs"][0]["name"],
    )
    assert statistics(source) == {"rowCount": 22, "size": len(MIXED), "fileCount": 1}
    files = {
        kind: [file for file in row["files"] if file["kind"] == kind] for kind in ("accepted", "quarantine")
    }
    assert statistics(raw)["rowCount"] == 20
    assert statistics(raw)["size"] == sum(file["bytes"] for file in files["accepted"]) > 0
    assert statistics(quarantine) == {
        "rowCount": 2,
        "size": sum(file["bytes"] for file in files["quarantine"]),
        "fileCount": 1,
    }
    assert raw["facets"]["version"]["datasetVersion"] == str(row["snapshot_id"])
    amount = raw["facets"]["dataQualityMetrics"]["columnMetrics"]["amount"]
    assert (amount["nullCount"], amount["count"], amount["min"], amount["max"]) == (0, 20, 1.5, 20.5)
    assert [one["name"] for one in raw["facets"]["schema"]["fields"]][:3] == ["order_id", "day", "amount"]
    assert made_of(raw, "amount") == {(source["name"], "amount", "IDENTITY")}

    assert upstream(processed) == {"ingest.orders": landed["run"]["runId"]}
    above = processed["run"]["facets"]["parent"]
    assert (
        above["run"]["runId"]
        == names.run_uuid(row["run_id"])
        == receiver.of_job("dpipe.process")["run"]["runId"]
    )


def test_every_run_starts_once_and_ends_once(project: Project, receiver: SchemaCheckingReceiver) -> None:
    dpipe(project, receiver.url, "ingest", "orders", write(project, GOOD))
    dpipe(project, receiver.url, "process")
    assert len(receiver.runs()) == 4
    assert set(map(tuple, receiver.runs().values())) == {("START", "COMPLETE")}


def test_a_run_that_fails_says_so_with_its_error(project: Project, receiver: SchemaCheckingReceiver) -> None:
    dpipe(project, receiver.url, "ingest", "orders", write(project, BAD))
    assert dpipe(project, receiver.url, "process").returncode == 1
    failed = receiver.of_job("dpipe.process", "FAIL")
    assert "refused 1 batch(es)" in failed["run"]["facets"]["errorMessage"]["message"]
    stage = receiver.of_job("process.orders", "FAIL")
    assert len(stage["run"]["facets"]["dpipe_run"]["refused"]) == 1
    assert stage["outputs"] == []
    assert dpipe(project, receiver.url, "ingest", "orders", str(project.root / "none.csv")).returncode == 2
    assert "none.csv" in receiver.of_job("dpipe.ingest", "FAIL")["run"]["facets"]["errorMessage"]["message"]
    assert receiver.problems == []


def test_replayed_records_come_from_quarantine(project: Project, receiver: SchemaCheckingReceiver) -> None:
    dpipe(project, receiver.url, "ingest", "orders", write(project, GOOD + "21,2013-01-01,-1\n"))
    dpipe(project, receiver.url, "process")
    contract = project.contracts / "orders.odcs.yaml"
    contract.write_text(contract.read_text().replace("{minimum: 0}", "{minimum: -5}"))
    receiver.events.clear()
    done = dpipe(project, receiver.url, "quarantine", "replay", "orders")
    assert done.returncode == 0, done.stderr
    replayed = receiver.of_job("process.orders")
    assert [Path(one["name"]).parts[-2:] for one in replayed["inputs"]] == [
        ("landing", "orders"),
        ("quarantine", "orders"),
    ]
    assert replayed["run"]["facets"]["dpipe_run"]["batches"][0]["origin"].startswith("file-")
    assert receiver.problems == []


def test_fields_of_renamed_columns_are_origins_too(tmp_path: Path, receiver: SchemaCheckingReceiver) -> None:
    renamed = ORDERS.replace(
        "{name: amount,", "{name: euros, customProperties: [{property: dpipe.renamedFrom, value: amount}],"
    )
    project = make_project(tmp_path, {"orders": renamed})
    dpipe(project, receiver.url, "ingest", "orders", write(project, GOOD.replace("amount", "euros")))
    dpipe(project, receiver.url, "process")
    raw, *_ = receiver.of_job("process.orders")["outputs"]
    assert {(field, how) for _, field, how in made_of(raw, "euros")} == {
        ("euros", "IDENTITY"),
        ("amount", "IDENTITY"),
    }


def test_events_wait_for_a_receiver_that_is_away_and_come_in_order(
    project: Project, receiver: SchemaCheckingReceiver
) -> None:
    receiver.refuse = 503
    done = dpipe(project, receiver.url, "ingest", "orders", write(project, GOOD))
    assert done.returncode == 0
    assert "lineage events of 1 run(s) wait" in done.stderr
    asked = receiver.asked
    assert dpipe(project, receiver.url, "process").returncode == 0
    assert receiver.asked == asked, "a receiver that failed just now is left alone for a while"
    failed = dpipe(project, receiver.url, "runs", "events", "--deliver")
    assert failed.returncode == 3
    assert "503" in failed.stderr

    receiver.refuse = None
    done = dpipe(project, receiver.url, "runs", "events", "--deliver", "--json")
    assert json.loads(done.stdout) == {"taken": 8, "refused": 0, "waiting": 0}
    assert [f"{one['eventType']} {one['job']['name']}" for one in receiver.events] == [
        "START dpipe.ingest",
        "START ingest.orders",
        "COMPLETE ingest.orders",
        "COMPLETE dpipe.ingest",
        "START dpipe.process",
        "START process.orders",
        "COMPLETE process.orders",
        "COMPLETE dpipe.process",
    ]
    assert list(project.undelivered_lineage.glob("*.ndjson")) == []


def test_nobody_there_is_a_warning_without_secrets(project: Project) -> None:
    done = dpipe(
        project,
        "http://127.0.0.1:9/lineage?token=hush-hush",
        *("ingest", "orders", write(project, GOOD)),
        DPIPE_LINEAGE_API_KEY="hush-hush",
    )
    assert done.returncode == 0
    assert "wait in" in done.stderr
    assert "hush-hush" not in done.stdout + done.stderr


def test_what_is_refused_for_good_is_kept_and_holds_up_nothing(
    project: Project, receiver: SchemaCheckingReceiver
) -> None:
    receiver.refuse = 422
    done = dpipe(project, receiver.url, "ingest", "orders", write(project, GOOD))
    assert done.returncode == 0
    assert "refused" in done.stderr
    kept = [
        json.loads(line) for line in (project.undelivered_lineage / "refused.jsonl").read_text().splitlines()
    ]
    assert len(kept) == 4
    assert {one["answer"] for one in kept} == {"422 Unprocessable Entity: not now"}
    receiver.refuse = None
    dpipe(project, receiver.url, "process")
    assert receiver.of_job("dpipe.process")


def test_a_round_of_a_worker_is_a_run_with_events(project: Project, receiver: SchemaCheckingReceiver) -> None:
    dpipe(project, receiver.url, "ingest", "orders", write(project, GOOD))
    assert dpipe(project, receiver.url, "worker", "--once").returncode == 0
    processed, above = receiver.of_job("process.orders"), receiver.of_job("dpipe.worker")
    assert processed["run"]["facets"]["parent"]["run"]["runId"] == above["run"]["runId"]
    assert upstream(processed) == {"ingest.orders": receiver.of_job("ingest.orders")["run"]["runId"]}
    assert receiver.problems == []


def test_what_lands_out_of_a_stream_comes_from_the_stream(
    project: Project, receiver: SchemaCheckingReceiver, kinesis: Kinesis
) -> None:
    name = kinesis.create()
    kinesis.put(name, *map(order, range(20)))
    uri = f"kinesis://{name}?region=us-east-1"
    assert dpipe(project, receiver.url, "ingest", "orders", "--from", uri).returncode == 0
    landed = receiver.of_job("ingest.orders")
    assert [one["namespace"] for one in landed["inputs"]] == [f"kinesis://{name}"]
    assert statistics(landed["outputs"][0])["rowCount"] == 20
    assert receiver.problems == []


def test_the_key_goes_along_as_a_bearer_token(project: Project, receiver: SchemaCheckingReceiver) -> None:
    path = write(project, GOOD)
    dpipe(project, receiver.url, "ingest", "orders", path, DPIPE_LINEAGE_API_KEY="hush-hush")
    assert set(receiver.authorizations) == {"Bearer hush-hush"}


def test_a_file_takes_one_event_a_line(tmp_path: Path) -> None:
    project = make_project(tmp_path, settings={"lineage_file": "var/lineage.ndjson"})
    run_dpipe(project, "ingest", "orders", write(project, GOOD))
    run_dpipe(project, "process")
    events = [json.loads(line) for line in (tmp_path / "var/lineage.ndjson").read_text().splitlines()]
    assert [one["eventType"] for one in events] == ["START", "START", "COMPLETE", "COMPLETE"] * 2
    assert [problem for event in events for problem in problems(event)] == []
    assert not project.undelivered_lineage.exists()


def test_without_settings_no_event_is_made(project: Project) -> None:
    run_dpipe(project, "ingest", "orders", write(project, GOOD))
    assert not project.undelivered_lineage.exists()
    done = run_dpipe(project, "runs", "events", "--deliver")
    assert done.returncode == 2
    assert "lineage_url" in done.stderr


def test_an_address_that_is_none_is_said_before_anything_is_done(project: Project) -> None:
    path = write(project, GOOD)
    done = dpipe(project, "marquez:5000", "ingest", "orders", path)
    assert done.returncode == 2
    assert "lineage_url" in done.stderr
    assert runs.latest(project) == []


def test_the_events_of_a_run_can_be_made_again_and_are_the_same(
    project: Project, receiver: SchemaCheckingReceiver
) -> None:
    dpipe(project, receiver.url, "ingest", "orders", write(project, GOOD))
    (run,) = runs.latest(project)
    printed = run_dpipe(project, "runs", "events", run["run_id"])
    again = [json.loads(line) for line in printed.stdout.splitlines()]
    assert again[1:] == receiver.events[1:]
    assert again[0]["run"] == receiver.events[0]["run"]


def test_the_receiver_finds_what_is_wrong(project: Project, receiver: SchemaCheckingReceiver) -> None:
    dpipe(project, receiver.url, "ingest", "orders", write(project, GOOD))
    event = receiver.of_job("ingest.orders")
    assert problems(event) == []
    for broken in (
        event | {"eventType": "DONE"},
        event | {"job": {"name": "without a namespace"}},
        event | {"run": event["run"] | {"facets": {"parent": facets.facet("ParentRunFacet", run={})}}},
        event
        | {"run": event["run"] | {"facets": {"errorMessage": facets.facet("ErrorMessageRunFacet", text="")}}},
        event | {"run": event["run"] | {"facets": {"dpipe_run": facets.own(runId=1, command="run")}}},
    ):
        assert problems(broken) != []


def test_ids_of_runs_are_uuids_of_version_7_that_begin_with_the_time() -> None:
    first, second = names.run_uuid("20261126T183444-41b8e435"), names.run_uuid("20261126T183445-00000000")
    assert (
        first
        == names.run_uuid("20261126T183444-41b8e435")
        != names.run_uuid("20261126T183444-41b8e435", "publish")
    )
    assert first < second
    assert first[14] == "7"
    assert first[19] in "89ab"


def test_datasets_are_called_by_the_naming_conventions(project: Project) -> None:
    assert names.of_location("s3://bucket/raw/orders") == names.Dataset("s3://bucket", "raw/orders")
    assert names.of_location("file:///lake/raw/orders") == names.Dataset("file", "/lake/raw/orders")
    of = names.Names(project).source
    assert of("data/*.csv") == names.Dataset("file", f"{project.root}/data/*.csv")
    assert of("arn:aws:kinesis:eu-west-1:000000000000:stream/orders") == names.Dataset(
        "kinesis://orders", "/"
    )
    assert of("kinesis://orders?region=eu-west-1") == names.Dataset("kinesis://orders", "/")
