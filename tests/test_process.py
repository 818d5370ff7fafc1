"""Process: each batch once, every record in raw or in quarantine, a refused batch alone."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dpipe import failpoints, landing, outcomes
from dpipe.app import app, main
from dpipe.errors import DpipeError, UnavailableError
from dpipe.iceberg import existing, ledger, open_catalog, reading
from dpipe.stages import gate, group
from dpipe.stages import process as stage
from dpipe.stages.audit.story import story
from dpipe.stages.audit.verify import verify
from dpipe.stages.batches import batches, find_batch
from dpipe.stages.process import ProcessResult, process
from dpipe.state import processing, quality, runs
from support import ORDERS, lake_content, make_project, rows_of, run_dpipe
from typer.testing import CliRunner

if TYPE_CHECKING:
    from dpipe.settings import Project

pytest.importorskip("dpipe._kernel")

HEADER = "order_id,day,amount\n"
GOOD = HEADER + "1,2013-01-01,2.5\n2,2013-01-01,\n3,2013-01-02,7\n"
ONE_BAD = HEADER + "".join(f"{number},2013-02-01,1\n" for number in range(100, 119)) + "x,2013-02-01,1\n"
ALL_BAD = HEADER + "4,2013-01-01,-1\nx,2013-01-01,1\n5,,1\n"
WITH_RULES = ORDERS.replace(
    "    properties:\n",
    """\
    quality:
      - {name: enough_orders, metric: rowCount, mustBeGreaterThan: 1}
      - {name: not_too_many, metric: rowCount, mustBeLessThan: 3, severity: warning}
    properties:
""",
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "a project")


def land(project: Project, name: str, content: str) -> str:
    path = project.root / name
    path.write_text(content)
    return landing.land_file(project, "orders", path).manifest.batch_id


def processed(project: Project, *, retry_refused: bool = False) -> ProcessResult:
    with runs.recorded(project, "process") as run:
        (result,) = process(project, run=run, retry_refused=retry_refused)
    return result


def counts(result: ProcessResult) -> tuple[int, int, int, int]:
    return result.records_in, result.accepted, result.rejected, result.duplicate


def test_good_records_are_rows_with_their_provenance(project: Project) -> None:
    batch = land(project, "a.csv", GOOD)
    result = processed(project)
    assert counts(result) == (3, 3, 0, 0)
    rows = rows_of(project, "raw", "orders")
    assert [(row["order_id"], row["amount"], row["_dpipe_record_no"]) for row in rows] == [
        (1, 2.5, 1),
        (2, None, 2),
        (3, 7.0, 3),
    ]
    assert {row["_dpipe_batch_id"] for row in rows} == {batch}


def test_bad_records_are_in_quarantine_with_their_bytes_and_reasons(project: Project) -> None:
    batch = land(project, "a.csv", ONE_BAD)
    assert counts(processed(project)) == (20, 19, 1, 0)
    (row,) = rows_of(project, "quarantine", "orders")
    assert (row["_dpipe_batch_id"], row["_dpipe_record_no"], row["disposition"]) == (batch, 20, "rejected")
    assert row["raw"].rstrip(b"\n") == b"x,2013-02-01,1"
    assert [violation["column"] for violation in row["violations"]] == ["order_id"]


def test_processing_again_adds_nothing(project: Project) -> None:
    land(project, "a.csv", GOOD)
    processed(project)
    before = lake_content(project)
    result = processed(project)
    assert (result.batches, result.snapshot_id) == (0, None)
    assert lake_content(project) == before


def test_the_same_file_again_is_no_new_batch(project: Project) -> None:
    land(project, "a.csv", GOOD)
    processed(project)
    land(project, "b.csv", GOOD)
    assert processed(project).batches == 0


def test_a_key_of_an_earlier_commit_makes_a_record_a_duplicate_of_that_row(project: Project) -> None:
    first = land(project, "a.csv", GOOD)
    processed(project)
    land(project, "b.csv", HEADER + "3,2013-01-02,7\n3,2013-01-02,8\n9,2013-01-02,1\n")
    assert counts(processed(project)) == (3, 1, 0, 2)
    rows = sorted(rows_of(project, "quarantine", "orders"), key=lambda row: row["_dpipe_record_no"])
    assert [row["duplicate_kind"] for row in rows] == ["identical", "conflicting"]
    assert {(row["winner_batch_id"], row["winner_record_no"]) for row in rows} == {(first, 3)}


@pytest.mark.parametrize("transform", ["year", "month", "day"])
def test_a_sentinel_date_in_a_partition_is_a_date_like_any_other(tmp_path: Path, transform: str) -> None:
    by = ORDERS.replace(
        "partitionKeyPosition: 1,",
        "partitionKeyPosition: 1, customProperties: "
        f"[{{property: dpipe.partitionTransform, value: {transform}}}],",
    )
    project = make_project(tmp_path, {"orders": by})
    land(project, "a.csv", HEADER + "1,0001-01-01,1\n2,9999-12-31,1\n")
    processed(project)
    land(project, "b.csv", HEADER + "1,0001-01-01,2\n3,0001-01-01,2\n2,9999-12-31,2\n")
    assert counts(processed(project)) == (3, 1, 0, 2)


def test_a_key_of_another_batch_of_the_same_commit_loses_to_the_earlier_batch(project: Project) -> None:
    first = land(project, "a.csv", GOOD)
    land(project, "b.csv", HEADER + "1,2013-01-01,9\n")
    result = processed(project)
    assert (result.batches, counts(result)) == (2, (4, 3, 0, 1))
    (row,) = rows_of(project, "quarantine", "orders")
    assert (row["winner_batch_id"], row["winner_record_no"]) == (first, 1)


def test_a_batch_without_one_good_record_is_committed_where_the_settings_allow_it(tmp_path: Path) -> None:
    project = make_project(tmp_path, settings={"max_rejected_share": 1})
    batch = land(project, "a.csv", ALL_BAD)
    assert counts(processed(project)) == (3, 0, 3, 0)
    assert find_batch(project, batch).state == "committed"
    assert len(rows_of(project, "quarantine", "orders")) == 3


def test_a_refused_batch_holds_up_no_other(project: Project) -> None:
    bad, good = land(project, "bad.csv", ALL_BAD), land(project, "good.csv", GOOD)
    result = processed(project)
    assert (result.batches, result.accepted) == (1, 3)
    (refusal,) = result.refused
    assert refusal.batch_id == bad
    assert "`rejected_share` is 100.00%" in refusal.reasons[0]
    assert {batch.batch_id: batch.state for batch in batches(project)} == {bad: "refused", good: "committed"}


def test_a_refused_batch_leaves_nothing_in_the_lake_and_its_files_for_a_look(project: Project) -> None:
    land(project, "bad.csv", ALL_BAD)
    (refusal,) = processed(project).refused
    assert lake_content(project) == {"raw": [], "quarantine": [], "batches": []}
    assert [path.parent.name for path in Path(refusal.files).rglob("*.parquet")] == ["quarantine"]
    assert not list(project.lake.rglob("data/*.parquet"))


def test_a_refused_batch_wins_no_key_over_the_others(project: Project) -> None:
    land(project, "bad.csv", ALL_BAD + "1,2013-01-01,5\n")
    land(project, "good.csv", GOOD)
    assert counts(processed(project)) == (3, 3, 0, 0)


def test_a_refused_batch_stays_out_until_it_is_asked_for(project: Project) -> None:
    land(project, "bad.csv", ALL_BAD)
    processed(project)
    again = processed(project)
    assert (again.batches, again.refused, again.still_refused) == (0, (), 1)
    allowing = make_project(project.root, settings={"max_rejected_share": 1})
    assert processed(allowing, retry_refused=True).batches == 1
    assert batches(project)[0].state == "committed"
    assert not list(project.refused.rglob("*.parquet"))


def test_a_released_batch_is_committed_as_it_is_and_the_ledger_says_why(project: Project) -> None:
    batch = land(project, "bad.csv", ALL_BAD)
    assert len(processed(project).refused) == 1
    said = run_dpipe(project, "batches", "release", batch, "--reason", " so be it ", "--json")
    assert said.returncode == 0
    assert json.loads(said.stdout)["rejected"] == 3
    found = find_batch(project, batch)
    assert (found.state, found.reasons) == ("committed", ("so be it",))
    assert [row["released"] for row in ledger.rows(open_catalog(project))] == ["so be it"]
    assert run_dpipe(project, "batches", "release", batch, "--reason", "again").returncode == 2
    assert not (project.refused / "orders" / batch).exists()
    (audit,) = verify(project)
    assert audit.findings == []


def test_a_dropped_batch_stays_out_for_good_and_is_told_of(project: Project) -> None:
    batch = land(project, "bad.csv", ALL_BAD)
    assert len(processed(project).refused) == 1
    said = run_dpipe(project, "batches", "drop", batch, "--reason", "a mistake", "--json")
    assert json.loads(said.stdout)["state"] == "dropped"
    assert processed(project, retry_refused=True).batches == 0
    for path in project.data_dir.glob("state*"):
        path.unlink()  # the decision is the lake's, not the state's
    assert processed(project).refused == ()
    found = find_batch(project, batch)
    assert (found.state, found.reasons) == ("dropped", ("a mistake",))
    assert [event.what for event in story(project, batch).events] == ["landed", "dropped"]


@pytest.mark.parametrize("command", ["release", "drop"])
def test_only_a_refused_batch_is_decided_about_and_with_a_reason(project: Project, command: str) -> None:
    bad = land(project, "bad.csv", ALL_BAD)
    good = land(project, "a.csv", GOOD)
    processed(project)
    assert run_dpipe(project, "batches", command, good, "--reason", "why").returncode == 2
    assert run_dpipe(project, "batches", command, bad, "--reason", " ").returncode == 2
    assert find_batch(project, bad).state == "refused"


def test_a_rule_on_the_whole_batch_refuses_it(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"orders": WITH_RULES})
    land(project, "one.csv", HEADER + "1,2013-01-01,1\n")
    land(project, "three.csv", GOOD.replace("1,2013-01-01", "7,2013-01-01"))
    result = processed(project)
    assert [refusal.reasons for refusal in result.refused] == [("`enough_orders` is 1, row count > 1",)]
    assert result.accepted == 3


def test_a_rule_of_severity_warning_refuses_nothing_and_is_recorded(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"orders": WITH_RULES})
    land(project, "three.csv", GOOD)
    assert processed(project).refused == ()
    results = {
        row["rule"]: (row["success"], row["severity"]) for row in quality.history(project, layer="gate")
    }
    assert results == {
        "rejected_share": (True, "error"),
        "enough_orders": (True, "error"),
        "not_too_many": (False, "warning"),
    }


def test_a_process_that_lost_its_answer_finds_its_commit(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(project, "a.csv", GOOD)

    def losing(project: Project) -> Any:
        catalog = open_catalog(project)
        really = catalog.commit_table

        def commit_table(*arguments: Any) -> None:
            really(*arguments)
            monkeypatch.setattr(catalog, "commit_table", really)
            raise ConnectionResetError("the answer was lost")

        monkeypatch.setattr(catalog, "commit_table", commit_table)
        return catalog

    monkeypatch.setattr(stage, "open_catalog", losing)
    assert processed(project).batches == 1
    assert len(rows_of(project, "raw", "orders")) == 3


def test_files_stay_when_a_commit_did_not_report_back(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(project, "a.csv", GOOD)

    def broken(project: Project) -> Any:
        catalog = open_catalog(project)

        def commit_table(*_: Any) -> None:
            raise ConnectionResetError("no answer")

        monkeypatch.setattr(catalog, "commit_table", commit_table)
        return catalog

    with monkeypatch.context() as patched:
        patched.setattr(stage, "open_catalog", broken)
        with pytest.raises(UnavailableError):
            processed(project)
    assert list((project.lake / "raw").rglob("*.parquet"))
    assert processed(project).accepted == 3


def test_a_writer_that_was_quicker_has_the_keys_read_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine's process, which doesn't see this one's lock, commits between our read and our commit."""
    first = land(project, "a.csv", GOOD)
    judge = gate.judge

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(group, "judge", judge)
        monkeypatch.setattr(stage, "held", lambda *_: threading.Lock())
        other = make_project(project.root)
        path = project.root / "b.csv"
        path.write_text(HEADER + "2,2013-01-01,\n")
        second.append(landing.land_file(project, "orders", path).manifest.batch_id)
        with runs.recorded(other, "process") as run:
            monkeypatch.setattr(stage, "manifests", lambda *_: landing.manifests(project, "orders", second))
            process(other, run=run)
            monkeypatch.setattr(stage, "manifests", landing.manifests)
        return judge(*arguments)

    second: list[str] = []
    monkeypatch.setattr(group, "judge", overtaken)
    assert counts(processed(project)) == (3, 2, 0, 1)
    (row,) = rows_of(project, "quarantine", "orders")
    assert (row["_dpipe_batch_id"], row["winner_batch_id"]) == (first, second[0])


def test_two_processes_at_once_commit_a_batch_once(project: Project) -> None:
    land(project, "a.csv", GOOD)
    ends: list[int] = []
    threads = [
        threading.Thread(target=lambda: ends.append(run_dpipe(project, "process").returncode)) for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [0, 0]
    assert len(rows_of(project, "raw", "orders")) == 3
    assert len(batches(project)) == 1


def test_groups_keep_to_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def manifest(size: int) -> landing.Manifest:
        return landing.Manifest("file-x", "orders", "file", "x", size, "", "", "")

    assert [len(part) for part in stage.grouped([manifest(1)] * 600)] == [256, 256, 88]
    assert [len(part) for part in stage.grouped([manifest(3 << 30), manifest(2 << 30), manifest(1)])] == [
        1,
        2,
    ]
    assert [len(part) for part in stage.grouped([manifest(9 << 30)])] == [1]


def test_many_small_commits_converge_on_the_same_tables_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = []
    for most in (256, 1):
        monkeypatch.setattr(stage, "MOST_BATCHES_A_COMMIT", most)
        project = make_project(tmp_path / str(most))
        for number in range(4):
            land(project, f"{number}.csv", HEADER + f"{number},2013-01-01,1\n0,2013-01-01,{number}\n")
        processed(project)
        contents.append(lake_content(project))
    assert contents[0] == contents[1]


def test_counts_that_do_not_balance_stop_the_run(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from dpipe import _kernel

    really = _kernel.process

    def false(*arguments: Any, **options: Any) -> dict[str, Any]:
        answer = really(*arguments, **options)
        answer["batches"][0]["accepted"] -= 1
        return answer

    land(project, "a.csv", GOOD)
    monkeypatch.setattr(_kernel, "process", false)
    with pytest.raises(DpipeError, match="don't balance"):
        processed(project)
    assert rows_of(project, "raw", "orders") == []


def test_a_batch_is_being_processed_while_a_run_is_at_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dpipe import _kernel

    batch = land(project, "a.csv", GOOD)
    really, seen = _kernel.process, []

    def looked_at() -> set[str]:
        return {one.state for one in batches(project)} | set(
            outcomes.states(project, "orders", [batch]).values()
        )

    def watched(*arguments: Any, **options: Any) -> dict[str, Any]:
        seen.append(looked_at())
        return really(*arguments, **options)

    monkeypatch.setattr(_kernel, "process", watched)
    assert looked_at() == {"landed"}
    processed(project)
    assert (seen, looked_at()) == ([{"processing"}], {"committed"})


def test_a_batch_of_a_run_that_was_killed_waits_again(project: Project) -> None:
    batch = land(project, "a.csv", GOOD)
    killed = run_dpipe(project, "process", environment={failpoints.ENVIRONMENT_VARIABLE: "after-kernel"})
    assert killed.returncode < 0
    assert outcomes.states(project, "orders", [batch]) == {batch: "landed"}
    processed(project)
    assert processing.listed(project, "orders") == set()
    assert outcomes.states(project, "orders", [batch]) == {batch: "committed"}


def failing_kernel(monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    """Have the kernel stop with the message whenever the landed file of the name is among its sources."""
    from dpipe import _kernel

    really = _kernel.process

    def process(plan: str, sources: Any, **options: Any) -> dict[str, Any]:
        if any(source["path"].endswith(f"/{name}") for source in sources):
            raise _kernel.KernelError(message)
        return really(plan, sources, **options)

    monkeypatch.setattr(_kernel, "process", process)


def test_a_batch_that_stops_the_kernel_is_refused_and_holds_up_no_other(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_of = {name: land(project, name, GOOD.replace(",2.5", f",{name[0]}")) for name in ("1.csv", "3.csv")}
    batch_of["2.csv"] = land(project, "2.csv", HEADER + "9,2013-01-09,1\n")
    land(project, "bad.csv", ALL_BAD)
    failing_kernel(monkeypatch, "2.csv", "internal: a chunk made the parser panic")
    result = processed(project)
    assert (result.batches, result.accepted) == (2, 3)
    reasons = {refusal.batch_id: refusal.reasons for refusal in result.refused}
    assert len(result.refused) == len(reasons) == 2
    assert reasons[batch_of["2.csv"]] == (
        "the kernel can't process it: internal: a chunk made the parser panic",
    )
    refused = find_batch(project, batch_of["2.csv"])
    assert (refused.state, refused.reasons) == ("refused", reasons[batch_of["2.csv"]])
    monkeypatch.undo()
    assert processed(project).still_refused == 2
    assert processed(project, retry_refused=True).accepted == 1


def test_the_command_ends_with_1_for_a_batch_that_stops_the_kernel(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(project, "a.csv", GOOD)
    failing_kernel(monkeypatch, "a.csv", "internal: a chunk made the parser panic")
    monkeypatch.setattr(sys, "argv", ["dpipe", "-q", "--project", str(project.root), "process"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1


@pytest.mark.parametrize(
    "message",
    [
        "`/lake/x.parquet`: No space left on device (os error 28)",
        "External: No space left on device (os error 28)",
        "existing keys could not be read: column 2 is missing or of another type",
        "the plan can't be carried out: there is no column `x`",
    ],
)
def test_what_is_not_a_batchs_fault_refuses_none(
    project: Project, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    land(project, "a.csv", GOOD)
    land(project, "b.csv", HEADER + "9,2013-01-09,1\n")
    failing_kernel(monkeypatch, "b.csv", message)
    with pytest.raises(DpipeError, match="can't be processed"):
        processed(project)
    assert {batch.state for batch in batches(project)} == {"landed"}


@pytest.fixture(params=["read whole", "streamed"])
def files_read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How rows of the table are read: small files whole, others while the kernel takes them, here two at a time."""
    if request.param == "streamed":
        monkeypatch.setattr(existing, "SMALL_FILE", 0)
        monkeypatch.setattr(reading, "STREAMED_ROWS", 2)


@pytest.mark.usefixtures("files_read")
def test_keys_of_the_table_are_found_in_files_of_every_size(project: Project) -> None:
    lines = [f"{number},2013-01-01,{number}.5\n" for number in range(7)]
    land(project, "a.csv", HEADER + "".join(lines))
    processed(project)
    land(project, "b.csv", HEADER + lines[6] + "3,2013-01-01,9\n" + "7,2013-01-01,1\n")
    result = processed(project)
    assert (result.accepted, result.duplicate) == (1, 2)
    kinds = {
        row["_dpipe_record_no"]: row["duplicate_kind"] for row in rows_of(project, "quarantine", "orders")
    }
    assert kinds == {1: "identical", 2: "conflicting"}


def test_ctrl_c_while_rows_of_the_table_are_read_is_no_fault_of_theirs(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    land(project, "a.csv", GOOD)
    processed(project)
    monkeypatch.setattr(existing, "SMALL_FILE", 0)
    monkeypatch.setattr(existing, "stream_columns", interrupted)
    batch = land(project, "b.csv", HEADER + "9,2013-01-01,1\n")
    with pytest.raises(KeyboardInterrupt):
        processed(project)
    assert find_batch(project, batch).state == "landed"


@pytest.mark.usefixtures("files_read")
def test_a_table_whose_rows_can_not_be_read_refuses_no_batch(project: Project) -> None:
    land(project, "a.csv", GOOD)
    processed(project)
    for path in (project.lake / "raw").rglob("*.parquet"):
        path.unlink()
    batch = land(project, "b.csv", HEADER + "9,2013-01-01,1\n")
    with pytest.raises(DpipeError, match=r"rows of `raw\.orders` can't be read"):
        processed(project)
    assert find_batch(project, batch).state == "landed"


def test_a_kernels_io_error_refuses_no_batch(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from dpipe import _kernel

    class KernelIoError(_kernel.KernelError):
        pass

    def process(*_: Any, **__: Any) -> None:
        raise KernelIoError("`/lake/x.parquet`: unexpected end of file")

    land(project, "a.csv", GOOD)
    monkeypatch.setattr(_kernel, "KernelIoError", KernelIoError, raising=False)
    monkeypatch.setattr(_kernel, "process", process)
    with pytest.raises(DpipeError, match="can't be processed"):
        processed(project)
    assert batches(project)[0].state == "landed"


def test_the_command_ends_with_1_for_a_refused_batch_and_says_why(project: Project) -> None:
    land(project, "bad.csv", ALL_BAD)
    land(project, "good.csv", GOOD)
    ended = run_dpipe(project, "process", "--json")
    assert ended.returncode == 1
    document = json.loads(ended.stdout)
    assert document["datasets"][0]["accepted"] == 3
    assert "rejected_share" in ended.stderr
    assert "hint: look into" in ended.stderr
    assert run_dpipe(project, "process").returncode == 0


def test_the_nouns_tell_what_became_of_it_all(project: Project) -> None:
    batch = land(project, "a.csv", ONE_BAD)
    processed(project)

    def said(*arguments: str) -> str:
        ended = CliRunner().invoke(app, ["-q", "--project", str(project.root), *arguments])
        assert ended.exit_code == 0, ended.output
        return ended.stdout

    def told(*arguments: str) -> Any:
        return json.loads(said(*arguments, "--json"))

    (listed,) = told("batches", "list", "orders")
    assert (listed["batch_id"], listed["state"], listed["rejected"]) == (batch, "committed", 1)
    assert told("batches", "show", batch[:10])["files"][0]["kind"] == "accepted"
    (reason,) = told("quarantine", "list")
    assert (reason["column"], reason["records"]) == ("order_id", 1)
    (record,) = told("quarantine", "show", "orders", "--batch", batch[:12], "--rule", reason["rule"])
    assert record["raw"].startswith("x,2013")
    assert told("quarantine", "show", "orders", "--rule", "no such rule") == []
    (run,) = told("runs", "list")
    assert told("runs", "show", run["run_id"])["stages"][0]["accepted"] == 19
    profile = {column["column"]: column for column in told("runs", "profile", run["run_id"])["orders"]}
    assert {column["rows"] for column in profile.values()} == {19}
    assert profile["order_id"]["distinct"] == 19
    assert told("runs", "profile", run["run_id"], "--dataset", "other") == {}
    assert "order_id" in said("runs", "profile", run["run_id"])
    assert "committed" in said("batches", "show", batch)
    assert "orders" in said("batches", "list")
    assert "order_id" in said("quarantine", "list")
    assert "order_id" in said("quarantine", "show", "orders")
    assert "process" in said("runs", "show", run["run_id"])
