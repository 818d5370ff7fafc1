"""Landing and tables in S3, with a catalog in SQLite or a REST catalog: a real server, and what a disk would hold."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from dpipe import landing, s3
from dpipe.cost.ledger import bill
from dpipe.cost.price_file import prices
from dpipe.errors import ConfigError, UnavailableError, UsageError
from dpipe.failpoints import ENVIRONMENT_VARIABLE, NAMES, OF_MAINTENANCE
from dpipe.landing import payload_file
from dpipe.meter import METER
from dpipe.s3 import Location
from dpipe.settings import load_project
from dpipe.stages.audit.verify import verify
from dpipe.stages.process import process
from dpipe.state import runs, usage
from dpipe.warehouse import lake
from servers import SECRET_KEY, moto, seaweedfs, start, stop
from support import UPSERT, assert_holds, lake_content, land, make_project, run_dpipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dpipe.settings import Project

    Place = Callable[[], dict[str, str]]

HEADER = "order_id,day,amount\n"
FIRST = (
    HEADER + "".join(f"{number},2013-01-0{number % 3 + 1},1\n" for number in range(30)) + "x,2013-01-01,1\n"
)
SECOND = HEADER + "".join(f"{number},2013-01-0{number % 3 + 1},2\n" for number in range(20, 50))


# Those between the steps of a commit; the others are as on a disk, and long here.
QUICK = {"after-raw-commit", "after-quarantine-commit"}
POINTS = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.long)
    for name in NAMES
    if name != "after-landing-copy"
]


@pytest.fixture(params=["bucket", "rest"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    place: Place = request.getfixturevalue(request.param)
    return made(tmp_path / "remote", place())


def made(folder: Path, settings: dict[str, Any] | None = None) -> Project:
    return make_project(folder, {"orders": UPSERT}, {"max_rejected_share": 1.0, **(settings or {})})


def ingest(project: Project, content: str) -> str:
    batch_id = land(project, content)
    with runs.recorded(project, "process") as run:
        process(project, run=run)
    return batch_id


def test_the_tables_are_those_that_a_disk_would_hold(project: Project, tmp_path: Path) -> None:
    here = made(tmp_path / "here")
    for one in (project, here):
        for content in (FIRST, SECOND):
            ingest(one, content)
    assert lake_content(project) == lake_content(here)
    assert_holds(project)
    with lake.connect(project) as connection:
        found = connection.execute("select count(*), sum(amount) from lake.raw.orders").fetchone()
    assert found == (50, 20 + 60)
    assert not list(project.spool.iterdir())
    assert not list(project.data_dir.rglob("*.parquet"))


@pytest.mark.long
def test_every_command_about_batches_works_on_it(bucket: Place, tmp_path: Path) -> None:
    project = made(tmp_path, bucket())
    batch_id = ingest(project, FIRST)
    contract = project.contracts / "orders.odcs.yaml"
    for arguments in (
        ["batches", "list"],
        ["quarantine", "list"],
        ["quarantine", "show", "orders"],
        ["quarantine", "replay", "orders"],
        ["audit", "show", batch_id, "--record", "3"],
        ["contract", "diff", str(contract), str(contract), "--against", "landed"],
        ["contract", "plan", "orders"],
        ["maintain", "--min-files", "2"],
        ["doctor"],
    ):
        told = run_dpipe(project, *arguments)
        assert (told.returncode, told.stderr) == (0, ""), arguments


def test_maintenance_works_on_it(rest: Place, tmp_path: Path) -> None:
    project = made(tmp_path, rest())
    for content in (FIRST, SECOND, HEADER + "1,2013-01-02,9\n"):
        ingest(project, content)
    before = lake_content(project)
    done = json.loads(run_dpipe(project, "maintain", "--min-files", "2", "--json").stdout)
    assert {one["table"]: one["written_files"] for one in done}["raw.orders"] >= 2
    assert lake_content(project) == before
    assert_holds(project)


@pytest.mark.parametrize("point", POINTS)
def test_a_run_after_a_kill_gives_the_same_tables(rest: Place, tmp_path: Path, point: str) -> None:
    project = made(tmp_path / "remote", rest())
    here = made(tmp_path / "here")
    for one in (project, here):
        for content in (FIRST, SECOND):
            land(one, content)
    killed = run_dpipe(project, "process", environment={ENVIRONMENT_VARIABLE: point})
    assert killed.returncode == -signal.SIGKILL
    for one in (project, here):
        with runs.recorded(one, "process") as run:
            process(one, run=run)
    assert lake_content(project) == lake_content(here)
    assert_holds(project)


@pytest.mark.long
@pytest.mark.parametrize("point", OF_MAINTENANCE)
def test_maintenance_after_a_kill_completes(rest: Place, tmp_path: Path, point: str) -> None:
    project = made(tmp_path, rest())
    for content in (FIRST, SECOND):
        ingest(project, content)
    before = lake_content(project)
    killed = run_dpipe(project, "maintain", "--min-files", "2", environment={ENVIRONMENT_VARIABLE: point})
    assert killed.returncode == -signal.SIGKILL
    assert run_dpipe(project, "maintain", "--min-files", "2").returncode == 0
    assert lake_content(project) == before
    assert_holds(project)


def test_a_batch_lands_once_whoever_lands_it(bucket: Place, tmp_path: Path) -> None:
    project = made(tmp_path, bucket())
    path = project.root / "a.csv"
    path.write_text(FIRST)
    outcomes: list[landing.Landed] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(landing.land_file(project, "orders", path)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(landed.already for landed in outcomes) == [False] + [True] * 7
    assert len({landed.manifest.received_at for landed in outcomes}) == 1
    assert landing.batch_ids(project, "orders") == {outcomes[0].manifest.batch_id}
    assert landing.datasets(project) == ["orders"]


def test_requests_are_counted_by_what_they_cost(bucket: Place, tmp_path: Path) -> None:
    place = Location(bucket()["landing"])
    METER.lap()
    place.put_once("a", b"1")
    place.put_once("a", b"2")  # refused, and looked at
    place.read("a")
    place.names()
    s3.delete([f"{place}/a"])  # free
    used, _ = METER.lap()
    assert (used.s3_writes, used.s3_reads) == (3, 2)  # two PUTs and a LIST, HEAD and GET

    project = made(tmp_path, bucket())
    ingest(project, FIRST)
    processed = next(row for row in usage.listed(project) if row["stage"] == "process")
    assert processed["s3_reads"] > 0
    assert processed["bytes_stored"] > 0
    assert bill(project, prices(project), by="stage").total.cost.requests > 0


def test_a_job_never_lands_with_other_bytes(bucket: Place, tmp_path: Path) -> None:
    project = made(tmp_path, bucket())
    job = {"name": "body", "job_id": "0" * 32}
    landed = landing.land_stream(project, landing.submission("orders", **job), [b"one"])
    assert landing.land_stream(project, landing.submission("orders", **job), [b"one"]).already
    with pytest.raises(UsageError, match="with other bytes"):
        landing.land_stream(project, landing.submission("orders", **job), [b"two"])
    with payload_file(project, landed.manifest) as path:
        assert path.read_bytes() == b"one"
    with pytest.raises(UsageError, match="is empty"):
        landing.land_stream(project, landing.submission("orders", name="body", job_id="1" * 32), [])


def test_a_large_payload_goes_in_parts_and_comes_back(bucket: Place, tmp_path: Path) -> None:
    project = made(tmp_path, bucket())
    blocks = [os.urandom(1 << 20) for _ in range(40)]
    landed = landing.land_stream(project, landing.submission("orders", name="body", job_id="2" * 32), blocks)
    with payload_file(project, landed.manifest) as path:
        assert path.read_bytes() == b"".join(blocks)
    assert not list(project.spool.iterdir())


def test_the_audit_finds_what_was_changed_in_the_bucket(bucket: Place, tmp_path: Path) -> None:
    settings = bucket()
    project = made(tmp_path, settings)
    ingest(project, FIRST)
    place = Location(settings["landing"])
    (payload,) = (name for name in place.names() if name.endswith("a.csv"))
    content = place.read(payload)
    assert content is not None
    s3.client().put_object(Bucket=place.bucket, Key=place.key(payload), Body=content[:-2] + b"7\n")
    files = Location(settings["warehouse"])
    accepted = next(name for name in files.names("raw/orders/data/"))
    s3.client().delete_object(Bucket=files.bucket, Key=files.key(accepted))
    (audit,) = verify(project)
    assert {finding.check for finding in audit.findings} == {"landing", "files", "records"}
    s3.client().delete_object(Bucket=place.bucket, Key=place.key(payload))
    (audit,) = verify(project)
    assert "is damaged" in next(finding.message for finding in audit.findings if finding.check == "landing")


def test_contracts_are_kept_in_the_bucket_for_every_machine(bucket: Place, tmp_path: Path) -> None:
    settings = bucket()
    project = made(tmp_path, settings)
    ingest(project, FIRST)
    assert any(name.startswith("_contracts/orders/") for name in Location(settings["landing"]).names())
    assert not project.kept_contracts.exists()
    (audit,) = verify(project)
    assert audit.recounted == 1


def test_glue_is_wired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against moto, an emulator, which loses commits that race: that the calls are right is all that it can tell."""
    with moto() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        s3.client.cache_clear()
        s3.client().create_bucket(Bucket="lake")
        settings = {"landing": "s3://lake/landing", "warehouse": "s3://lake/tables", "catalog_uri": "glue"}
        project, here = made(tmp_path / "remote", settings), made(tmp_path / "here")
        for one in (project, here):
            for content in (FIRST, SECOND):
                ingest(one, content)
        assert lake_content(project) == lake_content(here)
        assert run_dpipe(project, "maintain", "--min-files", "2").returncode == 0
        assert lake_content(project) == lake_content(here)
        assert_holds(project)
    s3.client.cache_clear()


class TestOutages:
    """What doesn't answer is named, with exit code 3, and afterwards everything is as if nothing had been."""

    def test_no_server(self, bucket: Place, tmp_path: Path) -> None:
        project = made(tmp_path, bucket())
        gone = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
        path = project.root / "a.csv"
        path.write_text(FIRST)
        for arguments in (["ingest", "orders", str(path)], ["process"], ["batches", "list"]):
            told = run_dpipe(project, *arguments, environment=gone)
            assert (told.returncode, "AWS_ENDPOINT_URL_S3" in told.stderr) == (3, True), told.stderr

    def test_no_catalog(self, rest: Place, tmp_path: Path) -> None:
        project = made(tmp_path, rest() | {"catalog_uri": "http://127.0.0.1:9"})
        told = run_dpipe(project, "batches", "list")
        assert (told.returncode, "did not answer" in told.stderr) == (3, True)

    @pytest.mark.long
    def test_wrong_secrets(self, rest: Place, tmp_path: Path) -> None:
        project = made(tmp_path, rest())
        path = project.root / "a.csv"
        path.write_text(FIRST)
        told = run_dpipe(
            project, "ingest", "orders", str(path), environment={"AWS_SECRET_ACCESS_KEY": "wrong-secret"}
        )
        assert (told.returncode, "wrong-secret" in told.stderr) == (3, False)
        told = run_dpipe(
            project,
            "-v",
            "batches",
            "list",
            environment={"DPIPE_CATALOG_CREDENTIAL": "dpipe-dev:wrong-secret"},
        )
        assert (told.returncode, "wrong-secret" in told.stderr) == (3, False)
        assert "DPIPE_CATALOG_CREDENTIAL" in told.stderr

    @pytest.mark.long
    def test_no_bucket(self, aws: None, tmp_path: Path) -> None:
        project = made(tmp_path, {"landing": "s3://nowhere/landing"})
        told = run_dpipe(project, "batches", "list")
        assert (told.returncode, "`s3://nowhere/landing` can't be used" in told.stderr) == (3, True)

    def test_an_audit_is_not_a_finding_when_the_bucket_does_not_answer(
        self, bucket: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project = made(tmp_path, {"landing": bucket()["landing"]})
        ingest(project, FIRST)
        assert_holds(project)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        s3.client.cache_clear()
        with pytest.raises(UnavailableError):
            verify(project)

    @pytest.mark.long
    def test_a_server_that_dies_and_comes_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "server"
        with seaweedfs(folder) as first:
            ports = first.ports
            for name, value in first.catalog_environment.items():
                monkeypatch.setenv(name, value)
            s3.client.cache_clear()
            settings = {
                "landing": "s3://dpipe/landing",
                "warehouse": "s3://warehouse",
                "catalog_uri": first.catalog,
            }
            project, here = made(tmp_path / "remote", settings), made(tmp_path / "here")
            for one in (project, here):
                for content in (FIRST, SECOND):
                    land(one, content)
            killer = threading.Timer(1.0, lambda: os.killpg(first.process.pid, signal.SIGKILL))
            killer.start()
            told = run_dpipe(project, "process")
            killer.join()
            assert told.returncode in {0, 3}, told.stderr
        second = start(folder, ports)
        try:
            for one in (project, here):
                with runs.recorded(one, "process") as run:
                    process(one, run=run)
            assert lake_content(project) == lake_content(here)
            assert_holds(project)
        finally:
            stop(second.process)
            s3.client.cache_clear()


def test_a_secret_in_the_file_is_refused(tmp_path: Path) -> None:
    make_project(tmp_path, settings=None)
    config = tmp_path / "configs" / "dpipe.yaml"
    config.write_text("name: test\nprofiles: {local: {catalog_token: hush}}\n")
    with pytest.raises(ConfigError, match="`catalog_token`, which is a secret") as raised:
        load_project(tmp_path)
    assert raised.value.hint is not None
    assert "DPIPE_CATALOG_TOKEN" in raised.value.hint


@pytest.mark.parametrize(
    "uri", ["s3://", "https://bucket", "bucket/prefix", "s3://bucket/a?b", "s3:///prefix"]
)
def test_what_is_no_place_in_s3_is_refused(tmp_path: Path, uri: str) -> None:
    told = run_dpipe(make_project(tmp_path, settings={"landing": uri}), "batches", "list")
    assert (told.returncode, f"`{uri}` is no place in S3" in told.stderr) == (2, True)


def test_what_is_known_of_s3_shows_no_secret(aws: None) -> None:
    assert SECRET_KEY not in repr(s3.access())
    assert s3.access().endpoint == os.environ["AWS_ENDPOINT_URL_S3"]
