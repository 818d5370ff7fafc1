"""The pages say what the marts, the lake and the state say, and tell problems in words."""

from __future__ import annotations

import ast
import shutil
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
from dash_project import DUPLICATE, MARKUP, PAGES, REJECTED, UI, finished_project, in_lake, published
from dpipe.state import runs
from streamlit.testing.v1 import AppTest
from support import make_project

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project

FLIGHTS = "select count(*), avg(departure_delay_minutes), avg(is_cancelled::int) from marts.fct_flights"


@pytest.fixture(autouse=True)
def _pages_find_their_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(UI))


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The finished project, named to the pages."""
    found = finished_project(tmp_path_factory.getbasetemp())
    monkeypatch.setenv("DPIPE_PROJECT", str(found.root))
    return found


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project in which nothing has run."""
    monkeypatch.setenv("DPIPE_PROJECT", str(tmp_path))
    return make_project(tmp_path)


def opened(page: str) -> AppTest:
    """The page, drawn."""
    return AppTest.from_file(str(UI / "views" / f"{page}.py"), default_timeout=120).run()


def metrics(app: AppTest) -> dict[str, str]:
    """What the page's figures say, by label."""
    return {metric.label: metric.value for metric in app.metric}


def chart(app: AppTest, title: str) -> list[dict[str, Any]]:
    """The rows that the chart of that title draws."""
    found = [
        proto for proto in (element.proto for element in app.get("vega_lite_chart")) if title in proto.spec
    ]
    assert len(found) == 1, title
    data = found[0].datasets[0].data.data if found[0].datasets else found[0].data.data
    rows: list[dict[str, Any]] = pa.ipc.open_stream(data).read_all().to_pylist()
    return rows


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_no_problem(project: Project, page: str) -> None:
    app = opened(page)

    assert not app.exception
    assert not app.error
    assert app.title[0].value == page.capitalize()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_a_new_project_says_which_command_fills_it(empty: Project, page: str) -> None:
    app = opened(page)

    assert not app.exception
    assert app.info
    command = "dpipe serve" if page == "jobs" else "dpipe run"
    assert all(f"`{command}` changes that" in info.value for info in app.info)


def test_the_overview_counts_every_record_of_the_ledger(project: Project) -> None:
    counts = "sum(records_in), sum(accepted), sum(rejected), sum(duplicate)"
    total = in_lake(project, f"select {counts} from lake.dpipe.batches")[0]
    by_dataset = in_lake(project, f"select dataset, {counts} from lake.dpipe.batches group by 1 order by 1")

    app = opened("overview")

    shown = metrics(app)
    labels = ("Records in", "= Accepted", "+ Rejected", "+ Duplicate")
    assert [shown[label] for label in labels] == [f"{count:,}" for count in total]
    assert total[2:] == (REJECTED, DUPLICATE)
    table = app.dataframe[0].value
    columns = ["dataset", "records_in", "accepted", "rejected", "duplicate"]
    assert table[columns].to_numpy().tolist() == [list(row) for row in by_dataset]
    assert set(table["balance"]) == {"✔ balances"}


def test_the_overview_names_the_last_run_and_the_refused_batch(project: Project) -> None:
    app = opened("overview")

    last = runs.latest(project, 1)[0]
    mark = {"failed": "✖", "succeeded": "✔"}[last["status"]]
    assert f"Last run: `dpipe {last['command']}` {mark} {last['status']}" in metrics(app)
    assert app.dataframe[1].value["Dataset"].tolist() == ["flights"]
    assert "rejected_share" in app.dataframe[1].value["Why"][0]
    assert app.dataframe[2].value["Run"].tolist() == [run["run_id"] for run in runs.latest(project, 15)]


def test_the_overview_draws_the_records_of_each_run(project: Project) -> None:
    kept_out = chart(opened("overview"), "Records in quarantine by run")

    assert {row["disposition"]: row["records"] for row in kept_out if row["records"]} == {
        "rejected": REJECTED,
        "duplicate": DUPLICATE,
    }


def test_quality_tells_the_failing_checks_first(project: Project) -> None:
    app = opened("quality")

    assert app.expander[0].label == "**failed** · gate · `raw.flights` · `flights_has_rows` · observed `0`"
    assert app.expander[1].label == "**failed** · gate · `raw.flights` · `rejected_share` · 50 of 50 rows"
    table = app.dataframe[0].value
    assert len(table) == sum(int(metrics(app)[label]) for label in metrics(app))
    assert table["verdict"][0] == "failed"


def test_quality_counts_quarantined_records_by_rule(project: Project) -> None:
    by_rule = chart(opened("quality"), "Quarantined records of flights by rule")

    assert {row["reason"]: row["records"] for row in by_rule} == {
        "type (dep_delay)": REJECTED - 1,
        "pattern (carrier)": 1,
        "utf8": 1,
        "duplicate, identical": DUPLICATE,
    }


def test_quality_shows_500_records_at_most_and_says_how_many_there_are(project: Project) -> None:
    app = opened("quality")

    assert f"{REJECTED + DUPLICATE} records, the first 500 shown. Choose one to see it in full." in [
        caption.value for caption in app.caption
    ]
    assert len(app.dataframe[1].value) == 500


def test_quality_narrows_the_records_by_disposition_and_rule(project: Project) -> None:
    app = opened("quality")
    app = app.selectbox[2].select("duplicate").run()
    duplicates = app.dataframe[1].value
    app = app.selectbox[2].select("rejected").run()
    app = app.selectbox[3].select_index(app.selectbox[3].options.index("utf8")).run()
    bad = app.dataframe[1].value

    assert duplicates["Disposition"].tolist() == ["duplicate"]
    assert bad["Record"].tolist() == [2]
    assert bad["Line"].tolist() == [3]
    assert "\\xff\\xfe" in bad["Raw bytes"][0]


def test_raw_bytes_are_text_and_never_markup(project: Project) -> None:
    app = opened("quality")
    app = app.selectbox[3].select_index(app.selectbox[3].options.index("pattern (carrier)")).run()

    assert MARKUP.decode() in app.dataframe[1].value["Raw bytes"][0]
    assert not [element for element in app.markdown if MARKUP.decode() in element.value]


def test_bytes_that_are_not_printable_are_shown_as_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import import_module

    visible = import_module("words").visible

    assert visible(b"caf\xc3\xa9 \xff\x00\x1b[2J\r\n") == "café \\xff\\x00\\x1b[2J\\r\\n"
    assert visible("left\u202eright".encode()) == "left\\u202eright"


def test_flights_gives_the_figures_of_the_marts(project: Project) -> None:
    count, delay, cancelled = published(project, FLIGHTS)

    shown = list(metrics(opened("flights")).values())

    assert shown == [f"{count:,}", f"{delay:.1f} min", f"{cancelled:.1%}"]


def test_flights_filters_by_date_origin_and_carrier(project: Project) -> None:
    first, last = published(
        project, "select min(scheduled_departure_date), max(scheduled_departure_date) from marts.fct_flights"
    )
    wanted = {"first": first, "last": min(last, first.replace(month=6)), "origin": "JFK", "carrier": "B6"}
    count, delay, cancelled = published(
        project,
        f"{FLIGHTS} where scheduled_departure_date between $first and $last and origin_airport_code = $origin "
        "and carrier_code = $carrier",
        wanted,
    )

    app = opened("flights")
    app.date_input[0].set_value((wanted["first"], wanted["last"]))
    app.multiselect[0].select(wanted["origin"])
    app.multiselect[1].select(wanted["carrier"])
    app.run()

    assert 0 < count < published(project, FLIGHTS)[0]
    assert list(metrics(app).values()) == [f"{count:,}", f"{delay:.1f} min", f"{cancelled:.1%}"]


def test_flights_draws_the_marts_delays_by_carrier_hour_month_and_weather(project: Project) -> None:
    app = opened("flights")

    with duckdb.connect(str(project.marts), read_only=True) as connection:
        for title, category, sql in (
            (
                "by carrier",
                "airline",
                "airline_name from marts.fct_flights join marts.dim_airline using (airline_id)",
            ),
            ("by hour of the day", "hour", "scheduled_departure_hour from marts.fct_flights"),
            ("by month", "month", "strftime(scheduled_departure_date, '%b %Y') from marts.fct_flights"),
        ):
            measure, _, source = sql.partition(" from ")
            truth = connection.execute(
                f"select {measure}, avg(departure_delay_minutes) as delay from {source} "
                "group by 1 having delay is not null"
            ).fetchall()
            drawn = {
                row[category]: row["mean_delay_minutes"]
                for row in chart(app, f"Mean departure delay {title}")
            }
            assert drawn == pytest.approx(dict(truth)), title
        truth = connection.execute(
            "select weather_band, mean_departure_delay_minutes from marts.delay_by_weather "
            "where weather_factor = 'visibility' order by band_order = 0, band_order"
        ).fetchall()
    bands = [(row["weather_band"], row["mean_delay_minutes"]) for row in chart(app, "by visibility")]
    assert bands == truth


def test_routes_are_the_same_out_of_the_daily_mart_and_out_of_the_flights(project: Project) -> None:
    app = opened("flights")
    title = "routes with the most flights"
    daily = chart(app, title)

    every_carrier = app.multiselect[1]
    for option in list(every_carrier.options):
        every_carrier.select(option)
    app.run()

    assert chart(app, title) == [pytest.approx(row) for row in daily]


def test_flights_can_show_the_share_of_cancelled(project: Project) -> None:
    app = opened("flights")
    app.segmented_control[0].set_value("Share cancelled").run()

    assert not app.exception
    share = {row["airline"]: row["cancelled_share"] for row in chart(app, "Share cancelled by carrier")}
    assert max(share.values()) <= 1


def test_filters_that_no_flight_meets_are_told_so(project: Project) -> None:
    app = opened("flights")
    app.multiselect[0].select("JFK")
    app.multiselect[1].select("WN")
    app.run()

    assert [info.value for info in app.info] == ["No flight was scheduled so. Widen the filters."]


def test_a_publish_is_seen_by_a_page_that_is_open(project: Project, empty: Project) -> None:
    empty.marts.parent.mkdir(parents=True)
    shutil.copyfile(project.marts, empty.marts)
    app = opened("flights")
    before = metrics(app)["Flights scheduled"]
    candidate = empty.marts.with_name("next.duckdb")
    shutil.copyfile(project.marts, candidate)
    with duckdb.connect(str(candidate)) as connection:
        connection.execute("delete from marts.fct_flights where origin_airport_code = 'JFK'")
    candidate.replace(empty.marts)

    after = metrics(app.run())["Flights scheduled"]

    assert before == f"{published(project, FLIGHTS)[0]:,}"
    assert after == f"{published(empty, FLIGHTS)[0]:,}"
    assert before != after


def test_marts_without_the_table_are_told_in_words(empty: Project) -> None:
    empty.marts.parent.mkdir(parents=True)
    duckdb.connect(str(empty.marts)).close()

    app = opened("flights")

    assert not app.exception
    assert app.error[0].value.startswith("The published marts can't answer")
    assert "transform/" in app.caption[0].value


def test_the_pages_import_no_stage() -> None:
    for path in UI.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            assert not [name for name in names if name.startswith("dpipe.stages")], path
