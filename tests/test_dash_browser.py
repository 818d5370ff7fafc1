"""In a real browser the pages show the figures that DuckDB gives, and no problem."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from browsers import chromium
from dash_project import (
    DUPLICATE,
    REJECTED,
    dash_command,
    finished_project,
    in_lake,
    jobs_project,
    published,
    wait_until_ready,
)
from dpipe.state import runs
from playwright.sync_api import Page, expect
from servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpipe.settings import Project
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Request

pytestmark = pytest.mark.browser

TIMEOUT_MS = 60_000
FLIGHTS = "select count(*), avg(departure_delay_minutes), avg(is_cancelled::int) from marts.fct_flights"


@dataclass
class Dashboard:
    """A tab with the dashboard, and what its console and its requests said meanwhile."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Note errors in the console and requests that leave this machine."""
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._note_request)

    def open(self, name: str) -> None:
        """Go to a page by the menu, as people do, and wait until it is drawn."""
        self.page.goto(self.address)
        self.page.get_by_test_id("stSidebarNavLink").filter(has_text=name).click()
        expect(self.page.get_by_role("heading", name=name, exact=True)).to_be_visible()
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is being worked out."""
        expect(self.page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        expect(self.page.locator("[data-stale=true]")).to_have_count(0)

    def metric(self, label: str) -> Locator:
        """The value of a figure whose label begins so."""
        return self.page.get_by_test_id("stMetric").filter(has_text=label).get_by_test_id("stMetricValue")

    def row(self, table: Locator, number: int) -> Locator:
        """The cells of a table's row, out of the copy that it keeps for screen readers."""
        return table.locator("table tbody tr").nth(number).locator("td")

    def shows_no_problem(self) -> None:
        """Neither on the page nor in the console."""
        expect(self.page.get_by_test_id("stException")).to_have_count(0)
        expect(self.page.get_by_test_id("stAlert")).to_have_count(0)
        assert self.complaints == []

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.complaints.append(f"request to {request.url}")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished project."""
    return finished_project(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def address(project: Project) -> Iterator[str]:
    """Where its dashboard listens."""
    with listening(project) as found:
        yield found


@contextmanager
def listening(project: Project) -> Iterator[str]:
    """Show the project's pages for as long as the block lasts; their address."""
    port = free_port()
    with dash_command(project, "--port", str(port)) as process:
        try:
            wait_until_ready(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=120)
    assert "deprecat" not in said.lower(), said
    assert "Traceback" not in said, said


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, of the system."""
    with chromium() as started:
        yield started


@pytest.fixture
def dashboard(browser: Browser, address: str) -> Iterator[Dashboard]:
    """A new tab."""
    with new_tab(browser, address) as tab:
        yield tab


@contextmanager
def new_tab(browser: Browser, address: str) -> Iterator[Dashboard]:
    """A tab for as long as the block lasts."""
    page = browser.new_page(viewport={"width": 1400, "height": 3000})
    page.set_default_timeout(TIMEOUT_MS)
    expect.set_options(timeout=TIMEOUT_MS)
    tab = Dashboard(page, address)
    tab.watch()
    yield tab
    page.close()


def test_overview_shows_the_ledgers_counts(dashboard: Dashboard, project: Project) -> None:
    counts = "sum(records_in), sum(accepted), sum(rejected), sum(duplicate)"
    total = in_lake(project, f"select {counts} from lake.dpipe.batches")[0]
    by_dataset = in_lake(
        project,
        f"select dataset, count(*), {counts}, max(committed_at) from lake.dpipe.batches group by all order by all",
    )

    dashboard.open("Overview")

    for label, count in zip(("Records in", "= Accepted", "+ Rejected", "+ Duplicate"), total, strict=True):
        expect(dashboard.metric(label)).to_have_text(f"{count:,}")
    table = dashboard.page.get_by_test_id("stDataFrame").first
    for number, (dataset, *figures, committed) in enumerate(by_dataset):
        cells = [
            dataset,
            *map(str, figures),
            "✔ balances",
            f"{committed:%Y-%m-%d %H:%M:%S}",
        ]
        expect(dashboard.row(table, number)).to_have_text(cells)
    dashboard.shows_no_problem()


def test_overview_shows_a_new_run_without_being_asked(dashboard: Dashboard, project: Project) -> None:
    dashboard.open("Overview")
    with runs.recorded(project, "a test"):
        pass

    expect(dashboard.metric("Last run: dpipe a test ✔ succeeded")).to_be_visible()

    dashboard.shows_no_problem()


def test_quality_shows_the_checks_and_the_quarantine(dashboard: Dashboard, project: Project) -> None:
    quarantined = in_lake(
        project,
        "select _dpipe_record_no, line, byte_offset, disposition from lake.quarantine.flights "
        "order by _dpipe_batch_id, _dpipe_record_no",
    )

    dashboard.open("Quality")

    expect(dashboard.metric("Checks failed")).to_have_text("2")
    expect(dashboard.page.get_by_text(f"{REJECTED + DUPLICATE} records, the first 500 shown")).to_be_visible()
    first = dashboard.row(dashboard.page.get_by_test_id("stDataFrame").last, 0)
    for column, value in enumerate(quarantined[0]):
        expect(first.nth(column)).to_have_text(str(value))
    dashboard.shows_no_problem()


def test_quality_shows_a_record_in_full_as_text(dashboard: Dashboard) -> None:
    dashboard.open("Quality")
    dashboard.page.get_by_label("Rule", exact=True).click()
    dashboard.page.get_by_role("option", name="pattern (carrier)").click()
    expect(dashboard.page.get_by_text("1 record. Choose one")).to_be_visible()
    dashboard.settle()
    table = dashboard.page.get_by_test_id("stDataFrame").last
    expect(dashboard.row(table, 0).filter(has_text="<b id=injected>")).to_have_count(2)
    table.locator(".dvn-scroller").click(position={"x": 20, "y": 50})

    expect(dashboard.page.get_by_test_id("stCode").last).to_contain_text("<b id=injected>x</b>")
    expect(dashboard.page.locator("#injected")).to_have_count(0)
    dashboard.shows_no_problem()


def test_flights_shows_the_figures_of_the_marts(dashboard: Dashboard, project: Project) -> None:
    count, delay, cancelled = published(project, FLIGHTS)

    dashboard.open("Flights")

    expect(dashboard.metric("Flights scheduled")).to_have_text(f"{count:,}")
    expect(dashboard.metric("Mean departure delay")).to_have_text(f"{delay:.1f} min")
    expect(dashboard.metric("Cancelled")).to_have_text(f"{cancelled:.1%}")
    expect(dashboard.page.get_by_test_id("stVegaLiteChart").locator("canvas, svg")).to_have_count(8)
    dashboard.shows_no_problem()


def test_flights_follows_a_filter(dashboard: Dashboard, project: Project) -> None:
    count, delay, _ = published(project, f"{FLIGHTS} where origin_airport_code = 'JFK'")

    dashboard.open("Flights")
    dashboard.page.get_by_role("combobox", name="Origin").click()
    dashboard.page.get_by_role("option", name="JFK").click()

    expect(dashboard.metric("Flights scheduled")).to_have_text(f"{count:,}")
    expect(dashboard.metric("Mean departure delay")).to_have_text(f"{delay:.1f} min")
    dashboard.shows_no_problem()


def test_jobs_leads_from_a_submission_to_its_records_in_quarantine(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    jobs = jobs_project(tmp_path_factory.getbasetemp())
    with listening(jobs.project) as address, new_tab(browser, address) as tab:
        tab.open("Jobs")
        for label, count in {
            "Submissions": 5,
            "Committed": 2,
            "Landed": 1,
            "Refused": 1,
            "Dropped": 1,
        }.items():
            expect(tab.metric(label)).to_have_text(str(count))
        expect(tab.page.get_by_test_id("stVegaLiteChart").locator("canvas, svg")).to_have_count(2)
        cells = tab.page.get_by_test_id("stDataFrame").last.locator(
            "table tbody tr", has_text=jobs.job("committed")
        )
        link = cells.locator("td").nth(10)
        expect(link).to_have_text(f"quality?batch={jobs.job('committed')}")
        tab.shows_no_problem()

        # As the link does, in a tab of its own.
        tab.page.goto(f"{address}/{link.inner_text()}")
        expect(tab.page.get_by_text("2 records. Choose one")).to_be_visible()
        expect(tab.page.get_by_text(f"Only records of the batch {jobs.job('committed')}")).to_be_visible()
        tab.page.get_by_role("button", name="Show all batches").click()
        expect(tab.page.get_by_text("Only records of the batch")).to_have_count(0)


def test_a_page_that_is_the_first_to_be_asked_for_is_drawn_like_any_other(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Streamlit takes a folder `pages` for a menu of its own until `app.py` has run once."""
    jobs = jobs_project(tmp_path_factory.getbasetemp())
    with listening(jobs.project) as address, new_tab(browser, address) as tab:
        tab.page.goto(f"{address}/jobs")
        expect(tab.page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
        links = tab.page.get_by_test_id("stSidebarNavLink")
        expect(links).to_have_text(
            ["monitor_heartOverview", "inboxJobs", "fact_checkQuality", "flight_takeoffFlights"]
        )
