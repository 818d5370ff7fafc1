"""Jobs that are over for long: `dpipe maintain` forgets their rows, and nothing else about them is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from api_server import served
from dpipe import landing
from dpipe.api import jobs as api_jobs
from dpipe.iceberg.compaction import Target
from dpipe.settings import load_project
from dpipe.stages import retention
from dpipe.stages.maintain import maintain
from dpipe.stages.refusals import drop
from dpipe.state import jobs, keys, open_state, runs
from support import assert_holds, make_project, processed, run_dpipe

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project

CSV = {"Content-Type": "text/csv"}
HEADER = "order_id,day,amount\n"
GOOD, BAD = f"{HEADER}1,2013-01-01,1\n", f"{HEADER}x,2013-01-01,1\n"
KEPT_OUT = f"{HEADER}2,2013-01-01,1\n3,2013-01-01,-1\n"
BATCHES = "/v1/datasets/orders/batches"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path, settings={"max_rejected_share": 0.5})


@pytest.fixture
def key(project: Project) -> str:
    return keys.create(project, "a test", ["admin:*"])[1]


def client(url: str, key: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60)


def submit(api: httpx.Client, content: str, name: str) -> httpx.Response:
    return api.post(BATCHES, content=content.encode(), headers=CSV | {"Idempotency-Key": name})


@pytest.fixture
def made(project: Project, key: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A job in each state by what it is called. All but the `new` one are from before the time that jobs are kept."""
    with served(project) as url, client(url, key) as api:
        contents = {"committed": KEPT_OUT, "refused": BAD, "dropped": BAD}
        found = {name: submit(api, content, name).json()["job_id"] for name, content in contents.items()}
        processed(project)
        with runs.recorded(project, "batches drop") as run:
            drop(project, found["dropped"], reason="not ours", run=run)
        found["landed"] = submit(api, GOOD, "landed").json()["job_id"]
        since = datetime.now(UTC)
        found["new"] = submit(api, GOOD.replace("1", "9", 1), "new").json()["job_id"]
    for module in (retention, api_jobs):
        monkeypatch.setattr(module, "kept_since", lambda *_: since)
    return found


def forgotten(project: Project, *, dry_run: bool = False) -> int:
    """How many rows `maintain` removes."""
    with runs.recorded(project, "maintain") as run:
        found = maintain(project, target=Target(1 << 20, 5), keep=timedelta(days=5), run=run, dry_run=dry_run)
    return sum(upkeep.removed_rows for upkeep in found if upkeep.table == "jobs")


def listed(project: Project) -> set[str]:
    return {row.job_id for row in jobs.listed(open_state(project), ["orders"], limit=100)}


def test_only_jobs_that_are_over_for_long_are_forgotten(project: Project, made: dict[str, str]) -> None:
    assert forgotten(project, dry_run=True) == 2
    assert listed(project) == set(made.values())
    assert forgotten(project) == 2
    left = {made[name] for name in ("refused", "landed", "new")}
    assert listed(project) == left
    processed(project)  # what came long ago is over for a moment only
    assert forgotten(project) == 0
    assert listed(project) == left


def test_a_forgotten_job_is_told_of_as_before(project: Project, made: dict[str, str], key: str) -> None:
    def told() -> dict[str, Any]:
        with served(project) as url, client(url, key) as api:
            found = {name: api.get(f"/v1/jobs/{job}").json() for name, job in made.items()}
            found["kept out"] = api.get(found["committed"]["quarantine"]).json()["records"]
            found["before"] = api.get(f"/v1/jobs?before={made['committed']}").json()["jobs"]
            assert api.get(f"/v1/jobs/job-{'0' * 32}").status_code == 404
        return found

    before = told()
    assert forgotten(project) == 2
    assert told() == before
    assert (before["committed"]["state"], before["dropped"]["state"]) == ("committed", "dropped")


def test_a_committed_job_is_told_of_by_the_ledger_alone(
    project: Project, made: dict[str, str], key: str
) -> None:
    forgotten(project)
    with served(project) as url, client(url, key) as api:
        before = api.get(f"/v1/jobs/{made['committed']}").json()
        shutil.rmtree(project.landing / "orders")
        assert api.get(f"/v1/jobs/{made['committed']}").json() == before


def test_a_start_brings_none_of_them_back(project: Project, made: dict[str, str], key: str) -> None:
    forgotten(project)
    left = listed(project)
    with served(project) as url, client(url, key) as api:
        found = {job["job_id"] for job in api.get("/v1/jobs").json()["jobs"]}
    assert found == left == listed(project)
    # What never had a row gets one all the same.
    jobs.forget(open_state(project), [made["new"], made["landed"], made["refused"]])
    with served(project) as url:
        httpx.get(f"{url}/healthz", timeout=60)  # answered once it has started
        assert listed(project) == left


@pytest.mark.parametrize("small", [True, False])
def test_what_was_forgotten_is_the_same_submission_still(
    project: Project, made: dict[str, str], key: str, small: bool
) -> None:
    def sent(content: str) -> httpx.Response:
        body = content.encode() if small else iter([content.encode()])  # which doesn't say its length
        return api.post(BATCHES, content=body, headers=CSV | {"Idempotency-Key": "committed"})

    forgotten(project)
    with served(project) as url, client(url, key) as api:
        for _ in range(2):
            assert sent(GOOD).status_code == 422
            again = sent(KEPT_OUT)
            assert (again.status_code, again.json()["job_id"]) == (202, made["committed"])
            assert again.headers["idempotency-replayed"] == "true"
            assert made["committed"] not in listed(project)
    assert landing.batch_ids(project, "orders") == set(made.values())
    processed(project)
    assert_holds(project)


LONG_AFTER = """
from datetime import UTC, datetime
from dpipe.app import main
from dpipe.stages import retention

retention.kept_since = lambda *_: datetime.now(UTC)
main()
"""


def long_after(project: Project, *options: str) -> str:
    """What `dpipe maintain` says long after all that is over."""
    command = [sys.executable, "-c", LONG_AFTER, "-q", "--project", str(project.root), "maintain", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_command_says_how_many_it_forgot(project: Project, key: str) -> None:
    with served(project) as url, client(url, key) as api:
        submit(api, GOOD, "one")
    processed(project)
    assert "jobs" not in run_dpipe(project, "maintain").stdout
    assert "jobs: 1 rows removed" in long_after(project, "--dry-run")
    done = json.loads(long_after(project, "--json", "orders"))
    assert done[-1] == dict.fromkeys(done[-1], 0) | {"table": "jobs", "busy": False, "removed_rows": 1}
    (stage,) = runs.stages(project, runs.latest(project, 1)[0]["run_id"])
    assert stage["detail"]["tables"][-1] == done[-1]
    assert listed(project) == set()


def test_jobs_are_kept_for_as_many_days_as_the_settings_say(project: Project) -> None:
    now = datetime.now(UTC)
    assert now - retention.kept_since(project, now) == timedelta(days=90)
    other = load_project(project.root, overrides={"job_retention_days": 7})
    assert now - retention.kept_since(other, now) == timedelta(days=7)
