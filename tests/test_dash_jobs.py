"""The page of jobs says what the API, `dpipe batches` and `dpipe runs` say."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pytest
from api_server import served
from dash_project import UI, JobsProject, jobs_project
from dpipe import outcomes
from dpipe.state import jobs as job_rows
from dpipe.state import keys, open_state, runs
from dpipe.state.jobs import JobRow
from streamlit.testing.v1 import AppTest
from support import run_dpipe

if TYPE_CHECKING:
    from dpipe.settings import Project

STATES = ("landed", "committed", "refused", "dropped")
COUNTS = ("records_in", "accepted", "rejected", "duplicate")
SHOWN = {"✔ committed": "committed", "… landed": "landed", "✖ refused": "refused", "- dropped": "dropped"}


@pytest.fixture
def jobs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> JobsProject:
    """The project with a job in every state, named to the pages."""
    found = jobs_project(tmp_path_factory.getbasetemp())
    monkeypatch.syspath_prepend(str(UI))
    monkeypatch.setenv("DPIPE_PROJECT", str(found.project.root))
    return found


def opened(page: str = "jobs", **query: str) -> AppTest:
    app = AppTest.from_file(str(UI / "views" / f"{page}.py"), default_timeout=120)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    assert not app.error
    return app


def rows_of_chart(app: AppTest, title: str) -> list[dict[str, Any]]:
    (proto,) = (element.proto for element in app.get("vega_lite_chart") if title in element.proto.spec)
    rows: list[dict[str, Any]] = pa.ipc.open_stream(proto.datasets[0].data.data).read_all().to_pylist()
    return rows


def told_by_the_api(project: Project) -> dict[str, dict[str, Any]]:
    _, text = keys.create(project, "reader", ["read:*"])
    with served(project) as url:
        answer = httpx.get(f"{url}/v1/jobs", headers={"Authorization": f"Bearer {text}"}, timeout=60)
    return {job["job_id"]: job for job in answer.json()["jobs"]}


def test_page_commands_and_api_agree_on_every_state_and_count(jobs: JobsProject) -> None:
    api = told_by_the_api(jobs.project)
    listed = {
        batch["batch_id"]: batch
        for batch in json.loads(run_dpipe(jobs.project, "batches", "list", "--json").stdout)
    }
    table = opened().dataframe[0].value
    names = ["State", *(name.replace("_", " ").capitalize() for name in COUNTS)]
    page = {row["Job"]: [row[name] for name in names] for row in table.to_dict("records")}

    assert {job: told["state"] for job, told in api.items()} == jobs.states
    assert set(jobs.states.values()) == set(STATES)
    assert page.keys() == listed.keys() == api.keys()
    for job, told in api.items():
        expected = [told["state"], *(told[name] for name in COUNTS)]
        assert [listed[job][name] for name in ("state", *COUNTS)] == expected
        assert listed[job]["reasons"] == told["reasons"]
        state, *counts = page[job]
        assert [SHOWN[state], *(None if math.isnan(count) else count for count in counts)] == expected


def test_runs_and_jobs_account_for_the_same_records(jobs: JobsProject) -> None:
    api = told_by_the_api(jobs.project)
    found = json.loads(run_dpipe(jobs.project, "runs", "list", "--json").stdout)
    shown = [
        json.loads(run_dpipe(jobs.project, "runs", "show", run["run_id"], "--json").stdout) for run in found
    ]
    stages = [stage for run in shown for stage in run["stages"] if stage["stage"] == "process"]
    committed = [told for told in api.values() if told["state"] == "committed"]
    for name in COUNTS:
        assert sum(stage[name] for stage in stages) == sum(told[name] for told in committed) > 0
    refused = {batch for stage in stages for batch in stage["detail"]["refused"]}
    assert refused == {job for job, told in api.items() if told["state"] in {"refused", "dropped"}}


def test_every_submission_is_counted_once_by_its_state(jobs: JobsProject) -> None:
    app = opened()

    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics == {"Submissions": "5", "Committed": "2", "Landed": "1", "Refused": "1", "Dropped": "1"}
    drawn: dict[str, int] = {}
    for row in rows_of_chart(app, "Submissions by what became of them"):
        assert row["top"] - row["bottom"] == row["submissions"]
        assert row["end"] - row["begin"] == timedelta(minutes=30)
        drawn[row["state"]] = drawn.get(row["state"], 0) + row["submissions"]
    assert drawn == {"committed": 2, "landed": 1, "refused": 1, "dropped": 1}


def test_a_job_is_shown_with_its_key_reason_and_link(jobs: JobsProject) -> None:
    table = opened().dataframe[0].value.set_index("Job")

    assert set(table["Key"]) == {"order-feed"}
    assert table["Why"][jobs.job("dropped")] == "sent by mistake"
    assert "rejected_share" in table["Why"][jobs.job("refused")]
    links = table["Quarantine"].dropna()
    assert links.to_dict() == {jobs.job("committed"): f"quality?batch={jobs.job('committed')}"}
    assert table["Age"].str.endswith("ago").all()


def test_freshness_is_that_of_the_api_and_of_the_runs(jobs: JobsProject) -> None:
    api = told_by_the_api(jobs.project)
    took = [told["seconds_to_commit"] for told in api.values() if told["state"] == "committed"]
    with runs.recorded(jobs.project, "worker") as run:
        detail = {"batches": 7, "p50": 12.5, "p95": 31.0, "max": 40.0}
        runs.add_stage(run, "freshness", started_at=datetime.now(UTC), seconds=0.1, detail=detail)

    app = opened()

    commits = {row["measure"]: row for row in rows_of_chart(app, "From the request to the commit")}
    assert commits["median"]["batches"] == 2
    assert commits["median"]["seconds"] == pytest.approx(sum(took) / 2, abs=0.002)
    assert min(took) - 0.002 <= commits["median"]["seconds"] <= commits["95th percentile"]["seconds"]
    marts = {row["measure"]: row["seconds"] for row in rows_of_chart(app, "From landing to the published")}
    assert marts == {"median": 12.5, "95th percentile": 31.0}


def test_a_time_without_submissions_is_told_so(jobs: JobsProject) -> None:
    app = opened()
    app.segmented_control[0].set_value("Last hour").run()
    assert {metric.label: metric.value for metric in app.metric}["Submissions"] == "5"
    app.selectbox[0].select("orders").run()
    assert {metric.label: metric.value for metric in app.metric}["Submissions"] == "5"
    old = JobRow(f"job-{'0' * 32}", "returns", "k", datetime.now(UTC) - timedelta(days=40), 1, "0" * 64)
    job_rows.claim(open_state(jobs.project), [old])
    try:
        app = opened()
        app.selectbox[0].select("returns").run()
        assert not app.exception
        assert "Nothing was submitted in this time." in [info.value for info in app.info]
        assert app.dataframe[0].value["Job"].tolist() == [old.job_id]
        assert app.dataframe[0].value["State"].tolist() == ["… accepted"]
    finally:
        job_rows.forget(open_state(jobs.project), [old.job_id])


def test_quality_shows_the_records_of_one_batch(jobs: JobsProject) -> None:
    app = opened("quality", batch=jobs.job("committed"))

    assert f"Only records of the batch `{jobs.job('committed')}`." in [info.value for info in app.info]
    assert set(app.dataframe[0].value["Batch"]) == {jobs.job("committed")}
    assert sorted(app.dataframe[0].value["Disposition"]) == ["duplicate", "rejected"]
    nothing = opened("quality", batch=f"job-{'0' * 32}")
    assert nothing.success[0].value == f"No record of the batch `job-{'0' * 32}` is in quarantine."
    every = opened("quality", batch="*anything* else")
    assert not [info for info in every.info if "Only records" in info.value]


def test_states_of_many_are_those_of_each(jobs: JobsProject, monkeypatch: pytest.MonkeyPatch) -> None:
    for most in (outcomes.MOST_LOOKED_FOR, 1):
        monkeypatch.setattr(outcomes, "MOST_LOOKED_FOR", most)
        assert outcomes.states(jobs.project, "orders", jobs.states.keys()) == jobs.states
    one_by_one = outcomes.of_batches(jobs.project, "orders", jobs.states.keys())
    assert {job: found.state for job, found in one_by_one.items()} == jobs.states
