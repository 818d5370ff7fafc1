"""`dpipe bench api` and `freshness`: real servers, and figures that fit each other."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from api_server import served
from dpipe.bench.freshness import _distribution
from dpipe.bench.load import Target, send
from dpipe.landing import batch_ids
from dpipe.state import keys
from support import make_project

if TYPE_CHECKING:
    from pathlib import Path

LINE = b'{"order_id": 1, "day": "2013-01-01", "amount": 1}\n'


def bench(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "dpipe", "-q", "bench", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_api_is_timed_beside_a_bare_endpoint(tmp_path: Path) -> None:
    page = tmp_path / "api.html"
    report = bench(
        "api",
        "--requests",
        "100",
        "--runs",
        "2",
        "--records",
        "1,20",
        "--connections",
        "4",
        "--html",
        str(page),
    )
    assert [(load["engine"], load["records_a_request"]) for load in report["loads"]] == [
        ("dpipe", 1),
        ("bare", 1),
        ("dpipe", 20),
        ("bare", 20),
    ]
    for size in (1, 20):
        ours, bare = (load for load in report["loads"] if load["records_a_request"] == size)
        ratio = ours["median_requests_per_second"] / bare["median_requests_per_second"]
        assert report["ratios"][str(size)] == pytest.approx(ratio, abs=0.002)
        for load in (ours, bare):
            assert len(load["requests_per_second"]) == 2
            assert 0 < load["p50_seconds"] <= load["p99_seconds"]
            assert load["cpu_microseconds_a_request"] > 0
    assert report["resident_mb_before"] > 20
    text = page.read_text()
    ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])


def test_the_client_says_what_was_answered(tmp_path: Path) -> None:
    project = make_project(tmp_path / "a project")
    _, key = keys.create(project, "a test", ["write:orders"])
    with served(project) as url:
        port = int(url.rpartition(":")[2])
        path, headers = "/v1/datasets/orders/records", {"Authorization": f"Bearer {key}"}
        sent = send(Target(port, path, headers, named=True), LINE, 50, 8, "a")
        assert (sent.answered, sent.failed, len(sent.latencies)) == (50, [], 50)
        again = send(Target(port, path, headers, named=True), LINE, 50, 8, "a")
        assert again.answered == 50
        assert len(batch_ids(project, "orders")) == 50  # those were the same submissions
        refused = send(Target(port, path), LINE, 5, 2, "b")
        assert (refused.answered, refused.failed) == (0, ["401 Unauthorized"] * 5)


def test_shares_are_by_nearest_rank() -> None:
    spread = _distribution([float(number) for number in range(100, 0, -1)])
    assert (spread.p50, spread.p95, spread.p99, spread.max) == (50, 95, 99, 100)
    assert vars(_distribution([2.0])) == {"p50": 2.0, "p95": 2.0, "p99": 2.0, "max": 2.0}


@pytest.mark.long
@pytest.mark.timeout(300)
def test_freshness_is_timed_up_to_the_marts() -> None:
    report = bench("freshness", "--minutes", "0.1", "--rate", "1", "--transform-every", "1")
    assert report["submissions"] == 6
    for share in ("p50", "p95", "max"):
        answered, committed, published = (
            report[name][share] for name in ("acknowledged", "committed", "published")
        )
        assert 0 < answered < committed < published
